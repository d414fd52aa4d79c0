"""A plan as data: what a task file holds of it, and running it over recorded votes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from catena.aggregate.calibrated import Calibrated, CalibratedDecision, decide_calibrated
from catena.data.tables import replacing, write_table
from catena.data.votes import VoteTable
from catena.errors import TaskError
from catena.evaluate.metrics import score
from catena.evaluate.pilot import Sample, take
from catena.routing import exact_shares, ties
from catena.routing.spend import Spend

__all__ = [
    "CalibratedShare",
    "Planned",
    "read_planned",
    "replay_planned",
    "rest_of",
    "run_planned",
    "write_planned",
    "write_planned_labels",
]

HEADING = """\
# Made by catena plan from a pilot. Replay it on the votes it was made from: catena simulate VOTES --task THIS_FILE
# To run it live, give every link of the chain its own kind and model, and the task its instruction.
"""


class CalibratedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy: each link keeps a share, always the items whose posterior is the highest.

    Args:
        share: What each link keeps, summing to 1. With `spend`, in terms of planned spending: the counts give way.
        rank_by: `calibrated`: by the posterior of the votes so far.
        spend: A cap in money, where calls of a link differ in price.
        pilot: Ids of the items that the plan was made from; they take no part.
    """

    share: tuple[str, ...]
    rank_by: Literal["calibrated"]
    spend: Spend | None = None
    pilot: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An aggregate with what it has learned."""

    calibrated: Calibrated


class Planned(msgspec.Struct, frozen=True):
    """All that decides the labels.

    Args:
        chain: Names of the links in order.
        labels: The labels, in the order in which the rule knows them.
        policy: How items are routed.
        rule: How they are labelled.
        seed: Settles ties.
    """

    chain: tuple[str, ...]
    labels: tuple[str, ...]
    policy: CalibratedShare
    rule: Calibrated
    seed: int


class _Link(msgspec.Struct, frozen=True):
    name: str


class _File(msgspec.Struct, frozen=True):
    """What is read of a planned task file; its other keys are for running it live."""

    chain: tuple[_Link, ...]
    labels: tuple[str, ...]
    policy: CalibratedShare
    aggregate: Rule
    seed: int = 0


def write_planned(plan: Planned, votes: Path, path: Path) -> None:
    """Write a task file that holds the plan; its links replay the votes that the plan was made from."""
    task: dict[str, Any] = {
        "name": "planned",
        "instruction": "Which label fits the text?",
        "labels": list(plan.labels),
        "chain": [{"name": name, "kind": "replay", "votes": str(votes)} for name in plan.chain],
        "policy": msgspec.to_builtins(plan.policy),
        "aggregate": msgspec.to_builtins(Rule(plan.rule)),
        "seed": plan.seed,
    }
    text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=110)
    with replacing(path) as file:
        file.write((HEADING + text).encode())


def read_planned(path: Path) -> Planned | None:
    """Read the plan in a task file; None where its policy is no planned one.

    Raises:
        TaskError: The file can't be read, or the plan in it is broken.
    """
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"{path}: can't read the task file: {' '.join(str(error).split())}.") from error
    policy = value.get("policy") if isinstance(value, dict) else None
    if not isinstance(policy, Mapping) or "rank_by" not in policy:
        return None
    try:
        file = msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise TaskError(
            f"{path}: not a plan: {error}.", "Write it again with: catena plan ... --task FILE"
        ) from error
    plan = Planned(
        tuple(link.name for link in file.chain),
        file.labels,
        file.policy,
        file.aggregate.calibrated,
        file.seed,
    )
    _check(plan, path)
    return plan


def _check(plan: Planned, path: Path) -> None:
    """Refuse a plan whose parts don't fit each other."""
    rule, chain = plan.rule, plan.chain
    sizes = [len(weights) for weights in rule.weights]
    if set(chain) - set(rule.links) or sizes != list(range(1, len(chain) + 1)):
        raise TaskError(f"{path}: aggregate.calibrated was not made for this chain.", "Plan again.")
    if len(rule.log_prior) != len(plan.labels):
        raise TaskError(f"{path}: aggregate.calibrated was not made for these labels.", "Plan again.")
    spend = plan.policy.spend
    needed = {*chain, *([spend.of] if spend and spend.of else [])}
    if spend and (needed - set(spend.usd) or needed - set(spend.follows)):
        raise TaskError(f"{path}: policy.spend does not name the price of every link.", "Plan again.")


def run_planned(plan: Planned, sample: Sample) -> CalibratedDecision:
    """Route and label items by a plan; only the votes that they reach are looked at.

    Raises:
        DataError: The votes lack a link of the chain.
    """
    votes = sample.votes.chain(plan.chain)
    at = [sample.votes.links.index(name) for name in plan.chain]
    shares = exact_shares(plan.policy.share, len(plan.chain))
    words = None if sample.logprobs is None else sample.logprobs[at]
    return decide_calibrated(
        plan.rule,
        plan.chain,
        votes.label,
        votes.confidence,
        words,
        votes.cost_usd,
        shares,
        sample.tie,
        plan.policy.spend,
    )


def replay_planned(plan: Planned, sample: Sample) -> tuple[CalibratedDecision, dict[str, Any]]:
    """Run a plan, and return what it decided with the figures that `Simulator.describe` gives of other chains."""
    decision = run_planned(plan, sample)
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
    return decision, {
        "chain": list(plan.chain),
        "n": len(votes),
        "links": links,
        "aggregates": {"calibrated": score(votes.gold, decision.label, votes.labels).brief()},
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


def write_planned_labels(plan: Planned, sample: Sample, decision: CalibratedDecision, path: Path) -> None:
    """Write item_id, label, confidence (the label's posterior probability) and link, in input order."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    labels, names = np.array([*plan.labels, None], dtype=object), np.array([*plan.chain, None], dtype=object)
    unlabelled = decision.label < 0
    table = pa.table(
        {
            "item_id": pa.array(sample.votes.item_ids, pa.string()),
            "label": pa.array(labels[decision.label], pa.string()),
            "confidence": pa.array(decision.confidence, pa.float64(), mask=unlabelled),
            "link": pa.array(names[decision.source], pa.string()),
        }
    )
    write_table(path, table.schema, table.to_batches())
