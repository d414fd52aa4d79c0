"""From strict to loose: a one-dimensional path of thresholds, one for each link but the last.

At a level, a link keeps an item if its score is at least that: falling levels keep more and more. With one link before
the last, the score is the rank of its confidence. With more, what a confidence is worth differs from link to link: the
score is then the chance, in log-odds, that the link's label is the reference's, on a logistic curve over the rank. So
at every level the links give up items at the same risk, which is the best way to share a given number of errors.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["Path", "fit_curve", "lay", "normal_scores"]

Floats = NDArray[np.float64]

MOST_CUTS = 100
LEVEL, SLOPE = (
    (1.0, 2.0),
    (0.8, 0.5),
)  # prior mean and deviation: log-odds of a middling vote; rise per deviation
FLATTEST = 0.05  # a surer vote is never worth less
NEWTON_STEPS = 30


@dataclass(frozen=True)
class Path:
    """Cuts from strict to loose.

    Args:
        thresholds: The least confidence that each link keeps, [cuts, m - 1]; infinite where it keeps nothing.
        levels: The least score that is kept at each cut, falling, [cuts].
        kept: How many items are kept before the last link at each cut, rising, [cuts].
    """

    thresholds: Floats
    levels: Floats
    kept: NDArray[np.int64]

    def kept_by(self, score: Floats, cut: int | None = None) -> NDArray[np.int64]:
        """Return the link that keeps each item, m - 1 for the last, [cuts, n], or at one cut, [n].

        Args:
            score: Of some items, [m - 1, n].
            cut: Which; all of them unless said.
        """
        levels = self.levels[:, None] if cut is None else self.levels[cut]
        at = np.full(np.broadcast_shapes(np.shape(levels), score.shape[1:]), len(score), np.int64)
        for j in reversed(range(len(score))):
            at[score[j] >= levels] = j
        return at


def normal_scores(voted: NDArray[np.bool_], confidence: Floats) -> Floats:
    """Return each link's confidences by their rank, as standard normal deviates; -inf where nothing is ever kept, [m, n].

    Args:
        voted: Whether there is a label, bool [m, n].
        confidence: NaN where there is none, [m, n].
    """
    normal, scores = NormalDist(), np.full(confidence.shape, -np.inf)
    for j, values in enumerate(confidence):
        usable = voted[j] & ~np.isnan(values)
        distinct, place, count = np.unique(values[usable], return_inverse=True, return_counts=True)
        if len(distinct):
            middle = (np.cumsum(count) - count / 2) / usable.sum()
            scores[j, usable] = np.array([normal.inv_cdf(rank) for rank in middle])[place]
    return scores


def fit_curve(score: Floats, agrees: NDArray[np.bool_]) -> tuple[float, float]:
    """Return level and slope of the log-odds that a vote is right: logistic regression, shrunk to a prior.

    Args:
        score: Normal score of each vote's confidence, [n].
        agrees: Whether its label is the reference's, bool [n].
    """
    inputs = np.stack([np.ones(len(score)), score], 1)
    mean, precision = np.array([LEVEL[0], SLOPE[0]]), np.array([LEVEL[1], SLOPE[1]]) ** -2.0
    found = mean.copy()
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (agrees - chance) - precision * (found - mean)
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(precision)
        step = np.clip(np.linalg.solve(curvature, slope), -1.0, 1.0)
        found += step
        if np.abs(step).max() < 1e-9:
            break
    return float(found[0]), max(float(found[1]), FLATTEST)


def lay(score: Floats, confidence: Floats, least: int) -> Path:
    """Return a path of at most 102 cuts: the first keeps nothing, the others step evenly to all that can be kept.

    Args:
        score: Of every item, rising with confidence, -inf where the link never keeps the item, [m - 1, n].
        confidence: Of every item, [m - 1, n].
        least: Cuts that keep at most so many items need no test, so the path steps from there.
    """
    levels, count = np.unique(score.max(0), return_counts=True)
    levels, kept = levels[::-1], np.cumsum(count[::-1])
    usable = np.isfinite(levels)
    levels, kept = np.r_[np.inf, levels[usable]], np.r_[0, kept[usable]]
    wanted = np.linspace(min(least, kept[-1]), kept[-1], MOST_CUTS + 1)
    at = np.unique(np.r_[0, np.searchsorted(kept, wanted, "right") - 1])
    levels, kept = levels[at], kept[at]
    thresholds = np.full((len(levels), len(score)), np.inf)
    for j, values in enumerate(score):
        order = np.argsort(values, kind="stable")
        first = np.searchsorted(values[order], levels)
        some = first < len(order)
        thresholds[some, j] = confidence[j, order[first[some]]]
    return Path(thresholds, levels, kept)
