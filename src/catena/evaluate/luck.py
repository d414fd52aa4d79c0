"""How much of what looks good on a pilot is luck."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixed", "overstated"]

RESAMPLES = 200


def mixed(soft: NDArray[np.float32], hard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each candidate's score item by item: soft, corrected by hard as far as that says more than chance.

    The candidates' corrections (hard - soft) spread by chance and by what the calibration misses; the second part is
    the variance left when the first is taken off, and each correction is shrunk accordingly (empirical Bayes).

    Args:
        soft: Probability of the label given, [candidates, n].
        hard: Whether it is right, [candidates, n].
    """
    off = hard - soft
    shared = off.mean(0)
    off -= shared
    correction = off.mean(1)
    chance = (off**2).mean(1) / soft.shape[1]
    missed = max(0.0, float(correction.var() - chance.mean()))
    shrink = missed / (missed + chance + 1e-12)
    result: NDArray[np.float32] = soft + shared + shrink[:, None] * off
    return result


def overstated(scores: NDArray[np.float32], tie: NDArray[np.uint64]) -> float:
    """Return by how much the best candidate of a resampled pilot overstates itself, on average.

    Args:
        scores: Of each candidate on each item, [candidates, n].
        tie: Seeds the resampling, uint64 [n].
    """
    n = scores.shape[1]
    generator = np.random.Generator(np.random.PCG64([int(part) for part in np.sort(tie)[:4]]))
    counts = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32) / n
    drawn = counts @ scores.T
    winner = drawn.argmax(1)
    return float((drawn[np.arange(RESAMPLES), winner] - scores.mean(1)[winner]).mean())
