"""What a plan is told to people and scripts."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from catena.evaluate.candidates import Candidate
from catena.evaluate.metrics import score
from catena.evaluate.pilot import Sample
from catena.evaluate.plan import Plan, Planner
from catena.evaluate.search import Found

__all__ = ["summary"]

LESS = 0.99  # of what the reference costs: more is not said to save anything


def summary(
    planner: Planner,
    plan: Plan,
    frontier: Sequence[Found],
    others: Sample | None = None,
    held_out: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all figures of a plan, ready for JSON.

    Args:
        planner: Made on the pilot.
        plan: What it recommends.
        frontier: From `Planner.frontier`.
        others: The items that are not in the pilot, where votes on them are recorded; their gold is used for figures
            only. Otherwise the best single link is described on the pilot.
        held_out: From `plan.held_out`, likewise.
    """
    pilot, links = planner.pilot.votes, planner.pilot.votes.links
    one = float(planner.paid[links.index(plan.reference)].mean())
    spent = planner.spent
    policy = msgspec.to_builtins(plan.planned.policy)
    policy.pop("pilot", None)
    return {
        "chain": list(plan.planned.chain),
        "policy": policy,
        "aggregate": {"calibrated": msgspec.to_builtins(plan.planned.rule)},
        "reference": plan.reference,
        "agree_with": planner.agree_with,
        "metric": planner.metric,
        "pilot": {"n": len(pilot), "accuracy": planner.counted(plan.found.candidate), "cost_usd": spent},
        "expected": _expected(plan.found, one),
        "held_out": held_out,
        "best_single": _single(planner.best_single, others or planner.pilot),
        "pays_from_rows": math.ceil(spent / (one - plan.found.usd)) if plan.found.usd < LESS * one else None,
        "rest_buys_nothing": plan.reached is None
        and plan.asked is not None
        and plan.found.usd < 0.98 * plan.asked,
        "links": [
            {**link, "cost_share": link["cost_usd"] / one if one > 0 else None} for link in planner.describe()
        ],
        "frontier": [
            {
                "chain": [links[j] for j in found.candidate.links],
                "shares": kept(found.candidate),
                **_expected(found, one),
            }
            for found in frontier
        ],
    }


def kept(candidate: Candidate) -> list[float]:
    """Return the share of items, or of planned spending, that each link keeps."""
    after = [*candidate.forwarded[1:], 0.0]
    return [round(here - there, 6) for here, there in zip(candidate.forwarded, after, strict=True)]


def _expected(found: Found, one: float) -> dict[str, Any]:
    return {
        "accuracy": found.accuracy,
        "accuracy_low": found.low,
        "accuracy_high": found.high,
        "macro_f1": found.macro_f1,
        "cost_share": found.usd / one if one > 0 else None,
    }


def _single(link: str, others: Sample) -> dict[str, Any]:
    """Return how good a link alone is on the other items; None where it was asked about none of them."""
    votes = others.votes
    at = votes.links.index(link)
    gold = votes.gold if votes.recorded[at].any() else np.full(len(votes), -1, np.int16)
    return {"link": link, **score(gold, votes.label[at], votes.labels).brief()}
