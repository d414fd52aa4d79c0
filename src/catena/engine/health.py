"""Whether a link still works: a failing one must not flood the dearer ones behind it."""

from collections import Counter, deque

from catena.errors import LinkError
from catena.types import Answer, Failure

__all__ = ["Health"]

WINDOW = 50
OUTAGE_SECONDS = 45.0
OUTAGE_PROMPTS = 3
OUTAGE = frozenset({"transport", "timeout", "server", "bad_body"})
MOST_FAILED = 0.5
FEW = 5
ITEMS_OWN = frozenset(
    {"empty", "too_long", "no_label", "many_labels", "refused", "filtered", "cut", "missing", "template"}
)
"""Failures that are about the item: they move on to the next link and say nothing about this one."""


class Health:
    """Watches the last 50 answers of a link and stops the run when more than half of them are its own failures.

    Attributes:
        worked: Whether any call has worked.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._errors: Counter[str] = Counter()
        self._outage: Counter[str] = Counter()
        self.worked = False
        self._failing = set[str]()
        self._failing_since = 0.0

    def tried(self, prompt: str, answer: Answer, now: float) -> None:
        """Learn how one try ended, at `now` in seconds: a link that fails every try for 45 s is out.

        A single prompt that always fails is no outage: its tries end, and it moves on.

        Raises:
            LinkError: It is out.
        """
        if not isinstance(answer, Failure) or answer.reason not in OUTAGE:
            self._failing.clear()
            self._outage.clear()
            return
        if not self._failing:
            self._failing_since = now - answer.usage.latency_ms / 1000
        self._failing.add(prompt)
        self._outage[answer.message] += 1
        seconds = now - self._failing_since
        if len(self._failing) >= OUTAGE_PROMPTS and seconds >= OUTAGE_SECONDS:
            self._errors = self._outage
            raise self._error(f"every call has failed for {seconds:.0f} s")

    def see(self, answer: Answer) -> None:
        """Count one answer of a call.

        Raises:
            LinkError: Too many failed; the message has the three most frequent errors.
        """
        failed = isinstance(answer, Failure) and answer.reason not in ITEMS_OWN
        self._recent.append(failed)
        self.worked = self.worked or not failed
        if failed:
            self._errors[answer.message] += 1  # type: ignore[union-attr]
            if len(self._recent) == WINDOW and sum(self._recent) > MOST_FAILED * WINDOW:
                raise self._error(f"{sum(self._recent)} of its last {WINDOW} calls failed")

    def end(self, *, voted: bool) -> None:
        """Check a link that has finished.

        Args:
            voted: Whether it has votes in this run, of earlier calls too: then a few questions that it can't answer
                don't stop the run for ever, each time it is resumed to ask only those.

        Raises:
            LinkError: All its calls failed.
        """
        if len(self._recent) > (FEW if voted else 0) and not self.worked:
            raise self._error("all its calls failed")

    def _error(self, what: str) -> LinkError:
        errors = "; ".join(f"{message} ({count:,} x)" for message, count in self._errors.most_common(3))
        return LinkError(
            f"link '{self._name}': {what}: {errors}.", "Put it right, then run the same command to go on."
        )
