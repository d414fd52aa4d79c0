"""Whether a link's answers are worth having: a failing link must not flood the dearer ones behind it."""

from collections import Counter, deque

from catena.engine.circuit import frequent
from catena.errors import LinkError
from catena.types import Answer, Failure

__all__ = ["Health"]

WINDOW = 50
FEW = 5
ITEMS_OWN = frozenset((
    "empty", "too_long", "no_label", "many_labels", "refused", "filtered", "cut", "missing", "template", "abstained",
))  # fmt: skip
"""Failures that are about the item: they move on to the next link and say nothing about this one."""


class Health:
    """Watches the last 50 answers of a link and stops the run when too many of them are its own failures.

    Args:
        name: The link's.
        most_failed: The share of failures that stops the run.

    Attributes:
        worked: Whether any call has worked.
    """

    def __init__(self, name: str, most_failed: float = 0.5) -> None:
        self._name = name
        self._most = most_failed
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._errors: Counter[str] = Counter()
        self.worked = False
        self._named: set[str] = set()

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
            if len(self._recent) == WINDOW and sum(self._recent) > self._most * WINDOW:
                raise self._error(f"{sum(self._recent)} of its last {WINDOW} calls failed")

    def renamed(self, answer: Answer) -> str:
        """Return the line that says that another model answers than before, once; empty while it is the same."""
        name = answer.model.partition(" ")[0]  # what follows names the server's build
        if not name or name in self._named or len(self._named) > 1:
            return ""
        self._named.add(name)
        if len(self._named) == 1:
            return ""
        first = next(each for each in self._named if each != name)
        return (
            f"link '{self._name}': its server answered as model {first!r} and now answers as {name!r}; all votes are kept, "
            "each with its model (catena export)."
        )

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
        return LinkError(
            f"link '{self._name}': {what}: {frequent(self._errors)}.",
            "Put it right, then run the same command to go on.",
        )
