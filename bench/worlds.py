"""Worlds that no planner was made for: vote tables of links with known skill, for checks beyond recorded votes.

A link sees each item's true label through noise: some of it shared by all links, so that they err together, the rest its
own. What differs from world to world is what a planner may stumble over: how many labels and how rare, how far links are
apart, how much they err together, what their confidences say, and how prices are spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catena.data.votes import VoteTable

__all__ = ["LATER", "MANY", "UNSEEN", "WORLDS", "World", "made"]


@dataclass(frozen=True)
class World:
    """How a vote table is made.

    Args:
        skill: How far each link's score of the true label stands out, against noise of variance 1.
        labels: Number of labels.
        prior: Share of the first label; the others share the rest. Even unless said.
        shared: Share of the noise that all links have in common.
        hard: Spread of the items' difficulty: the log of what skill is divided by.
        says: What confidences are: `margin` (of the scores), `blind` (noise), `coarse` (three values), or `full`
            (distributions too, overconfident and biased by label).
        prices: USD per vote; tripling from link to link unless said.
        length: Spread of the log of what an item costs all links.
        own: Spread of the log of what each vote costs besides.
        lost: Share of votes that fail.
        noise: Spread of what is added to each confidence.
        families: The family of each link, which shares half of the noise that not all have in common; none unless said.
        n: Items.
        pilot: How many of them are planned on.
    """

    skill: Sequence[float]
    labels: int = 4
    prior: float | None = None
    shared: float = 0.5
    hard: float = 0.5
    says: str = "margin"
    prices: Sequence[float] | None = None
    length: float = 0.0
    own: float = 0.0
    lost: float = 0.0
    noise: float = 0.0
    families: Sequence[int] | None = None
    n: int = 2300
    pilot: int = 300

    @property
    def link(self) -> str:
        """Name of the last link, whose cost is 1x."""
        return f"link{len(self.skill) - 1}"


WORLDS = {
    "ladder": World([0.8, 1.2, 1.7, 2.3]),
    "two-labels": World([0.5, 1.0, 1.5, 1.8, 2.1], labels=2, prior=0.7),
    "rare-labels": World([0.8, 1.3, 1.8, 2.2], labels=6, prior=0.8),
    "many-labels": World([1.5, 2.0, 2.6, 3.2], labels=20),
    "near-equal": World([1.7, 1.75, 1.8, 1.8, 1.85, 1.9], shared=0.3, prices=[1, 1.2, 1.5, 2, 2.5, 3]),
    "same-errors": World([1.5, 1.6, 1.7, 1.8], shared=0.95),
    "far-above": World([0.5, 0.7, 0.9, 4.5]),
    "far-above-cheap": World([0.5, 0.7, 0.9, 4.0], prices=[1, 3, 20, 9]),
    "above": World([1.0, 1.2, 1.3, 2.3], shared=0.8),
    "blind": World([0.8, 1.2, 1.7, 2.3], says="blind"),
    "coarse": World([0.8, 1.2, 1.7, 2.3], says="coarse"),
    "full": World([0.8, 1.2, 1.7, 2.3], says="full"),
    "lengths": World([0.8, 1.2, 1.7, 2.3], length=1.2),
    "heavy": World([0.8, 1.2, 1.7, 2.3], length=0.8, own=1.2, lost=0.02),
    "two-links": World([1.2, 2.0], labels=3),
    "twelve-links": World(np.linspace(0.6, 2.2, 12).tolist(), prices=(2.0 ** np.arange(12)).tolist()),
}  # fmt: skip

# Made after these, and looked at only when the planner's rules stood: nothing was set with them in view.
UNSEEN = {
    "twins": World([2.0] * 5, shared=0.9, prices=[1] * 5),
    "equal-apart": World([1.2] * 3, labels=3, shared=0.1, prices=[1, 2, 4]),
    "same-many": World(np.linspace(1.4, 1.9, 8).tolist(), shared=0.96, prices=(1.5 ** np.arange(8)).tolist()),
    "same-step": World([1.5, 1.6, 1.7, 2.2], labels=3, shared=0.95, prices=[1, 2, 3, 4]),
    "far-binary": World([0.3, 0.4, 0.5, 0.6, 3.5], labels=2, prior=0.8, prices=[5, 6, 7, 8, 9]),
    "far-many": World([1.0, 1.2, 1.4, 5.0], labels=12, prices=[1, 10, 100, 1000]),
    "a-step": World([1.0, 1.1, 1.2, 1.3, 2.0], labels=3, shared=0.7, prices=[1, 4, 16, 64, 256]),
    "noisy": World([1.0, 1.5, 2.0, 2.2], noise=2.0),
    "blind-equal": World([1.6, 1.7, 1.8], shared=0.8, says="blind", prices=[2, 2.5, 3]),
    "tails": World([1.0, 1.4, 1.8, 2.0], shared=0.7, length=1.0, own=1.5),
    "lossy": World([1.0, 1.4, 1.9, 2.2], lost=0.15),
    "families": World([1.3, 1.5, 1.7, 1.4, 1.6, 1.8], shared=0.3, prices=[1, 2, 4, 1, 2, 4], families=[0, 0, 0, 1, 1, 1]),
    "hard-items": World([0.8, 1.3, 1.8, 2.4], hard=1.2),
}  # fmt: skip

# Written down before what plans promise was changed, and run once, when that stood: many labels, rare ones, other pilots.
LATER = {
    "eight": World([0.8, 1.2, 1.8, 2.6], labels=8),
    "skew-eight": World([0.8, 1.2, 1.8, 2.6], labels=8, prior=0.7),
    "ten-full": World([0.8, 1.2, 1.7, 2.3], labels=10, says="full"),
    "twelve-skew": World([1.0, 1.5, 2.0, 3.0], labels=12, prior=0.4),
    "twelve-long": World([1.2, 1.6, 2.2, 2.8], labels=12, pilot=600, n=2600),
    "twenty-far": World([1.2, 1.4, 1.6, 4.5], labels=20, prices=[1, 10, 100, 1000]),
    "fifteen-short": World([1.2, 1.8, 2.5, 3.0], labels=15, pilot=100, n=2100),
    "three-short": World([0.8, 1.2, 1.7, 2.3], labels=3, pilot=100, n=2100),
    "ten-links": World(np.linspace(1.0, 3.0, 10).tolist(), labels=10, prices=(1.8 ** np.arange(10)).tolist(), pilot=200),
    "eight-tails": World([1.0, 1.5, 2.0, 2.5], labels=8, length=0.8, own=1.0, lost=0.03),
}  # fmt: skip

# Many links of about the same worth, written down for chains of more than three of them: apart, weak, and erring together.
MANY = {
    "twelve-equal": World(np.linspace(1.6, 1.9, 12).tolist(), shared=0.3, prices=np.linspace(1, 3, 12).tolist()),
    "eight-apart": World([1.2] * 8, labels=3, shared=0.1, prices=[1] * 8),
    "crowd": World([0.6] * 9, labels=2, shared=0.2, prices=[1] * 9),
    "eight-same": World(np.linspace(1.5, 1.9, 8).tolist(), shared=0.9, prices=(1.3 ** np.arange(8)).tolist()),
}  # fmt: skip


def made(world: World, seed: int = 0) -> tuple[VoteTable, np.ndarray | None]:
    """Return the votes of a world, and their log-probabilities [m, n, K] where it has any."""
    rng = np.random.default_rng(seed)
    links, n, labels = len(world.skill), world.n, world.labels
    first = world.prior if world.prior is not None else 1 / labels
    gold = rng.choice(labels, n, p=[first, *[(1 - first) / (labels - 1)] * (labels - 1)])
    ease = np.exp(world.hard * rng.normal(size=n))
    everyone, own = rng.normal(size=(n, labels)), rng.normal(size=(links, n, labels))
    if world.families is not None:
        common = rng.normal(size=(max(world.families) + 1, n, labels))
        own = (own + common[list(world.families)]) / np.sqrt(2)
    scores = np.sqrt(world.shared) * everyone + np.sqrt(1 - world.shared) * own
    scores[:, np.arange(n), gold] += np.array(world.skill)[:, None] * ease
    best = np.sort(scores, 2)
    sure, words = best[..., -1] - best[..., -2], None
    if world.says == "blind":
        sure = rng.random((links, n))
    elif world.says == "coarse":
        sure = np.digitize(sure, [0.3, 1.0]) / 2
    elif world.says == "full":
        leaning = scores * rng.uniform(1, 4, (links, 1, 1)) + rng.normal(size=(links, 1, labels))
        words = (leaning - np.log(np.exp(leaning).sum(2, keepdims=True))).astype(np.float32)
    said = scores.argmax(2) if words is None else words.argmax(2)
    if words is not None:
        top = np.sort(words, 2)
        sure = (top[..., -1] - top[..., -2]).astype(float)
    if world.noise:
        sure = sure + world.noise * rng.normal(size=sure.shape)
    price = np.array(world.prices if world.prices is not None else 3.0 ** np.arange(links))[:, None]
    cost = price * np.exp(world.length * rng.normal(size=n) + world.own * rng.normal(size=(links, n)))
    gone = rng.random((links, n)) < world.lost
    votes = VoteTable(
        item_ids=np.array([f"i{i}" for i in range(n)], dtype=object),
        links=tuple(f"link{j}" for j in range(links)),
        labels=tuple(f"label{k}" for k in range(labels)),
        label=np.where(gone, -1, said).astype(np.int16),
        confidence=np.where(gone, np.nan, sure),
        recorded=np.ones((links, n), bool),
        cost_usd=cost,
        gold=gold.astype(np.int16),
    )
    return votes, words
