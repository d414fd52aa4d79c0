"""Whether an endpoint answers at all: while it does not, one call at a time tries it, ever more rarely."""

from collections import Counter
from collections.abc import Sequence

from catena.errors import LinkError
from catena.types import Answer, Failure

__all__ = ["OUTAGE", "OUTAGE_SECONDS", "Circuit", "frequent"]

OUTAGE = frozenset({"transport", "timeout", "server", "overloaded", "bad_body"})
OPENS_AFTER = 10
OUTAGE_PROMPTS = 3
"""A single prompt that always fails is no outage: its tries end, and it moves on."""
OUTAGE_SECONDS = 45.0
FIRST_PROBE = 0.5
RAREST_PROBE = 8.0


class Circuit:
    """Opens after ten failures in a row, closes with the first call that works, gives up after 45 seconds.

    Args:
        name: The endpoint's, for messages.

    Attributes:
        opened: Whether the last call that ended has opened it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = Counter[str]()
        self._prompts = set[str]()
        self._row = 0
        self._since = self._worked = 0.0
        self._open = False
        self._probe_at = 0.0
        self._pause = FIRST_PROBE
        self.opened = False

    @property
    def out(self) -> bool:
        """Whether nothing works now, so that one call at a time tries it."""
        return self._open

    def wait(self, now: float, in_flight: int) -> float | None:
        """Return in how many seconds a call may begin; None where a probe is under way."""
        if not self._open:
            return 0.0
        return None if in_flight else max(0.0, self._probe_at - now)

    def excuse(self, seconds: float) -> None:
        """Forget a time in which no call was wanted."""
        self._since += seconds

    def end(self, prompts: Sequence[str], answers: Sequence[Answer], began: float, now: float) -> None:
        """Learn how a call about these prompts ended.

        Raises:
            LinkError: Every call has failed for 45 s.
        """
        self.opened = False
        failures = [a.message for a in answers if isinstance(a, Failure) and a.reason in OUTAGE]
        if not answers:
            return
        if len(failures) < len(answers):
            self._row, self._open, self._pause, self._worked = 0, False, FIRST_PROBE, now
            self._failures.clear()
            self._prompts.clear()
            return
        if not self._row:
            self._since = max(began, self._worked)
        self._row += 1
        if len(self._prompts) < OUTAGE_PROMPTS:
            self._prompts.update(prompts)
        self._failures.update(failures)
        if self._open:
            self._pause = min(2 * self._pause, RAREST_PROBE)
        elif self._row >= OPENS_AFTER and len(self._prompts) >= OUTAGE_PROMPTS:
            self._open = self.opened = True
        self._probe_at = now + self._pause
        if len(self._prompts) >= OUTAGE_PROMPTS and now - self._since >= OUTAGE_SECONDS:
            raise LinkError(
                f"{self._name}: every call has failed for {now - self._since:.0f} s: {frequent(self._failures)}.",
                "Put it right, then run the same command to go on.",
            )


def frequent(messages: "Counter[str]") -> str:
    """Return the three most frequent messages with their counts."""
    return "; ".join(f"{message} ({count:,} x)" for message, count in messages.most_common(3))
