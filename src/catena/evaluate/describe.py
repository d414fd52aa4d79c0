"""What a run did: each link's part in it, and what it cost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Decision
from catena.engine.results import RunVotes, decide_run, need_finished, run_votes
from catena.evaluate.alone import cost_alone
from catena.ledger import Ledger
from catena.task import TaskSpec

__all__ = ["describe_run", "described", "progress_of_run"]

BINS = 12
LEVEL = 1.645  # standard errors: a 90 % interval


def progress_of_run(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    """Return how far a run is, finished or not; works while another process runs it.

    `expected` is how many rows each link will receive, None where that depends on the votes.
    """
    numbers = ledger.links()
    finished = ledger.get("finished") is not None
    resolved = ledger.get("resolved") or {}
    links, n = [], ledger.items_count()
    for spec, expected in zip(task.chain, task.policy.expects(n, len(task.chain)), strict=True):
        if spec.name in numbers:
            number = numbers[spec.name][0]
            answered, failed = ledger.asked_count(number)
            sure = answered if finished and expected is None else expected
            counts = {"answered": answered, "failed": failed, "expected": sure}
            links.append({"link": spec.name, **counts, **ledger.spent(number)})
            links[-1] |= _stands_on(resolved.get(spec.name))
    return {
        "run": str(ledger.folder),
        "state": "finished" if finished else "stopped" if ledger.get("stopped") else "unfinished",
        "stopped": ledger.get("stopped"),
        "n": n,
        "links": links,
        "cost_usd": _sum([*[link["cost_usd"] for link in links], *_probed(resolved)]),
    }


def describe_run(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    """Return what each link of a finished run received, kept, forwarded, failed and used, and how good it was.

    Raises:
        InputError: The run is not finished.
    """
    need_finished(ledger)
    votes = run_votes(ledger, task)
    return described(ledger, task, votes, decide_run(ledger, votes, task))


def described(ledger: Ledger, task: TaskSpec, votes: RunVotes, decision: Decision) -> dict[str, Any]:
    """Return what `describe_run` does of a decision, a provisional one too: then `kept` is where items stand so far."""
    result = decision.result(task.aggregate, votes.votes, task.judge())
    final = result.label()
    given = np.bincount(result.source[result.source >= 0], minlength=len(votes.links))
    kept = np.bincount(decision.kept_by[decision.reached.any(0)], minlength=len(votes.links))
    links, resolved = [], ledger.get("resolved") or {}
    for j, name in enumerate(votes.links):
        here = decision.reached[j]
        seen = decision.seen[j]
        number = ledger.links()[name][0]
        links.append(
            {
                "link": name,
                "model": ledger.model(number),
                "received": int(here.sum()),
                "kept": int(kept[j]),
                "forwarded": int(here.sum() - kept[j]),
                "labels": int(given[j]),
                "failed": int((here & (votes.label[j] < 0)).sum()),
                **ledger.spent(number),
                **_stands_on(resolved.get(name)),
                "agreement": float((votes.label[j][seen] == final[seen]).mean()) if seen.any() else None,
                "confidences": _spread(votes.confidence[j][here]),
            }
        )
    return {
        "run": str(ledger.folder),
        "n": len(votes),
        "labelled": int((final >= 0).sum()),
        "failed": int((final < 0).sum()),
        "aggregate": task.aggregate,
        "links": links,
        "cost_usd": _sum(
            [
                *[ledger.spent(number)["cost_usd"] for number, _ in ledger.links().values()],
                *_probed(resolved),
            ]
        ),
        "unused_usd": _unused(ledger, votes, decision),
        "dearest": _dearest(ledger, links, len(votes)),
    }


def _spread(confidence: NDArray[np.float64]) -> dict[str, Any] | None:
    """Return how a link's confidences are spread over twelve bins of equal width; None where it gives none.

    The ends are its 1st and 99th percentile: what lies beyond counts in the outer bins.
    """
    known = confidence[~np.isnan(confidence)]
    if not len(known):
        return None
    low, high = np.quantile(known, [0.01, 0.99])
    width = (high - low) / BINS or 1.0
    at = np.clip((known - low) / width, 0, BINS - 1).astype(np.int64)
    return {"low": float(low), "high": float(high), "counts": np.bincount(at, minlength=BINS).tolist()}


def _stands_on(resolution: dict[str, Any] | None) -> dict[str, Any]:
    """Return where a link's confidences come from, as the run keeps it; nothing in runs of older versions."""
    return {"confidence": resolution["source"], "resolution": resolution} if resolution else {}


def _probed(resolved: dict[str, Any]) -> list[float]:
    """Return what it cost to find out what the task left open."""
    return [each["cost_usd"] for each in resolved.values() if each["cost_usd"]]


def _sum(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return float(sum(known)) if known else None


def _unused(ledger: Ledger, votes: RunVotes, decision: Decision) -> float:
    """Return what votes cost that this decision does not use: of a pilot, an estimate, or an earlier chain.

    A vote that several rows share is part used where some of them are reached.
    """
    unused = 0.0
    for name, (number, _) in ledger.links().items():
        spent = ledger.spent(number)["cost_usd"] or 0.0
        if name not in votes.links:
            unused += spent
            continue
        reached = decision.reached[votes.links.index(name)]
        if spent and ledger.asked_count(number)[0] > reached.sum():
            paid = np.nan_to_num(ledger.scored(number, 0, len(votes))[1])
            unused += spent * float(paid[~reached].sum() / paid.sum()) if paid.any() else 0.0
    return unused


def _dearest(ledger: Ledger, links: list[dict[str, Any]], n: int) -> dict[str, Any] | None:
    """Return the link that costs most per item, and what labelling all items with it would have cost.

    By all that it has said about the items as they are asked now, in this decision or an earlier one. Where it saw some of
    the items only, the others' costs are foretold (see `alone`), with the 90 % interval that a mean over so many would
    have: no narrower than it is. Rows that share a vote share its cost, seen or foretold.
    """
    numbers = {link["link"]: ledger.links()[link["link"]][0] for link in links if link["cost_usd"]}
    costs = {name: ledger.scored(number, 0, n)[1] for name, number in numbers.items()}
    asked = {name: ledger.asked_count(number)[0] for name, number in numbers.items()}
    paid = {name: _paid(ledger, number, costs[name]) for name, number in numbers.items()}
    would = {name: paid[name] for name in numbers if asked[name] == n}
    partly = [name for name in numbers if 0 < asked[name] < n]
    if partly:
        known = np.stack([ledger.lengths(n), *[costs[name] for name in would]])
        known = known[~np.isnan(known).any(1)]
        for name in partly:
            whole, seen = cost_alone(costs[name], known), float(np.nansum(costs[name]))
            would[name] = paid[name] * whole / seen if whole and seen > 0 else paid[name] / asked[name] * n
    if not would:
        return None
    dearest = max(would, key=would.__getitem__)
    alone = float(would[dearest])
    return {"link": dearest, "cost_usd": alone, **_within(costs[dearest], alone, n)}


def _paid(ledger: Ledger, link: int, cost: NDArray[np.float64]) -> float:
    """Return what the votes cost that rows have now, each once: those of earlier questions are kept, and were paid, too."""
    spent, seen = ledger.spent(link)["cost_usd"] or 0.0, float(np.nansum(cost))
    if np.isclose(spent, seen, rtol=1e-9):
        return float(spent)
    answers = ledger.answers(link)
    return sum(answer.usage.cost_usd or 0.0 for _, _, answer, first in answers if first)


def _within(cost: NDArray[np.float64], would: float, n: int) -> dict[str, float]:
    """Return the ends of the 90 % interval of what a link would have cost on all n items, as its costs on some are spread."""
    paid = cost[~np.isnan(cost)]
    spread = float(paid.std() / paid.mean()) if len(paid) and paid.mean() > 0 else 0.0
    off = LEVEL * spread * np.sqrt(max(1 / max(len(paid), 1) - 1 / n, 0.0))
    return {"cost_usd_low": float(would * max(1 - off, 0.0)), "cost_usd_high": float(would * (1 + off))}
