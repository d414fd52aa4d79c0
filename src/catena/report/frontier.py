"""Cost against quality: what the run came to, its links alone, and the paper's rule, as far as the votes allow."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import decide
from catena.engine.results import RunVotes
from catena.evaluate.bootstrap import intervals
from catena.routing import exact_shares

__all__ = ["frontier"]

FEWEST = 30  # items of a pilot, for a figure that says something
MOST_ORDERED = 20_000  # items on which all orders are replayed
LONGEST = 4  # chain of which all orders are shown: 24

Index = NDArray[np.int16]


def frontier(
    votes: RunVotes,
    gold: Index,
    links: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    *,
    paper: bool,
    pilot: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return points (name, kind, cost for all rows, accuracy with its interval, items, whether it is fair).

    A link alone is fair where it voted on every row, or on a pilot's random sample; otherwise it is shown on what it saw,
    which was easier or harder than the whole. Where all links voted on the same fair items, every order of them is
    replayed by the paper's rule: equal shares, `rank`.

    Args:
        votes: Of the run.
        gold: -1 where unknown, int16 [n].
        links: What each link used, as `evaluate.describe` says it, with `answered`: how many rows it was asked about.
        scores: From `evaluate.assess`.
        paper: Whether the run itself is decided by the paper's rule.
        pilot: Which items are a pilot's, bool [n]; None without one.
    """
    unit, each = _prices(links)
    asked = votes.answered.all(0)
    fair = asked if asked.all() else asked & pilot if pilot is not None else np.zeros(len(gold), bool)
    fair &= gold >= 0
    if fair.sum() < min(FEWEST, max(1, int((gold >= 0).sum()))):
        fair[:] = False
    points = [_result(links, scores, each, len(gold), paper=paper)]
    points += _alone(votes, gold, links, scores, each, fair)
    orders = []
    if fair.any() and len(links) > 1:
        if not paper:
            points.append(_by_paper(votes, gold, each, fair))
        orders = list(_orders(votes, gold, each, fair)) if len(links) <= LONGEST else []
    return {
        "unit": unit,
        "points": [point for point in points if point["accuracy"] is not None],
        "orders": orders,
        "items": int(fair.sum()),
        "all_rows": bool(asked.all()),
        "paper": "result" if paper else "replayed" if fair.any() and len(links) > 1 else None,
    }


def _prices(links: Sequence[Mapping[str, Any]]) -> tuple[str, list[float | None]]:
    """Return the unit of costs, and what a vote of each link costs in it on average; votes where everything is free."""
    if any(link["cost_usd"] for link in links):
        return "USD", [
            None if link["cost_usd"] is None or not link["answered"] else link["cost_usd"] / link["answered"]
            for link in links
        ]
    return "votes", [1.0] * len(links)


def _result(
    links: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    each: Sequence[float | None],
    n: int,
    *,
    paper: bool,
) -> dict[str, Any]:
    costs = [price * link["received"] for price, link in zip(each, links, strict=True) if price is not None]
    final = scores["final"]
    return {
        "name": "this run" + (" (the paper's rule)" if paper else ""),
        "kind": "result",
        "cost": sum(costs),
        "n": final["gold"],
        "of": n,
        "fair": True,
        **{key: final[key] for key in ("accuracy", "accuracy_low", "accuracy_high")},
    }


def _alone(
    votes: RunVotes,
    gold: Index,
    links: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    each: Sequence[float | None],
    fair: NDArray[np.bool_],
) -> Iterator[dict[str, Any]]:
    n = len(gold)
    for at, link in enumerate(links):
        if each[at] is None:
            continue
        everywhere = bool(votes.answered[at].all())
        point = {"name": link["link"], "kind": "link", "at": at, "cost": float(each[at] or 0.0) * n, "of": n}
        if fair.any() or everywhere:
            known = gold if everywhere else np.where(fair, gold, -1).astype(np.int16)
            yield point | {"fair": True, **_accuracy(known, votes.label[at], len(votes.labels))}
        else:
            saw = scores["links"][at]
            figures = {key: saw[key] for key in ("accuracy", "accuracy_low", "accuracy_high")}
            yield point | {"fair": False, "n": saw["gold"], **figures}


def _by_paper(
    votes: RunVotes, gold: Index, each: Sequence[float | None], fair: NDArray[np.bool_]
) -> dict[str, Any]:
    cost, label = _replayed(votes, list(range(len(votes.links))), each, fair)
    return {
        "name": "equal shares, rank (the paper's rule)",
        "kind": "paper",
        "cost": cost,
        "of": len(gold),
        "fair": True,
        **_accuracy(gold[fair], label, len(votes.labels)),
    }


def _orders(
    votes: RunVotes, gold: Index, each: Sequence[float | None], fair: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    here = np.flatnonzero(fair)
    if len(here) > MOST_ORDERED:
        here = np.sort(np.random.default_rng(0).choice(here, MOST_ORDERED, replace=False))
    for length in range(2, len(votes.links) + 1):
        for order in permutations(range(len(votes.links)), length):
            cost, label = _replayed(votes, list(order), each, here)
            right = float((label == gold[here]).mean())
            yield {"chain": [votes.links[at] for at in order], "cost": cost, "accuracy": right}


def _replayed(
    votes: RunVotes, order: list[int], each: Sequence[float | None], here: NDArray[Any]
) -> tuple[float, Index]:
    """Return what a chain by the paper's rule costs for all rows, and its labels of these items."""
    label, sure = votes.label[order][:, here], votes.confidence[order][:, here]
    decision = decide(label >= 0, sure, exact_shares(None, len(order)), votes.tie[here])
    received = decision.reached.mean(1) * len(votes)
    cost = sum(float(each[at] or 0.0) * float(n) for at, n in zip(order, received, strict=True))
    return cost, decision.labels("rank", label)


def _accuracy(gold: Index, label: Index, labels: int) -> dict[str, Any]:
    known = gold >= 0
    found = intervals(gold, label, labels).get("accuracy")
    return {
        "accuracy": float((gold == label)[known].mean()) if known.any() else None,
        "accuracy_low": found.low if found else None,
        "accuracy_high": found.high if found else None,
        "n": int(known.sum()),
    }
