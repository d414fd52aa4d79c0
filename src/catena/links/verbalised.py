"""A probability that the model names beside its label, in one line of a strict form: `favor | 85`."""

import re
from collections.abc import Callable, Sequence

from catena.confidence import Found, LabelScorer
from catena.errors import TaskError
from catena.links.reading import abstained, read_label
from catena.types import Answer, Item, Vote

__all__ = ["ROOM", "read_verbalised", "verbalising"]

BAR = "|"
ENDING = """Beside the label give the probability that it is right, as a whole number of percent from 0 to 100. \
So the whole answer is one line of this form:
LABEL | PERCENT"""
LINE = re.compile(r"([^|]*)\|\s*([0-9.,]*)\s*%?\s*")
PERCENT = re.compile(r"100|[0-9]{1,2}")
ROOM = 8
"""Most tokens that an answer takes beside its label."""


def verbalising(render: Callable[[Item], str], labels: Sequence[str], where: str) -> Callable[[Item], str]:
    """Return what renders the same questions, and asks for a probability at their end.

    Raises:
        TaskError: A label has the sign that parts it from its probability.
    """
    for label in labels:
        if BAR in label:
            raise TaskError(
                f"{where}: confidence: the label '{label}' contains {BAR}, which parts label and probability.",
                "Rename the label, or take another confidence.",
            )
    return lambda item: f"{render(item)}\n\n{ENDING}"


def read_verbalised(scorer: LabelScorer, text: str, *, cut: bool, abstain: str | None = None) -> Answer:
    """Return the vote for the label before the bar, with the probability after it, or why there is no label.

    A label alone, one with nothing or another number than a whole one from 0 to 100 after the bar, and one whose number
    may have been cut are votes without a confidence. Anything else after the bar makes the whole answer none that names
    a label.

    Args:
        scorer: Knows what may be answered.
        text: What was answered.
        cut: Whether the answer reached its limit.
        abstain: What may be answered and is no label.
    """
    line = LINE.fullmatch(text)
    named = scorer.parse(line[1]) if line else None
    if line is None or not isinstance(named, Found):
        alone = read_label(scorer, text, cut=cut, abstain=abstain)
        return Vote(alone.label) if isinstance(alone, Found) else alone
    if named.label == abstain:
        return abstained(named.label)
    if cut or not PERCENT.fullmatch(line[2]):
        return Vote(named.label)
    return Vote(named.label, int(line[2]) / 100, "verbalised")
