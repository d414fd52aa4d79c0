"""A plan as data: what a task file holds of it, and running it over recorded votes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES, Calibrated, Decision, Judge, Result, Votes, decide_by
from catena.data.tables import write_table
from catena.data.votes import VoteTable
from catena.errors import InputError, TaskError
from catena.evaluate.metrics import score
from catena.evaluate.pilot import Sample, take
from catena.evaluate.task_file import REPLAY, write_task
from catena.routing import Policy, ties
from catena.task import Columns, LinkSpec, TaskSpec, load_task

__all__ = [
    "Planned",
    "planned_task",
    "read_planned",
    "replay_planned",
    "rest_of",
    "run_planned",
    "write_planned",
    "write_planned_labels",
    "write_planned_task",
]

HEADING = "# Made by catena plan from a pilot.\n"


@dataclass(frozen=True)
class Planned:
    """All that decides the labels.

    Args:
        chain: Names of the links in order.
        labels: The labels, in the order in which the rule knows them.
        policy: How items are routed.
        rule: What `calibrated` has learned; None where neither policy nor aggregate asks for it.
        seed: Settles ties.
        aggregate: How items are labelled.
    """

    chain: tuple[str, ...]
    labels: tuple[str, ...]
    policy: Policy
    rule: Calibrated | None
    seed: int
    aggregate: str = "calibrated"

    def judge(self) -> Judge:
        """Return the policy with what it ranks by."""
        return Judge(self.policy, self.chain, self.labels, self.rule)


def write_planned(plan: Planned, votes: Path, path: Path) -> None:
    """Write a task file that holds the plan; its links replay the votes that the plan was made from."""
    chain = tuple(LinkSpec(name, "replay", {"votes": str(votes)}) for name in plan.chain)
    labels = dict.fromkeys(plan.labels, "")
    task = TaskSpec("planned", "Which label fits the text?", labels, Columns(), chain, seed=plan.seed)
    write_task(planned_task(task, plan), path, HEADING + REPLAY)


def write_planned_task(task: TaskSpec, plan: Planned, path: Path) -> None:
    """Write a task with the plan in the place of its chain, policy and aggregate, ready to run."""
    write_task(planned_task(task, plan), path, HEADING)


def planned_task(task: TaskSpec, plan: Planned) -> TaskSpec:
    """Return a task with the chain, policy and aggregate of a plan.

    The links are those of the task in the plan's order.
    """
    links = {link.name: link for link in task.chain}
    return msgspec.structs.replace(
        task,
        chain=tuple(links[name] for name in plan.chain),
        policy=plan.policy,
        aggregate=plan.aggregate,
        calibrated=plan.rule,
        seed=plan.seed,
    )


def read_planned(path: Path) -> Planned:
    """Read what decides the labels in a task file.

    Raises:
        TaskError: The file can't be read, or its policy and aggregate don't fit each other.
    """
    task = load_task(path)
    names = tuple(link.name for link in task.chain)
    plan = Planned(names, tuple(task.labels), task.policy, task.calibrated, task.seed, task.aggregate)
    try:
        plan.judge()
    except InputError as error:
        raise TaskError(f"{path}: {error.message}", error.hint) from error
    return plan


def run_planned(plan: Planned, sample: Sample) -> tuple[Decision, Result]:
    """Route and label items by a plan; only the votes that they reach are looked at.

    Raises:
        DataError: The votes lack a link of the chain.
    """
    table = sample.votes.chain(plan.chain)
    at = [sample.votes.links.index(name) for name in plan.chain]
    words = [None if sample.logprobs is None else sample.logprobs[j] for j in at]
    votes, judge = Votes(table.label, table.confidence, words, table.cost_usd), plan.judge()
    decision = decide_by(judge, votes, sample.tie)
    return decision, decision.result(plan.aggregate, votes, judge)


def replay_planned(plan: Planned, sample: Sample) -> tuple[Result, dict[str, Any]]:
    """Run a plan, and return its labels with the figures that `Simulator.describe` gives of other chains."""
    decision, result = run_planned(plan, sample)
    votes = sample.votes.chain(plan.chain)
    kept = np.bincount(decision.kept_by, minlength=len(plan.chain))
    links: list[dict[str, Any]] = []
    for j, name in enumerate(plan.chain):
        here = decision.reached[j]
        links.append(
            {
                "link": name,
                "received": int(here.sum()),
                "kept": int(kept[j]),
                "forwarded": int(here.sum() - kept[j]),
                "failed": int((here & ~votes.voted[j]).sum()),
                "missing": int((here & ~votes.recorded[j]).sum()),
                "cost_usd": None
                if np.isnan(votes.cost_usd[j]).all()
                else float(np.nansum(votes.cost_usd[j][here])),
            }
        )
    costs = [link["cost_usd"] for link in links if link["cost_usd"] is not None]
    found = {rule: decision.labels(rule, votes.label) for rule in RULES} | {plan.aggregate: result.label()}
    return result, {
        "chain": list(plan.chain),
        "n": len(votes),
        "links": links,
        "aggregates": {rule: score(votes.gold, label, votes.labels).brief() for rule, label in found.items()},
        "aggregate": plan.aggregate,
        "cost_usd": float(sum(costs)) if costs else None,
    }


def rest_of(
    plan: Planned, votes: VoteTable, logprobs: NDArray[np.float32] | None
) -> tuple[Sample, NDArray[np.int64]]:
    """Return the votes on all items that are not in the plan's pilot, and their rows.

    Raises:
        TaskError: The table's labels are not the plan's.
    """
    if votes.labels != plan.labels:
        raise TaskError("the labels of the task are not those of the vote table, in the same order.")
    pilot = set(plan.policy.pilot)
    rows = np.flatnonzero([item not in pilot for item in votes.item_ids.tolist()])
    return take(votes, logprobs, rows, ties(votes.item_ids.tolist(), plan.seed)), rows


def write_planned_labels(plan: Planned, sample: Sample, result: Result, path: Path) -> None:
    """Write item_id, label, confidence (under `calibrated` the label's posterior probability) and link, in input order."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    labels, names = np.array([*plan.labels, None], dtype=object), np.array([*plan.chain, None], dtype=object)
    label, sure = result.label(), result.confidence()
    table = pa.table(
        {
            "item_id": pa.array(sample.votes.item_ids, pa.string()),
            "label": pa.array(labels[label], pa.string()),
            "confidence": pa.array(sure, pa.float64(), mask=np.isnan(sure)),
            "link": pa.array(names[result.source], pa.string()),
        }
    )
    write_table(path, table.schema, table.to_batches())
