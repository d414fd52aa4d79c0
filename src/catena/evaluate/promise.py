"""What a certificate means in calls and money, for people and scripts."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from catena.evaluate.certificate import Asked, Certificate
from catena.evaluate.certify import Certified, Certifier, Rows, least_escalated

__all__ = ["bought_figures", "ended", "feasibility", "figures"]


def ended(
    asked: Asked, items: int, why: str, known: dict[str, Any] | None = None, drawn: int = 0
) -> dict[str, Any]:
    """Return what is known where it ended before anything could be promised.

    Args:
        asked: The settings.
        items: How many there are.
        why: The reason, for a person.
        known: What the first items drawn have shown, where any were.
        drawn: How many these are.
    """
    alpha = float(1 - asked.share)
    none = {"base_risk": None, "alpha": alpha, "least_escalated": None, "least_abstained": None}
    return {
        "certified": False,
        "ended": why,
        "chain": list(asked.chain),
        "reference": asked.reference,
        "agreement": float(asked.share),
        "delta": asked.delta,
        "n": items,
        "allowed_wrong": math.floor((1 - asked.share) * items),
        "feasibility": none,
        **(known or {}),
        "sample": {"n": drawn},
    }


def bought_figures(certifier: Certifier, found: Certified, paid: dict[str, Any]) -> dict[str, Any]:
    """Return what a run's votes have cost for a promise, and what its labels still will.

    Args:
        certifier: Knows all votes of the run.
        found: What was found.
        paid: What the ledger says has been paid.
    """
    votes = certifier.votes
    rows = np.concatenate([found.fit, found.sample])
    lacking = int(((found.kept_by == certifier.early) & ~votes.recorded[-1]).sum())
    costs = votes.cost_usd[-1, rows]
    each = float(np.nanmean(costs)) if (~np.isnan(costs)).any() else None
    to_come = None if each is None else lacking * each
    whole = None if to_come is None or paid["paid_usd"] is None else paid["paid_usd"] + to_come
    return {
        **paid,
        "ended": None,
        "to_come": {"link": votes.links[-1], "calls": lacking, "cost_usd": to_come},
        "cost_usd": whole,
        "cost_share": whole / (each * len(votes)) if whole is not None and each else None,
        "failed": [
            {"link": name, "votes": int((votes.recorded[j] & ~votes.voted[j]).sum())}
            for j, name in enumerate(votes.links)
        ],
    }


def figures(certifier: Certifier, found: Certified, certificate: Certificate) -> dict[str, Any]:
    """Return what is promised, what it rests on and what it costs, ready for JSON; infinite thresholds are null.

    The last link's votes and costs are known for drawn items only: its cost on others is taken as their mean.
    """
    asked, votes = certificate.asked, certifier.votes
    rows = np.concatenate([found.fit, found.sample])
    early = certifier.early
    called = found.kept_by == early
    escalated = int(called.sum())
    called[rows] = True
    calls, n = int(called.sum()), len(votes)
    return {
        "certified": certificate.cut is not None,
        "chain": list(asked.chain),
        "reference": asked.reference,
        "agreement": float(asked.share),
        "delta": asked.delta,
        "n": n,
        "allowed_wrong": found.allowed,
        **feasibility(certifier, rows, asked.share),
        "policy": {"threshold": certificate.thresholds},
        "aggregate": "last",
        "sample": {"n": len(rows), "fit": len(found.fit), "tested": len(found.sample)},
        "links": [
            {"link": name, "kept": int((found.kept_by == j).sum()), "missing": missing}
            for j, (name, missing) in enumerate(zip(votes.links, _missing(certifier, rows), strict=True))
        ],
        "escalated": {"n": escalated, "share": escalated / n},
        "calls": {"link": votes.links[-1], "n": calls, "share": calls / n},
        **_cost(certifier, found, rows, calls),
        "cuts": {"n": len(found.path.kept), "passed": found.cut + 1},
    }


def feasibility(certifier: Certifier, rows: Rows, agreement: Fraction) -> dict[str, Any]:
    """Return the share of drawn items on which no link before the last is right, and what follows from it."""
    alpha = float(1 - agreement)
    if not len(rows):
        none = {"base_risk": None, "alpha": alpha, "least_escalated": None, "least_abstained": None}
        return {"feasibility": none, "sample": {"n": 0}}
    risk = float(certifier.wrong(rows)[: certifier.early].all(0).mean())
    escalated, abstained = least_escalated(risk, alpha)
    found = {
        "base_risk": risk,
        "alpha": alpha,
        "least_escalated": escalated,
        "least_abstained": abstained,
    }
    return {"feasibility": found, "sample": {"n": len(rows)}}


def _missing(certifier: Certifier, rows: Any) -> list[int]:
    """Return how many votes are not recorded: of the last link, among the drawn items only."""
    recorded = certifier.votes.recorded
    return [*(int(n) for n in (~recorded[:-1]).sum(1)), int((~recorded[-1, rows]).sum())]


def _cost(certifier: Certifier, found: Certified, rows: Any, calls: int) -> dict[str, float | None]:
    """Return the cost of chain and draw in USD, and over what the last link alone would cost; None where unknown."""
    paid = certifier.votes.cost_usd
    known = paid[-1, rows][~np.isnan(paid[-1, rows])]
    if not len(known) or np.isnan(paid[:-1]).all(1).any():
        return {"cost_usd": None, "cost_share": None}
    each = float(known.mean())
    before = sum(float(np.nansum(paid[j, found.kept_by >= j])) for j in range(certifier.early))
    cost = before + calls * each
    return {"cost_usd": cost, "cost_share": cost / (each * len(found.kept_by)) if each > 0 else None}
