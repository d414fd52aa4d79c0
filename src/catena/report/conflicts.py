"""Where links disagree: how often, about which labels, and a sample of such items with all votes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.engine.results import RunVotes
from catena.ledger import Ledger
from catena.task import TaskSpec
from catena.types import Vote

__all__ = ["conflicts", "sample"]

COMMONEST = 12
MOST_TEXT, MOST_ANSWER = 1500, 300

Index = NDArray[np.int16]


def conflicts(votes: RunVotes, gold: Index) -> dict[str, Any]:
    """Return how many items two links or more have labelled, how many of them differently, and the commonest differences.

    Each difference is of two links in the order of the chain, with how often gold is on either side.

    Args:
        votes: Of the run.
        gold: -1 where unknown, int16 [n].
    """
    several = (votes.label >= 0).sum(0) >= 2
    apart = _apart(votes.label)
    found: list[dict[str, Any]] = []
    size = len(votes.labels)
    for b, after in enumerate(votes.label):
        for a, before in enumerate(votes.label[:b]):
            here = (before >= 0) & (after >= 0) & (before != after)
            code, counts = np.unique(before[here].astype(np.int64) * size + after[here], return_counts=True)
            for at in np.argsort(-counts, kind="stable")[:COMMONEST]:
                x, y = divmod(int(code[at]), size)
                truth = gold[here & (before == x) & (after == y)]
                found.append(
                    {
                        "links": [votes.links[a], votes.links[b]],
                        "labels": [votes.labels[x], votes.labels[y]],
                        "n": int(counts[at]),
                        "gold": int((truth >= 0).sum()),
                        "right": [int((truth == x).sum()), int((truth == y).sum())],
                    }
                )
    found.sort(key=lambda each: -each["n"])
    return {"several": int(several.sum()), "apart": int(apart.sum()), "commonest": found[:COMMONEST]}


def _apart(label: Index) -> NDArray[np.bool_]:
    """Return which items have two different labels, bool [n]."""
    highest = label.max(0)
    lowest = np.where(label >= 0, label, np.int16(np.iinfo(np.int16).max)).min(0)
    found: NDArray[np.bool_] = (highest >= 0) & (lowest < highest)
    return found


def sample(
    ledger: Ledger, task: TaskSpec, votes: RunVotes, gold: Index, label: Index, most: int, seed: int
) -> list[dict[str, Any]]:
    """Return a random sample of the items that links disagree about, in input order, with all their votes.

    Args:
        ledger: Of the run.
        task: The run's.
        votes: Its votes.
        gold: -1 where unknown, int16 [n].
        label: The result's, -1 where unlabelled, int16 [n].
        most: Items.
        seed: Of the draw.
    """
    apart = np.flatnonzero(_apart(votes.label))
    generator = np.random.Generator(np.random.PCG64([abs(seed), int(seed < 0)]))
    rows = np.sort(generator.choice(apart, min(most, len(apart)), replace=False)).tolist()
    said = {name: ledger.said(ledger.links()[name][0], rows) for name in votes.links} if rows else {}
    names = (*votes.labels, None)
    return [
        {
            "row": item.row + 1,
            "id": item.id,
            "target": item.target if task.data.target else None,
            "text": _cut(item.text, MOST_TEXT),
            "gold": names[gold[item.row]],
            "label": names[label[item.row]],
            "votes": [
                _said(name, said[name][item.row], votes.labels) for name in votes.links if item.row in said[name]
            ],
        }
        for item in (ledger.items(rows) if rows else [])
    ]  # fmt: skip


def _said(link: str, answer: Any, labels: Sequence[str]) -> dict[str, Any]:
    vote = isinstance(answer, Vote)
    chance = None
    if vote and answer.logprobs is not None and answer.label in labels:
        said = answer.logprobs[labels.index(answer.label)]
        chance = None if said is None else min(1.0, float(np.exp(said)))
    return {
        "link": link,
        "label": answer.label if vote else None,
        "confidence": answer.confidence if vote else None,
        "chance": chance,
        "failure": None if vote else f"{answer.reason}: {answer.message}",
        "answer": _cut(answer.text, MOST_ANSWER),
        "usd": answer.usage.cost_usd,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
