"""What a link would have cost alone, where it was asked about some of the items only.

A policy chooses who is asked: items in doubt are longer than others, or cheap ones go first. So the mean over the items that
a link saw is not that over all. What is known of every item, the length of its text and what other links charged for it, says
how the others differ: the cost is fitted to that by least squares, and what the fit foretells stands for the items not seen
(a regression estimator: Cochran 1977, chapter 7).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cost_alone"]

Floats = NDArray[np.float64]

EACH = 10  # items for each thing that is fitted; with fewer, the mean stands


def cost_alone(cost: Floats, known: Floats) -> float | None:
    """Return what a link would have charged for all items; None where it charged for none.

    Args:
        cost: What it charged, NaN where it was not asked or no cost is known, [n].
        known: What is known of every item, [k, n].
    """
    seen = ~np.isnan(cost)
    if not seen.any():
        return None
    paid = cost[seen]
    moving = known[known[:, seen].std(1) > 0] if len(known) else known
    if seen.sum() < EACH * (1 + len(moving)):
        moving = moving[:0]
    middle = moving[:, seen].mean(1, keepdims=True)
    scale = moving[:, seen].std(1, keepdims=True)
    at = (moving - middle) / scale
    rise = np.linalg.lstsq(at[:, seen].T, paid - paid.mean(), rcond=None)[0]
    foretold = np.maximum(paid.mean() + rise @ at[:, ~seen], 0.0)
    return float(paid.sum() + foretold.sum())
