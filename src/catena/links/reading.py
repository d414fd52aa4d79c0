"""Which label an answer names, or why it names none."""

from collections.abc import Sequence

from catena.confidence import Found, LabelScorer
from catena.task import TaskSpec
from catena.types import Failure

__all__ = ["abstained", "answers_of", "read_label"]


def answers_of(task: TaskSpec) -> list[str]:
    """Return what may be answered: the labels in order, then the word for none of them where there is one."""
    return [*task.labels] if task.abstain is None else [*task.labels, task.abstain]


def abstained(word: str) -> Failure:
    """Return the failure of a link that would not name a label; the item moves on to the next one."""
    return Failure("abstained", f"abstained: answered {word!r}")


def read_label(scorer: LabelScorer, text: str, *, cut: bool, abstain: str | None = None) -> Found | Failure:
    """Return the label that a text names and where, or the failure that says why it names none.

    Args:
        scorer: Knows what may be answered.
        text: What was answered.
        cut: Whether the answer reached its limit: then it may have been on its way to a longer label.
        abstain: What may be answered and is no label.
    """
    found = scorer.parse(text)
    if isinstance(found, Found) and not (found.open and cut):
        return abstained(found.label) if found.label == abstain else found
    reason = "cut" if cut else getattr(found, "reason", "cut")
    return Failure(reason, _no_label(text, reason, scorer.labels))


def _no_label(text: str, reason: str, labels: Sequence[str]) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    among = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    what = {
        "empty": "answered nothing",
        "cut": f"was cut off at {shown!r}",
        "many_labels": f"answered {shown!r}, which names more than one of: {among}",
    }
    return what.get(reason, f"answered {shown!r}, which is none of: {among}")
