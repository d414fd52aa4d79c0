"""What the first items drawn let one expect of a promise, before the votes on all others are bought."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from catena.evaluate.certificate import Asked
from catena.evaluate.certify import Certifier, Rows
from catena.evaluate.draws import Tail
from catena.evaluate.looks import Looks
from catena.evaluate.path import fit_curve, lay, normal_scores

__all__ = ["outlook"]

SURELY = 0.01
"""The chance, at most, that it is given up though it could be promised, or could pay."""

FEW = 5  # votes without a confidence that show that a link gives none


def outlook(certifier: Certifier, rows: Rows, asked: Asked, looks: Looks) -> dict[str, Any]:
    """Return what the first items drawn let one expect.

    Args:
        certifier: Knows the votes on these items, at least.
        rows: These items.
        asked: The settings.
        looks: When it will be tested.

    Returns:
        `likely`: about which share goes on if the other items are as these, what all calls then cost, and what those of the
        last link alone would, in USD (None where costs are unknown or nothing). `ended`: why it should end here; None if it
        should not. It should where an earlier link gives no confidences, or where the first items show with 99 % certainty that
        the last link alone breaks the promise, or that the earlier links cost more than any method can save by them.
    """
    items, share = len(certifier), _likely(certifier, rows, asked, looks)
    paid = certifier.votes.cost_usd[:, rows]
    each = [float(np.nanmean(costs)) if (~np.isnan(costs)).any() else math.nan for costs in paid]
    early, last = sum(each[:-1]), each[-1]
    known = last > 0 and not math.isnan(early)
    likely = {
        "escalated": share,
        "cost_usd": items * (early + share * last) + looks.most * (1 - share) * last if known else None,
        "alone_usd": items * last if known else None,
    }
    why = _mute(certifier, rows) or _hopeless(certifier, rows, asked.share)
    if why is None and known:
        why = _dear(certifier, rows, asked.share, early / last)
    return {"likely": likely, "ended": why}


def _likely(certifier: Certifier, rows: Rows, asked: Asked, looks: Looks) -> float:
    """Return about which share goes on: at the loosest cut whose risk, by a curve for each link, the last look would pass."""
    votes, early = certifier.votes, certifier.early
    wrong, sure = certifier.wrong(rows), votes.confidence[:early, rows]
    score = normal_scores(votes.voted[:early, rows], sure)
    for j in range(early):
        usable = np.isfinite(score[j])
        level, slope = fit_curve(score[j, usable], ~wrong[j, usable])
        score[j] = level + slope * score[j]
    kept_by = lay(score, sure, 0).kept_by(score)
    risk = np.vstack([1 / (1 + np.exp(score)), np.full((1, len(rows)), wrong[-1].mean())])
    wronged = risk[kept_by, np.arange(len(rows))].mean(1)
    good = wronged <= _passing(certifier.tail, len(certifier), asked, looks)
    return float((kept_by[good] == early).mean(1).min(initial=1.0))


def _passing(tail: Tail, items: int, asked: Asked, looks: Looks) -> float:
    """Return the share of wrong ones among the tested that the last look lets pass, about."""
    drawn, allowed = looks.ends[-1], math.floor((1 - asked.share) * items)
    counts = np.arange(drawn + 1)
    n, bad, s = (np.full(len(counts), each) for each in (items, allowed + 1, drawn))
    passing = np.flatnonzero(tail.chance(n, bad, s, counts) <= asked.delta * looks.parts[-1])
    return float(passing[-1] / drawn) if len(passing) and drawn else 0.0


def _mute(certifier: Certifier, rows: Rows) -> str | None:
    """Say that a link can keep nothing, for none of its votes has a confidence: to ask it about all items is in vain."""
    votes = certifier.votes
    for j, name in enumerate(votes.links[:-1]):
        voted = votes.voted[j, rows]
        if voted.sum() >= FEW and np.isnan(votes.confidence[j, rows][voted]).all():
            return (
                f"none of the first {voted.sum():,} votes of {name} has a confidence, so it can keep nothing: give it one, as by "
                "confidence: auto, or leave it out"
            )
    return None


def _hopeless(certifier: Certifier, rows: Rows, agreement: Fraction) -> str | None:
    items, wrong = len(certifier), int(certifier.wrong(rows)[-1].sum())
    allowed = math.floor((1 - agreement) * items)
    if not _surely_more(certifier.tail, items, allowed, len(rows), wrong):
        return None
    return (
        f"{certifier.votes.links[-1]} alone is wrong on {wrong:,} of the first {len(rows):,} items drawn, so almost surely on more "
        f"than the {allowed:,} of {items:,} that may be: ask for less agreement, or put a better link last"
    )


def _dear(certifier: Certifier, rows: Rows, agreement: Fraction, early: float) -> str | None:
    """Say that the earlier links, which cost so much of the last one's price, save less than they cost, whatever the method."""
    items, missed = len(certifier), int(certifier.wrong(rows)[: certifier.early].all(0).sum())
    most = math.floor((float(1 - agreement) + 1 - early) * items)  # more base risk than that can't pay
    if early < 1 and not _surely_more(certifier.tail, items, most, len(rows), missed):
        return None
    names, last = " and ".join(certifier.votes.links[:-1]), certifier.votes.links[-1]
    return (
        f"{names} cost {early:.2f}x of what {last} does, more than any method can save by them: run {last} alone, or after cheaper "
        "links"
    )


def _surely_more(tail: Tail, items: int, most: int, drawn: int, found: int) -> bool:
    """Tell whether so many found among the drawn are too many if there are no more than `most` among all items."""
    if not found or most >= items:
        return False
    few = tail.chance(np.array([items]), np.array([most]), np.array([drawn]), np.array([found - 1]))
    return bool(1 - few[0] <= SURELY)
