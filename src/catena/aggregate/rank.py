"""`rank`: the paper's backward pass (section 3): the link at which the item ranks highest among that link's items."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalised_ranks", "rank"]

LOWEST = float(np.nextafter(0, 1))


def normalised_ranks(
    seen: NDArray[np.bool_], confidence: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return rank / n of each vote among the votes of its link on the items that reached it; ties take the largest.

    A vote without a confidence has the smallest rank of all: below every vote that has one, at any link.

    Args:
        seen: Whether the item reached the link and has a label there, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        order: Each link's items from least to most sure, [m, n] (see `routing.least_first`).

    Returns:
        In (0, 1]; 0 where there is no vote, float64 [m, n].
    """
    ranks = np.zeros(seen.shape)
    for j, items in enumerate(order):
        here = items[seen[j][items]]
        if not len(here):
            continue
        value = confidence[j][here]
        ends = np.flatnonzero(np.append(value[1:] != value[:-1], True))
        if len(ends) == len(here):
            ranks[j, here] = np.arange(1, len(here) + 1) / len(here)
        else:
            ranks[j, here] = np.repeat(ends + 1, np.diff(ends, prepend=-1)) / len(here)
        ranks[j, here[np.isnan(value)]] = LOWEST
    return ranks


def rank(ranks: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return whose vote each item takes: the earliest link of the highest normalised rank; -1 without any vote.

    Args:
        ranks: From `normalised_ranks`, [m, n].

    Returns:
        Index of the link, int16 [n].
    """
    best = np.argmax(ranks, axis=0)
    return np.where(ranks.any(axis=0), best, -1).astype(np.int16)
