"""Batch calibration, without any gold: a link's favour for some labels is taken out (Zhou et al. 2024, arXiv 2309.17249).

A model that names one label too readily does so everywhere: the mean of its label distributions over some items shows it.
Each item's distribution is divided by that mean. Here the mean is over a fixed block of items, the first ones in input
order, so that no decision depends on which answers came first, and every item is judged as soon as its vote is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log

import msgspec

from catena.confidence.path import FLOOR
from catena.types import Vote

__all__ = ["block_mean", "calibrated"]

PRIOR = 1.0
"""What is known before any item weighs as much as one of them, spread evenly over the labels."""


def block_mean(votes: Iterable[Vote], labels: Sequence[str]) -> dict[str, float]:
    """Return the mean label distribution of a block's votes; empty where none of them has one.

    Args:
        votes: Of one link about the items of the block; those without log-probabilities are left out.
        labels: The task's labels, in order.
    """
    sums, count = [PRIOR / len(labels)] * len(labels), 0
    for vote in votes:
        if vote.logprobs is None:
            continue
        masses = [0.0 if logprob is None else exp(logprob) for logprob in vote.logprobs]
        total = sum(masses)
        if total:
            sums = [whole + mass / total for whole, mass in zip(sums, masses, strict=True)]
            count += 1
    if not count:
        return {}
    return {label: whole / (count + PRIOR) for label, whole in zip(labels, sums, strict=True)}


def calibrated(vote: Vote, mean: Mapping[str, float]) -> Vote:
    """Return a vote whose label distribution is divided by the mean one; without log-probabilities, the vote as it is.

    The label is the likeliest one then, and the confidence the least that the margin between the best two can be.

    Args:
        vote: As its link gave it.
        mean: From `block_mean`, in the order of the labels.
    """
    if vote.logprobs is None or all(logprob is None for logprob in vote.logprobs):
        return vote
    labels, factors = list(mean), [1.0 / share for share in mean.values()]
    weights = [
        0.0 if logprob is None else exp(logprob) * factor
        for logprob, factor in zip(vote.logprobs, factors, strict=True)
    ]
    total = sum(weights)
    best = max(range(len(labels)), key=weights.__getitem__)
    low = [bound * factor for bound, factor in zip(vote.lower or (), factors, strict=False)]
    high = [bound * factor for bound, factor in zip(vote.upper or (), factors, strict=False)]
    rival = max(weight for at, weight in enumerate(high or weights) if at != best)
    least = log(max((low or weights)[best], FLOOR)) - log(max(rival, FLOOR))
    return msgspec.structs.replace(
        vote,
        label=labels[best],
        confidence=None if vote.confidence is None else max(least, 0.0),
        logprobs=tuple(log(weight / total) if weight else None for weight in weights),
        lower=_shares(low, high),
        upper=_shares(high, low),
    )


def _shares(own: Sequence[float], others: Sequence[float]) -> tuple[float, ...] | None:
    """Return each weight's share where all others are what they are at the other end; None without bounds."""
    if not own:
        return None
    whole = sum(others)
    return tuple(
        weight / total if (total := weight + whole - other) else 0.0
        for weight, other in zip(own, others, strict=True)
    )
