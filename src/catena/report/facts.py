"""All that a report tells of a run, as plain data: small, however many rows there are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.engine.results import RunVotes, decide_run, run_gold, run_votes
from catena.evaluate.assess import assess
from catena.evaluate.describe import described, progress_of_run
from catena.evaluate.judged import gold_so_far, judged_votes_of_run
from catena.ledger import Ledger
from catena.ledger.clock import FACT as CLOCK
from catena.ledger.lock import holder
from catena.report.conflicts import conflicts, sample
from catena.report.frontier import frontier
from catena.report.origin import origin
from catena.report.spread import class_shares, confidences
from catena.task import TaskSpec

__all__ = ["facts_of_run"]

STEPS = 200
SAMPLE = 24
MOST_LISTED = 300  # labels in a table
FEWEST_TIMES, SHORTEST = 6, 3.0  # points and seconds for a curve over time


def facts_of_run(ledger: Ledger, task: TaskSpec, *, items: int = SAMPLE, seed: int = 0) -> dict[str, Any]:
    """Return what a report of a run shows, finished or not.

    Of a run that is not finished, gold counts on the rows that have a vote so far.

    Args:
        ledger: Of the run.
        task: The run's.
        items: How many of the items that links disagree about are shown.
        seed: Draws them, and resamples for intervals.

    Raises:
        LedgerError: The ledger is damaged.
    """
    progress = progress_of_run(ledger, task)
    finished = progress["state"] == "finished"
    at_work = holder(ledger.folder)
    votes = run_votes(ledger, task, chances=True)
    decision = decide_run(ledger, votes, task, provisional=not finished)
    result = decision.result(task.aggregate, votes.votes, task.judge())
    label, confidence = result.label(), result.confidence()
    gold = run_gold(ledger, task)
    if not finished:
        gold = gold_so_far(votes, gold)
    scores = assess(judged_votes_of_run(votes, decision, gold, task.aggregate, label, confidence), seed=seed)
    run = described(ledger, task, votes, decision)
    for link, so_far in zip(run["links"], progress["links"], strict=True):
        link["answered"] = so_far["answered"]
        link["failed_by"] = [each._asdict() for each in ledger.failed_by(ledger.links()[link["link"]][0])]
    run["taken_from"] = np.bincount(result.source[result.source >= 0], minlength=len(votes.links)).tolist()
    has_gold = bool((gold >= 0).any())
    return {
        "folder": ledger.folder.name or str(ledger.folder.resolve().name),
        "task": task.name,
        "state": "running" if at_work else progress["state"],
        "finished": finished,
        "stopped": progress["stopped"],
        "budget": None if task.budget is None or task.budget.usd is None else task.budget.usd,
        "policy": task.policy.rule,
        "labels": list(task.labels),
        "voted": int(votes.answered.any(0).sum()),
        "listed": _listed(votes, gold, label),
        "run": run,
        "gold": int((gold >= 0).sum()),
        "scores": scores,
        "frontier": _frontier(ledger, task, votes, gold, run, scores) if has_gold else None,
        "confidences": confidences(votes, decision),
        "shares": class_shares(votes, decision, gold, label),
        "agreement": _agreement(votes, scores),
        "conflicts": conflicts(votes, gold),
        "sample": sample(ledger, task, votes, gold, label, items, seed),
        "course": _course(ledger),
        "origin": origin(ledger, task),
    }


def _listed(votes: RunVotes, gold: NDArray[np.int16], label: NDArray[np.int16]) -> list[str]:
    """Return the labels that tables have a line for, in their order: the most frequent ones, where there are very many."""
    size = len(votes.labels)
    counts = sum(np.bincount(each[each >= 0], minlength=size) for each in (gold, label))
    chosen = np.sort(np.argsort(-np.asarray(counts), kind="stable")[:MOST_LISTED])
    return [votes.labels[at] for at in chosen]


def _frontier(
    ledger: Ledger,
    task: TaskSpec,
    votes: RunVotes,
    gold: NDArray[np.int16],
    run: dict[str, Any],
    scores: dict[str, Any],
) -> dict[str, Any]:
    policy, pilot = task.policy, None
    if policy.pilot:
        ids = set(policy.pilot)
        pilot = np.fromiter((name in ids for name in ledger.ids()), bool, len(votes))
    equal = policy.rule == "share" and policy.share is None and policy.spend is None
    paper = equal and policy.by_own_confidence and not policy.class_aware and task.aggregate == "rank"
    return frontier(votes, gold, run["links"], scores, paper=paper and len(votes.links) > 1, pilot=pilot)


def _agreement(votes: RunVotes, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Return kappa of each two links, and on how many of the items that both labelled they give one label."""
    found = []
    for pair in scores["agreement"]["kappa"]:
        one, two = (votes.label[votes.links.index(name)] for name in pair["links"])
        both = (one >= 0) & (two >= 0)
        found.append(pair | {"same": float((one == two)[both].mean()) if both.any() else None})
    return found


def _course(ledger: Ledger) -> dict[str, Any]:
    """Return how the cost of each link grew, those outside the chain too, with the votes and over time.

    Amounts over time are interpolated between stretches of equally many votes.
    """
    names = {number: name for name, (number, _) in ledger.links().items()}
    steps = ledger.course(STEPS)
    unit = (
        "USD"
        if any(step.usd for step in steps)
        else "tokens"
        if any(step.tokens for step in steps)
        else "votes"
    )
    amount = {"USD": "usd", "tokens": "tokens", "votes": "votes"}[unit]
    sums: dict[str, float] = dict.fromkeys((names.get(step.link, "?") for step in steps), 0.0)
    votes, counted, grown = 0, [0], [[0.0] * len(sums)]
    for at in sorted({step.at for step in steps}):
        for step in (each for each in steps if each.at == at):
            sums[names.get(step.link, "?")] += getattr(step, amount) or 0
            votes += step.votes
        counted.append(votes)
        grown.append(list(sums.values()))
    return {
        "unit": unit,
        "links": list(sums),
        "votes": votes,
        "points": [
            {"votes": n, "link": name, "amount": float(each)}
            for n, row in zip(counted, grown, strict=True)
            for name, each in zip(sums, row, strict=True)
        ],
        **_over_time(ledger, list(sums), np.array(counted, float), np.array(grown)),
    }


def _over_time(
    ledger: Ledger, links: list[str], votes: NDArray[np.float64], grown: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the amounts at the points of time that the ledger has noted; none where those are too few to be a curve.

    Args:
        ledger: Of the run.
        links: Their names, [m].
        votes: Stored so far, [p].
        grown: Amount of each link by then, [p, m].
    """
    points = (ledger.get(CLOCK) or {}).get("points", [])
    noted = np.array(points, float).reshape(-1, 2)
    if len(noted) < FEWEST_TIMES or noted[-1, 1] - noted[0, 1] < SHORTEST:
        return {"times": [], "began": None, "seconds": None}
    stored = noted[:, 0] * (votes[-1] / max(noted[-1, 0], 1.0))  # a vote that was replaced has a number more
    since = np.maximum.accumulate(noted[:, 1]) - noted[0, 1]
    times = [
        {"at": float(at), "link": name, "amount": float(np.interp(n, votes, grown[:, j]))}
        for at, n in zip(since, stored, strict=True)
        for j, name in enumerate(links)
    ]
    return {"times": times, "began": float(noted[0, 1]), "seconds": float(since[-1])}
