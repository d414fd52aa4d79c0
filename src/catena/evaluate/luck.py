"""How much of what looks good on a pilot is luck."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["boast", "cuts", "mixed", "trusted", "wilson"]

CUTS = 40


def mixed(soft: NDArray[np.float32], hard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each candidate's score item by item: soft, corrected by hard as far as that says more than chance.

    Args:
        soft: Probability of the label given, [candidates, n].
        hard: Whether it is right, [candidates, n].
    """
    off = hard - soft
    shared = off.mean(0)
    off -= shared
    result: NDArray[np.float32] = soft + shared + trusted(soft, hard)[:, None] * off
    return result


def trusted(soft: NDArray[np.float32], hard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of each candidate's own correction is more than chance, from 0 to 1, [candidates].

    The candidates' corrections (hard - soft) spread by chance and by what the calibration misses; the second part is
    the variance left when the first is taken off, and each correction is shrunk accordingly (empirical Bayes).

    Args:
        soft: As in `mixed`.
        hard: Likewise.
    """
    off = hard - soft
    off -= off.mean(0)
    correction = off.mean(1)
    chance = (off**2).mean(1) / soft.shape[1]
    missed = max(0.0, float(correction.var() - chance.mean()))
    result: NDArray[np.float32] = missed / (missed + chance + 1e-12)
    return result


def boast(soft: NDArray[np.float64], hard: NDArray[np.float64]) -> float:
    """Return by how much posteriors say too much (or too little) of their labels, as far as chance does not explain it.

    Args:
        soft: Probability of the label given, [n].
        hard: Whether it is right, [n].
    """
    off = soft - hard
    seen, chance = float(off.mean()), float(off.var()) / len(off)
    return seen * max(0.0, 1 - chance / seen**2) if seen else 0.0


def cuts(tie: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return many ways to cut a pilot into halves, each half followed by the other: bool [cuts, n].

    Args:
        tie: Seeds them, uint64 [n].
    """
    n = len(tie)
    generator = np.random.Generator(np.random.PCG64([int(part) for part in np.sort(tie)[:4]]))
    halves = [generator.permutation(n) < n // 2 for _ in range(CUTS)]
    return np.array([side for half in halves for side in (half, ~half)])


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share seen on n items, which need not be a whole number (Wilson 1927).

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 3), round(high, 3)
    (0.404, 0.596)
    """
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
