"""What a run did: each link's part in it, and what it cost."""

from typing import Any

import numpy as np

from catena.aggregate import Decision
from catena.engine.results import RunVotes, decide_run, run_votes
from catena.errors import InputError
from catena.ledger import Ledger
from catena.task import TaskSpec

__all__ = ["describe_run", "described", "progress_of_run"]


def progress_of_run(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    """Return how far a run is, finished or not; works while another process runs it."""
    numbers = ledger.links()
    finished = ledger.get("finished") is not None
    links = []
    for spec in task.chain:
        if spec.name in numbers:
            number = numbers[spec.name][0]
            answered, failed = ledger.asked_count(number)
            links.append({"link": spec.name, "answered": answered, "failed": failed, **ledger.spent(number)})
    return {
        "run": str(ledger.folder),
        "state": "finished" if finished else "stopped" if ledger.get("stopped") else "unfinished",
        "stopped": ledger.get("stopped"),
        "n": ledger.items_count(),
        "links": links,
        "cost_usd": _sum([link["cost_usd"] for link in links]),
    }


def describe_run(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    """Return what each link of a finished run received, kept, forwarded, failed and used, and how good it was.

    Raises:
        InputError: The run is not finished.
    """
    votes = _finished_votes(ledger, task)
    return described(ledger, task, votes, decide_run(ledger, votes, task))


def described(ledger: Ledger, task: TaskSpec, votes: RunVotes, decision: Decision) -> dict[str, Any]:
    """Return what `describe_run` does of a decision, a provisional one too: then `kept` is where items stand so far."""
    final = decision.result(task.aggregate, votes.votes, task.judge()).label()
    kept = np.bincount(decision.kept_by, minlength=len(votes.links))
    links = []
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
                "failed": int((here & (votes.label[j] < 0)).sum()),
                **ledger.spent(number),
                "agreement": float((votes.label[j][seen] == final[seen]).mean()) if seen.any() else None,
            }
        )
    return {
        "run": str(ledger.folder),
        "n": len(votes),
        "labelled": int((final >= 0).sum()),
        "failed": int((final < 0).sum()),
        "aggregate": task.aggregate,
        "links": links,
        "cost_usd": _sum([ledger.spent(number)["cost_usd"] for number, _ in ledger.links().values()]),
        "dearest": _dearest(ledger, links, len(votes)),
    }


def _finished_votes(ledger: Ledger, task: TaskSpec) -> RunVotes:
    if ledger.get("finished") is None:
        raise InputError(
            f"{ledger.folder}: the run is not finished.", "Run the same catena run command to go on."
        )
    return run_votes(ledger, task)


def _sum(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return float(sum(known)) if known else None


def _dearest(ledger: Ledger, links: list[dict[str, Any]], n: int) -> dict[str, Any] | None:
    """Return the link that costs most per item, and what labelling all items with it would have cost.

    Its mean cost over the items that it was ever asked about, in this decision or an earlier one, times all items.
    """
    means = {}
    for link in links:
        asked, _ = ledger.asked_count(ledger.links()[link["link"]][0])
        if link["cost_usd"] and asked:
            means[link["link"]] = link["cost_usd"] / asked
    if not means:
        return None
    dearest = max(means, key=means.__getitem__)
    return {"link": dearest, "cost_usd": means[dearest] * n}
