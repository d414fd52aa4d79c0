"""How far people agree on the items that several of them have labelled."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from catena.evaluate.agreement import cohen_kappa, krippendorff_alpha
from catena.ledger.desk import Desk, desk_of

__all__ = ["people_agreement", "waiting_for_people"]

MOST_PAIRS = 20


def people_agreement(desk: Desk, queue: int, labels: Sequence[str]) -> dict[str, Any]:
    """Return Krippendorff's alpha over all people at a queue, and Cohen's kappa of each two of them.

    Args:
        desk: The desk.
        queue: The queue's number.
        labels: What may be said, in order.

    Returns:
        `items` (how many several people have labelled), `alpha`, and `pairs`: two names, `items`, `kappa`, of the 20 pairs
        with most items. None where chance alone would agree, or there are none.
    """
    index = {label: at for at, label in enumerate(labels)}
    said = [
        (row, mark.annotator, index[mark.label])
        for row, _, mark in desk.all_marks(queue, several=True)
        if mark.label in index
    ]
    rows = {row: at for at, row in enumerate(dict.fromkeys(row for row, _, _ in said))}
    people = sorted({who for _, who, _ in said})
    label = np.full((len(people), len(rows)), -1, np.int16)
    for row, who, at in said:
        label[people.index(who), rows[row]] = at
    kappas = [
        (*cohen_kappa(label[i], label[j], len(labels)), people[i], people[j])
        for i, j in combinations(range(len(people)), 2)
    ]
    pairs = [
        {"people": [one, other], "items": n, "kappa": kappa}
        for n, kappa, one, other in sorted(kappas, key=lambda pair: -pair[0])
        if n
    ]
    several = int(((label >= 0).sum(0) > 1).sum())
    alpha = krippendorff_alpha(label, len(labels)) if several else None
    return {"items": several, "alpha": alpha, "pairs": pairs[:MOST_PAIRS]}


def waiting_for_people(folder: Path) -> dict[str, int]:
    """Return how many items of a run wait for people, by queue; those without any are left out."""
    desk = desk_of(folder)
    if desk is None:
        return {}
    with desk:
        counts = {queue.name: desk.counts(queue.number).waiting for queue in desk.queues()}
    return {name: count for name, count in counts.items() if count}
