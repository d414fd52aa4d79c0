"""Synthetic panels of links with known skill, for planning."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from catena.data.votes import VoteTable
from catena.evaluate.pilot import Sample, choose_pilot, take
from catena.evaluate.plan import Planner
from catena.routing import ties


def panel(
    skill: Sequence[float],
    seed: int = 0,
    *,
    n: int = 900,
    labels: int = 3,
    shared: float = 0.5,
    prices: Sequence[float] | None = None,
    uneven: float = 0.0,
    lost: float = 0.0,
    digits: int | None = None,
    blind: bool = False,
) -> tuple[VoteTable, np.ndarray]:
    """Return votes of links whose scores for the true label stand out by `skill`, and their log-probabilities.

    Args:
        skill: One number per link; 0 guesses, 3 is nearly always right.
        seed: Of everything.
        n: Items.
        labels: Labels.
        shared: Share of the noise that all links have in common: how much they err together.
        prices: USD per vote; tripling from link to link unless said.
        uneven: Spread of the prices from item to item, the same for all links.
        lost: Share of votes that are not recorded.
        digits: Decimals of the confidence, for ties.
        blind: Confidences that say nothing.
    """
    rng = np.random.default_rng(seed)
    gold, every = rng.integers(0, labels, n), np.arange(n)
    common = rng.normal(size=(n, labels))
    label, confidence, logprobs = [], [], []
    for each in skill:
        scores = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(n, labels))
        scores[every, gold] += each
        scores -= np.log(np.exp(scores).sum(1, keepdims=True))
        best = np.sort(scores, 1)
        label.append(scores.argmax(1))
        confidence.append(rng.random(n) if blind else best[:, -1] - best[:, -2])
        logprobs.append(scores)
    sure = np.array(confidence) if digits is None else np.round(confidence, digits)
    gone = rng.random((len(skill), n)) < lost
    price = np.array(prices if prices is not None else 3.0 ** np.arange(len(skill)))
    length = np.exp(uneven * rng.normal(size=n))
    cost = price[:, None] * length
    votes = VoteTable(
        item_ids=np.array([f"i{i}" for i in range(n)], dtype=object),
        links=tuple(f"link{j}" for j in range(len(skill))),
        labels=tuple(f"label{k}" for k in range(labels)),
        label=np.where(gone, -1, np.array(label)).astype(np.int16),
        confidence=np.where(gone, np.nan, sure),
        recorded=~gone,
        cost_usd=np.where(gone, np.nan, cost),
        gold=gold.astype(np.int16),
    )
    return votes, np.array(logprobs, np.float32)


def planner(
    votes: VoteTable,
    pilot: int,
    seed: int = 0,
    logprobs: np.ndarray | None = None,
    metric: str = "accuracy",
    **more,
) -> tuple[Planner, np.ndarray]:
    """Return a planner over a drawn pilot, and the rows outside it."""
    rows = choose_pilot(votes, str(pilot), seed)
    rest = np.setdiff1d(np.arange(len(votes)), rows)
    return Planner(sample(votes, rows, seed, logprobs), len(rest), seed, metric, **more), rest


def sample(votes: VoteTable, rows: np.ndarray, seed: int = 0, logprobs: np.ndarray | None = None) -> Sample:
    """Return the votes on some rows."""
    return take(votes, logprobs, rows, ties(votes.item_ids.tolist(), seed))


def without(votes: VoteTable, rows: np.ndarray) -> VoteTable:
    """Return the table without gold and votes on some rows."""
    gold, label, recorded = votes.gold.copy(), votes.label.copy(), votes.recorded.copy()
    confidence, cost = votes.confidence.copy(), votes.cost_usd.copy()
    gold[rows], label[:, rows], recorded[:, rows], confidence[:, rows], cost[:, rows] = (
        -1,
        -1,
        False,
        np.nan,
        np.nan,
    )
    return replace(votes, gold=gold, label=label, recorded=recorded, confidence=confidence, cost_usd=cost)
