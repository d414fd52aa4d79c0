"""`rank`: the paper's backward pass (section 3): the link at which the item ranks highest among that link's items."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["earliest_highest", "normalised_ranks", "rank", "ranks_of"]

LOWEST = float(np.nextafter(0, 1))


def normalised_ranks(
    seen: NDArray[np.bool_], confidence: NDArray[np.float64], order: NDArray[np.int32]
) -> Iterator[NDArray[np.float64]]:
    """Yield, link by link, rank / n of each vote among the votes of its link on the items that reached it.

    Ties take the largest rank. A vote without a confidence has the smallest of all: below every vote that has one, at
    any link.

    Args:
        seen: Whether the item reached the link and has a label there, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        order: Each link's items from least to most sure, [m, n] (see `routing.least_first`).

    Yields:
        In (0, 1]; 0 where there is no vote, float64 [n].
    """
    for has_vote, values, items in zip(seen, confidence, order, strict=True):
        ranks = np.zeros(len(has_vote))
        here = items[has_vote[items]]
        ranks[here] = ranks_of(values[here])
        yield ranks


def ranks_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rank / n of the votes of one link, in (0, 1].

    Args:
        values: Their confidences from the least to the most sure; those that are NaN come first, [n].
    """
    n = len(values)
    if not n:
        return np.zeros(0)
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    up_to = np.arange(1, n + 1) if len(ends) == n else np.repeat(ends + 1, np.diff(ends, prepend=-1))
    ranks: NDArray[np.float64] = up_to / n
    ranks[: int(np.count_nonzero(np.isnan(values)))] = LOWEST
    return ranks


def rank(ranks: Iterable[NDArray[np.float64]]) -> NDArray[np.int16]:
    """Return whose vote each item takes: the earliest link of the highest normalised rank; -1 without any vote.

    Args:
        ranks: From `normalised_ranks`, [n] for each of the m links; one is held at a time.

    Returns:
        Index of the link, int16 [n].
    """
    return earliest_highest(ranks, 0.0)


def earliest_highest(places: Iterable[NDArray[np.float64]], none: float) -> NDArray[np.int16]:
    """Return the earliest link at which each item's place is highest, -1 where all are `none`, the lowest there is."""
    places = iter(places)
    highest = next(places)
    best = np.zeros(len(highest), np.int16)
    for link, here in enumerate(places, 1):
        # Later links have higher numbers. Maxima, unlike masks, take the same time whatever the votes.
        np.maximum(best, (here > highest) * np.int16(link), out=best)
        np.maximum(highest, here, out=highest)
    best[highest == none] = -1
    return best
