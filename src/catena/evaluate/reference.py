"""What a live pilot is measured by: gold, the dearest link's labels, or a vote table that somebody else made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
SURE = 2.6  # standard errors by which a link must be worse to be dropped


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

    Surely: by 2.6 standard errors of the difference on the same items (a paired test, 0.5 %).

    Args:
        votes: Of all candidates on the first items of a pilot.
        truth: What counts as right there, [n].
        keep: Links that stay whatever they say.
    """
    right = ((votes.label == truth) & (truth >= 0)).astype(float)
    cost = np.nan_to_num(votes.cost_usd).mean(1)
    dropped = []
    for j, name in enumerate(votes.links):
        better = [
            (right[i] - right[j]).mean() > SURE * (right[i] - right[j]).std() / np.sqrt(len(truth))
            for i in range(len(votes.links))
            if i != j and cost[i] <= cost[j]
        ]
        if name not in keep and any(better):
            dropped.append(name)
    return dropped
