"""What a live pilot is measured by: gold, the dearest link's labels, or a vote table that somebody else made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.given_gold import table_labels
from catena.routing import ties

__all__ = ["FEW_GOLD", "Reference", "draw", "hopeless", "open_reference", "size_of"]

FEW_GOLD = 100
"""Rows with gold below which agreement with the dearest link plans more safely (fewer overfit)."""

MOST, SHARE = 300, 0.1  # of the rows: the size of a pilot that nobody chose
WRONGLY = 0.05  # of pilots in which all links are equally good: how often any of them may be dropped


@dataclass(frozen=True)
class Reference:
    """What counts as right.

    Args:
        kind: `gold`, `people`, `link` or `table`.
        name: The link, where it is one and named, or is people; empty for the dearest.
        labels: Label of each item id, where they are known beforehand.
    """

    kind: str
    name: str = ""
    labels: Mapping[str, str] | None = None

    def said(self, link: str) -> str:
        """Say it to a person; `link` is the one whose labels count, where one's do."""
        if self.kind == "people":
            return f"the labels of people ({self.name})"
        return {"gold": "gold", "link": f"the labels of {link}", "table": f"the labels of {self.name}"}[
            self.kind
        ]


def open_reference(
    asked: str | None,
    gold: Mapping[str, str],
    links: Sequence[str],
    labels: Sequence[str],
    people: Sequence[str] = (),
) -> Reference:
    """Return what counts as right: as asked, or gold where 100 rows have it, then what people say, then the dearest link.

    Args:
        asked: `gold`, a link of the task, `dearest` for the one that costs most, or the folder of a vote table (`DIR`, or `DIR:LINK` where it has several).
        gold: By item id, where known.
        links: Of the task.
        labels: Of the task.
        people: Links that are people.

    Raises:
        InputError: There is no such thing.
    """
    if asked is None and len(gold) < FEW_GOLD and people:
        asked = people[0]
    if asked is None:
        return Reference("gold", labels=gold) if len(gold) >= FEW_GOLD else Reference("link")
    if asked in people:
        return Reference("people", asked)
    if asked == "dearest" and asked not in links:
        return Reference("link")
    if asked == "gold":
        if not gold:
            raise InputError("--reference gold: no row has gold.", "Name its column: data: {gold: COLUMN}.")
        return Reference("gold", labels=gold)
    if asked in links:
        return Reference("link", asked)
    said = table_labels(asked, labels, "--reference")
    if said is None:
        raise InputError(
            f"--reference {asked}: neither gold, nor a link of the task, nor a vote table.",
            f"Links: {', '.join(links)}.",
        )
    return Reference("table", asked, said)


def size_of(pilot: int | None, rows: int, known: int) -> int:
    """Return how many items a pilot has: as asked, or a tenth of the rows, 100 to 300, as far as a reference is known."""
    return pilot if pilot is not None else min(known, MOST, max(100, round(SHARE * rows)))


def draw(ids: Sequence[str], reference: Reference, size: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of a random pilot in random order: those of the least hashes among those that have a reference.

    Raises:
        InputError: Too few rows have one.
    """
    order = np.argsort(ties(ids, seed), kind="stable")
    if reference.labels is not None:
        known = np.array([name in reference.labels for name in ids], bool)
        order = order[known[order]]
    if len(order) < size:
        raise InputError(
            f"--pilot {size}: only {len(order):,} rows have {reference.said('')}.", "Take a smaller pilot."
        )
    return order[:size].astype(np.int64)


def hopeless(votes: VoteTable, truth: NDArray[np.int16], keep: Collection[str] = ()) -> list[str]:
    """Return the links that are surely worse than another one that costs no more.

    Surely: by an exact sign test on the items that one of the two has right and the other wrong (McNemar), strict enough
    for all pairs that are compared (Bonferroni): where no link is worse than another, none is dropped in 19 of 20 pilots.

    Args:
        votes: Of all candidates on the first items of a pilot.
        truth: What counts as right there, [n].
        keep: Links that stay whatever they say.
    """
    right = (votes.label == truth) & (truth >= 0)
    cost, links = np.nan_to_num(votes.cost_usd).mean(1), range(len(votes.links))
    pairs = [(i, j) for j in links for i in links if i != j and cost[i] <= cost[j]]
    worse = {
        j
        for i, j in pairs
        if by_chance(int((right[i] & ~right[j]).sum()), int((right[i] ^ right[j]).sum()))
        <= WRONGLY / len(pairs)
    }
    return [name for j, name in enumerate(votes.links) if name not in keep and j in worse]


def by_chance(ahead: int, apart: int) -> float:
    """Return how probable it is that one of two equal links is right on so many, or more, of the items that part them.

    >>> by_chance(0, 0), by_chance(4, 4), by_chance(3, 4)
    (1.0, 0.0625, 0.3125)

    Args:
        ahead: Items on which it is right and the other wrong.
        apart: Items on which just one of them is right.
    """
    return float(sum(comb(apart, count) for count in range(ahead, apart + 1)) / 2**apart)
