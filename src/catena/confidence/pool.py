"""The posterior of an item's label given the votes it has so far: a shrunk logarithmic opinion pool.

Evidence of several links is summed, each with a weight below 1, because links err together. The weights belong to a set
of links; they are shrunk to one common discount per number of votes, which all sets of that size share.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catena.confidence.calibrate import log_softmax

__all__ = ["fit_discount", "fit_weights", "posterior", "said"]

Floats = NDArray[np.float64]

FIRST_GUESS = 0.7
SPREAD = 0.35  # prior standard deviation of a link's weight around the common discount
LEAST, MOST = 0.0, 1.5
STEPS = 12


def posterior(log_prior: Floats, evidence: Floats, weights: Sequence[float] | Floats) -> Floats:
    """Return softmax(log prior + weights . evidence).

    Args:
        log_prior: [K].
        evidence: Of the links that the items have seen, [l, n, K].
        weights: One per link, [l].

    Returns:
        float64 [n, K].
    """
    summed = np.zeros(evidence.shape[1:]) + log_prior
    for weight, each in zip(weights, evidence, strict=True):  # in this order, for one item as for many
        summed += weight * each
    result: Floats = np.exp(log_softmax(summed))
    return result


def said(chances: Floats, label: NDArray[np.int16], *, free: bool) -> tuple[NDArray[np.int16], Floats]:
    """Return the label of each item, -1 without any vote, and the posterior of that label.

    Args:
        chances: From `posterior`, [n, K].
        label: The votes that went into it, -1 for none, int16 [l, n].
        free: Whether a label that no link named may win: where links gave full distributions. A link that gave a bare
            label says nothing about the others.
    """
    voted: NDArray[np.bool_] = label >= 0
    some = np.asarray(voted.any(0))
    if free:
        open_ = np.repeat(some[:, None], chances.shape[1], 1)
    else:
        open_ = np.zeros(chances.shape, bool)
        for votes, here in zip(label, voted, strict=True):
            rows = np.flatnonzero(here)
            open_[rows, votes[rows]] = True
    chances = np.where(open_, chances, 0.0)
    best = np.where(some, chances.argmax(1), -1).astype(np.int16)
    return best, chances.max(1)


def fit_discount(log_prior: Floats, summed: Floats, gold: NDArray[np.int16]) -> float:
    """Return the one weight that fits the summed evidence of many sets of links best.

    Args:
        log_prior: [K].
        summed: Sum of the evidence of each set, [sets, n, K].
        gold: int16 [n].
    """
    weight, at = FIRST_GUESS, np.arange(len(gold))
    for _ in range(STEPS):
        chances = np.exp(log_softmax(log_prior + weight * summed))
        mean = (chances * summed).sum(-1)
        slope = (summed[:, at, gold] - mean).sum()
        curvature = ((chances * summed * summed).sum(-1) - mean**2).sum()
        weight = float(np.clip(weight + slope / (curvature + 1.0), 0.1, MOST))
    return weight


def fit_weights(log_prior: Floats, evidence: Floats, gold: NDArray[np.int16], discount: float) -> Floats:
    """Return one weight per link of a set, shrunk to the discount, [l]; a link alone has weight 1.

    Weights have bounds. Where one wants to be negative, as a weak link's does beside a strong one that errs with it, the
    others are fitted with that one at 0: to cut it off afterwards would leave the others, which made up for it, too large,
    and every posterior too sure.

    Args:
        log_prior: [K].
        evidence: Of the set's links on the pilot, [l, n, K].
        gold: int16 [n].
        discount: From `fit_discount`, for sets of this size.
    """
    links, n, labels = evidence.shape
    if links == 1:
        return np.ones(1)
    flat = evidence.reshape(links, n * labels)
    hit = evidence[:, np.arange(n), gold].sum(1)
    weights, free = np.full(links, discount), np.ones(links, bool)
    for _ in range(STEPS):
        chances = np.exp(log_softmax(log_prior + (weights @ flat).reshape(n, labels)))
        weighted = flat * chances.ravel()
        mean = weighted.reshape(links, n, labels).sum(2)
        slope = hit - mean.sum(1) - (weights - discount) / SPREAD**2
        curvature = weighted @ flat.T - mean @ mean.T + np.eye(links) / SPREAD**2
        step = np.zeros(links)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        before, weights = weights, np.clip(weights + step, LEAST, MOST)
        free &= weights > LEAST
        if not free.any() or np.abs(weights - before).max() < 1e-4:
            break
    return weights
