"""`minmax`: the variant of the paper's backward pass in which confidences are scaled within each link, not ranked.

It is the reference implementation's `backward_pass(rank=False)`: a confidence counts by how far it lies between the least
and the largest of its link. One outlier moves all others, which is why `rank` is the rule of the paper.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.rank import earliest_highest

__all__ = ["minmax", "scaled", "scaled_of"]

NONE, UNSURE, LEAST, MOST = -3.0, -2.0, -1.0, 2.0
"""Below and above every scaled confidence: no vote; a vote without confidence; minus and plus infinity."""


def scaled(seen: NDArray[np.bool_], confidence: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield, link by link, where each confidence lies between the least and the largest on the items that reached the link.

    Where all are equal, all are the largest. Infinite ones have no part in the range and lie beyond it.

    Args:
        seen: Whether the item reached the link and has a label there, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].

    Yields:
        In [0, 1], and the constants of this file for what has no place in it, float64 [n].
    """
    for has_vote, values in zip(seen, confidence, strict=True):
        found = np.full(len(values), NONE)
        here = np.flatnonzero(has_vote)
        found[here] = scaled_of(values[here])
        yield found


def scaled_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the confidences of the votes of one link lie, as `scaled` does, [n]."""
    finite = np.isfinite(values)
    if finite.all():
        return _between(values)
    place: NDArray[np.float64] = np.where(np.isnan(values), UNSURE, np.where(values > 0, MOST, LEAST))
    place[finite] = _between(values[finite])
    return place


def _between(value: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(value):
        return value
    least, most = float(value.min()), float(value.max())
    return np.ones(len(value)) if least == most else (value - least) / (most - least)


def minmax(places: Iterable[NDArray[np.float64]]) -> NDArray[np.int16]:
    """Return whose vote each item takes: the earliest link of the highest place; -1 without any vote.

    Args:
        places: From `scaled`, [n] for each of the m links; one is held at a time.

    Returns:
        Index of the link, int16 [n].
    """
    return earliest_highest(places, NONE)
