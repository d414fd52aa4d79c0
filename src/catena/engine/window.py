"""How many calls an endpoint takes at a time: found out by trying, given back as soon as it takes fewer.

Additive increase and multiplicative decrease. The increase is slow where the window last fell and faster further away
from there (the cubic function of RFC 9438, with round trips for seconds), so that a window hovers below the limit that it
has met and is soon back once that limit is gone.
"""

__all__ = ["AUTO_CEILING", "AUTO_START", "Window"]

AUTO_START = 8
AUTO_CEILING = 512
FALL = 0.7
FALL_AGAIN = 0.25
"""Where no call has worked since the last fall: far from what the endpoint takes."""
FALL_SLOW = 0.8
GROWTH = 0.4
SLOWER = 2.0
SLOWER_SECONDS = 0.05
PAYS = 1.1
FEWEST = 10
TOLERATED = 0.1
"""The share of refused calls that is taken for the endpoint's own noise."""
LEAST_REMEMBERED = 64


class Window:
    """The number of calls that may be in flight.

    Args:
        concurrency: Ceiling and start; None starts at 8 and finds out, up to 512.

    Attributes:
        size: How many calls may be in flight now; at least 1.
        ceiling: Its largest value.
        in_flight: How many are.
    """

    def __init__(self, concurrency: int | None) -> None:
        self.size = float(concurrency or AUTO_START)
        self.ceiling = concurrency or AUTO_CEILING
        self.in_flight = 0
        self._peak = 0.0  # where it last fell; 0 before the first fall
        self._threshold = float(
            self.ceiling
        )  # up to here it grows by one with each answer: doubles each round trip
        self._rounds = 0.0
        self._fell = float("-inf")
        self._worked = True
        self._refused = 0.0  # share of the latest calls
        self._count, self._waited, self._since, self._full = 0, 0.0, 0.0, False
        self._look_after = max(self.size, FEWEST)
        self._usual = 0.0
        self._paid = (self.size, 0.0) if concurrency is None else None

    @property
    def room(self) -> int:
        """How many more calls may begin."""
        return int(self.size) - self.in_flight

    def begin(self) -> None:
        """Count a call that begins."""
        self.in_flight += 1
        self._full = self._full or self.in_flight >= int(self.size)

    def end(self) -> None:
        """Count a call that has ended."""
        self.in_flight -= 1

    def worked(self, began: float, now: float) -> None:
        """Learn that a call from `began` to `now`, in seconds, was answered."""
        self._worked = True
        self._refused -= self._refused / max(self.size, LEAST_REMEMBERED)
        if self._full and self.size < self.ceiling:
            self._grow()
        self._count += 1
        self._waited += now - began
        if self._count >= self._look_after:
            self._look(now)

    def refused(self, began: float, now: float) -> None:
        """Learn that the endpoint had too many calls when one began.

        Calls that began before the last fall say nothing about the window since.
        """
        if began < self._fell:
            return
        self._refused += (1 - self._refused) / max(self.size, LEAST_REMEMBERED)
        if self._refused >= TOLERATED:
            self._fall(FALL if self._worked else FALL_AGAIN, now)
            self._worked = False

    def collapse(self, now: float) -> None:
        """Go down to one call, as nothing works; what works then brings it back at doubling speed."""
        self._peak, self._threshold = self.size, max(1.0, self.size * FALL)
        self.size, self._rounds, self._fell = 1.0, 0.0, now

    def widen(self, ceiling: int) -> None:
        """Allow more calls than were named; how many of them the endpoint takes is found out as ever."""
        if self._threshold >= self.ceiling:  # it has never fallen
            self._threshold = float(ceiling)
        self.ceiling = ceiling

    def excuse(self, now: float) -> None:
        """Forget what was seen lately: no calls were wanted for a time."""
        self._begin_look(now)

    def _fall(self, factor: float, now: float) -> None:
        self._peak = self.size
        self.size = self._threshold = max(1.0, self.size * factor)
        self._rounds, self._fell, self._refused = 0.0, now, 0.0
        self._begin_look(now)

    def _grow(self) -> None:
        if self.size < self._threshold:
            self.size += 1
        else:
            self._rounds += 1 / self.size
            turn = ((1 - FALL) * self._peak / GROWTH) ** (1 / 3)
            wanted = self._peak + GROWTH * (self._rounds - turn) ** 3
            self.size = min(self.size + 1, max(self.size, wanted))
        self.size = min(self.size, self.ceiling)

    def _look(self, now: float) -> None:
        """Look at the last windowful of answers: were they slow to come, and did a larger window bring more of them?"""
        latency, rate = self._waited / self._count, self._count / max(now - self._since, 1e-6)
        usual = self._usual or latency
        self._usual = usual + (latency - usual) * (0.1 if latency > usual else 0.3)
        if latency > SLOWER * usual + SLOWER_SECONDS and self.size > 1:
            self._fall(FALL_SLOW, now)
        elif self._paid and self._full:
            self._weigh(rate)
        self._begin_look(now)

    def _weigh(self, rate: float) -> None:
        """Give back what has brought no more answers a second."""
        assert self._paid is not None
        size, best = self._paid
        if rate >= PAYS * best or self.size < size:
            self._paid = (self.size, rate)
        elif self.size >= 1.5 * size:
            self.size = self._peak = self._threshold = size
            self._rounds = 0.0

    def _begin_look(self, now: float) -> None:
        self._count, self._waited, self._since, self._full = 0, 0.0, now, False
        self._look_after = max(self.size, FEWEST)
