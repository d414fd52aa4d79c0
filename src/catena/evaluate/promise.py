"""What a certificate means in calls and money, for people and scripts."""

from fractions import Fraction
from typing import Any

import numpy as np

from catena.evaluate.certificate import Certificate
from catena.evaluate.certify import Certified, Certifier, least_escalated

__all__ = ["figures"]


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
        "feasibility": _feasibility(certifier, rows, asked.share),
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


def _feasibility(certifier: Certifier, rows: Any, agreement: Fraction) -> dict[str, Any]:
    """Return the share of drawn items on which no link before the last is right, and what follows from it."""
    alpha = float(1 - agreement)
    if not len(rows):
        return {"base_risk": None, "alpha": alpha, "least_escalated": None, "least_abstained": None}
    risk = float(certifier.wrong(rows)[: certifier.early].all(0).mean())
    escalated, abstained = least_escalated(risk, alpha)
    return {
        "base_risk": risk,
        "alpha": alpha,
        "least_escalated": escalated,
        "least_abstained": abstained,
    }


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
