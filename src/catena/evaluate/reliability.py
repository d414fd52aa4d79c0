"""Whether a confidence says anything: how well it ranks right above wrong, and whether its probabilities are true."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["auroc", "calibration_error"]


def auroc(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Return the probability that a right vote is surer than a wrong one, a tie counting half; None without both.

    Args:
        confidence: NaN counts as the lowest, [n].
        right: Whether each vote is right, bool [n].
    """
    hits = int(right.sum())
    misses = len(right) - hits
    if not hits or not misses:
        return None
    _, place, count = np.unique(
        np.where(np.isnan(confidence), -np.inf, confidence), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * misses))


def calibration_error(chance: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float | None:
    """Return the expected calibration error: mean gap between probability and hit rate over bins of equal counts.

    Args:
        chance: Probability of each label given, [n].
        right: Whether it is right, bool [n].
        bins: Fewer where there are fewer items.
    """
    if not len(chance):
        return None
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(float(chance[part].mean() - right[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)
