"""Limits on calls and tokens a minute, as the task sets them and as the server's headers tell them."""

from catena.types import Limit

__all__ = ["Quota"]

BURST_SECONDS = 0.05


class Quota:
    """What may be used by now of something that comes back at a steady rate.

    Args:
        per_minute: How much may be used within any minute.
        now: The time in seconds.
        at_once: How much is used in one go.
    """

    def __init__(self, per_minute: float, now: float, at_once: float = 1.0) -> None:
        # A full store and a minute's worth together are the limit, so that no minute sees more.
        self._most = min(max(at_once, per_minute / 60 * BURST_SECONDS), per_minute / 2)
        self._rate = (per_minute - self._most) / 60
        self._left = self._most
        self._at = now

    @classmethod
    def heard(cls, limit: Limit, now: float) -> "Quota":
        """Return the quota that a server's headers tell."""
        quota = cls(60.0, now)
        quota.hear(limit, now)
        quota._left = limit.left
        return quota

    def hear(self, limit: Limit, now: float) -> None:
        """Learn from the server how much is left, and from how long all of it takes how fast it comes back."""
        self._refill(now)
        self._most = max(limit.most, 1.0)
        gone = self._most - limit.left
        if gone > 0:  # a limit whose return the server doesn't tell is one on a minute
            self._rate = gone / limit.reset if limit.reset > 0 else self._most / 60
        self._left = min(self._left, limit.left) if gone > 0 else limit.left

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until that much may be used; more than the whole store waits until it is full."""
        self._refill(now)
        lacking = min(amount, self._most) - self._left
        return lacking / self._rate if lacking > 1e-9 else 0.0

    def use(self, amount: float) -> None:
        """Use that much; a negative amount gives back."""
        self._left = min(self._most, self._left - amount)

    def _refill(self, now: float) -> None:
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
