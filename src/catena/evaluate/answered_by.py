"""Whether the same models answered about the first items drawn as about all others: they stand for the rest only then."""

from collections import Counter
from collections.abc import Sequence

from catena.ledger import Ledger
from catena.types import Vote

__all__ = ["strangers"]

SURELY = 0.001  # the chance, at most, that a model that answers everywhere is called a stranger
BLOCK = 500


def strangers(ledger: Ledger, links: Sequence[str], rows: Sequence[int]) -> list[dict[str, object]]:
    """Return models that answered about other items and, as chance does not explain, about none of the first ones drawn.

    An address may begin to serve another model at any time. Where that happens after the first items drawn were asked about,
    what these show is not what the others are like.

    Args:
        ledger: Of the run.
        links: Names of links that were asked about all items.
        rows: The first ones drawn.

    Returns:
        `link`, `model` and `votes` of each.
    """
    known, models = ledger.links(), ledger.said_by()
    found: list[dict[str, object]] = []
    for name in links:
        number = known[name][0]
        counts = models.get(number, {}).get("model", [])
        if len(counts) < 2:
            continue
        here = _drawn(ledger, number, rows)
        every, drawn = sum(votes for _, votes in counts), sum(here.values())
        found += [
            {"link": name, "model": model, "votes": votes}
            for model, votes in counts
            if model not in here and (1 - votes / every) ** drawn < SURELY
        ]
    return found


def _drawn(ledger: Ledger, number: int, rows: Sequence[int]) -> Counter[str]:
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    answers = [answer for block in blocks for answer in ledger.said(number, block).values()]
    return Counter(answer.model for answer in answers if isinstance(answer, Vote))
