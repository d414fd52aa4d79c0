"""How sure a link is of an item against its other items: the one order that every policy ranks by."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standing", "least_first", "standing", "ties"]

Standing = tuple[int, float, int]
"""Rises with sureness: (0 failed, 1 voted without confidence, 2 voted with one), the confidence, a seeded hash."""


def ties(ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """Return a hash of each item's id that settles ties, uint64 [n]; the same for a seed on every machine."""
    key = blake2b(str(seed).encode(), digest_size=16).digest()
    digests = bytearray()
    for id_ in ids:
        digests += blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def standing(*, voted: bool, confidence: float | None, tie: int) -> Standing:
    """Return where one vote stands. A failed vote ranks below one without confidence, that below all others."""
    if not voted:
        return (0, 0.0, tie)
    if confidence is None or confidence != confidence:  # noqa: PLR0124 - NaN
        return (1, 0.0, tie)
    return (2, confidence, tie)


def least_first(
    voted: NDArray[np.bool_], confidence: NDArray[np.float64], tie: NDArray[np.uint64]
) -> NDArray[np.int32]:
    """Return the item indices from the least to the most sure for each link.

    Args:
        voted: Whether the link has a label for the item, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        tie: From `ties`, uint64 [n].

    Returns:
        int32 [m, n]; n is below 2**31.
    """
    order = np.empty(voted.shape, np.int32)
    if order.size:
        by_tie = np.argsort(tie, kind="stable").astype(np.int32)
        for j, here in enumerate(voted):
            order[j] = _least_first(here[by_tie], confidence[j][by_tie], by_tie)
    return order


def _least_first(
    voted: NDArray[np.bool_], confidence: NDArray[np.float64], items: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return one link's items sorted by what it says of them; items of equal standing stay in their order."""
    without = np.isnan(confidence)
    confidence[~voted | without] = 0.0
    kind = np.where(voted, np.where(without, np.int8(1), np.int8(2)), np.int8(0))
    by_value = np.argsort(confidence, kind="stable").astype(np.int32)
    return items[by_value][np.argsort(kind[by_value], kind="stable")]
