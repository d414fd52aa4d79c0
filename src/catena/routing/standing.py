"""How sure a link is of an item against its other items: the one order that every policy ranks by."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAILED", "SURE", "UNSURE", "Standing", "least_first", "standing", "standings", "ties"]

FAILED, UNSURE, SURE = range(3)
"""How far a vote can be relied on: not there; without a confidence, or for a label that its link is weak on; the others."""

NOTHING = float("-inf")

Standing = tuple[int, float, int]
"""Rises with sureness: the kind (FAILED, UNSURE, SURE), the confidence, a seeded hash."""


def ties(ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """Return a hash of each item's id that settles ties, uint64 [n]; the same for a seed on every machine."""
    key = blake2b(str(seed).encode(), digest_size=16).digest()
    digests = bytearray()
    for id_ in ids:
        digests += blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def standing(*, voted: bool, confidence: float | None, tie: int, weak: bool = False) -> Standing:
    """Return where one vote stands. A failed vote ranks below one without confidence, that below all others.

    Args:
        voted: Whether there is a label.
        confidence: NaN or None where there is none.
        tie: From `ties`.
        weak: Whether the link is weak on the label that it named.
    """
    if not voted:
        return (FAILED, 0.0, tie)
    if confidence is None or confidence != confidence:  # noqa: PLR0124 - NaN
        return (UNSURE, NOTHING, tie)
    return (UNSURE if weak else SURE, confidence, tie)


def standings(
    voted: NDArray[np.bool_], confidence: NDArray[np.float64], weak: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return where many votes of one link stand, without their hashes: kinds, int8 [n], and values, float64 [n].

    Args:
        voted: Whether there is a label, bool [n].
        confidence: NaN where there is none, [n].
        weak: Whether the link is weak on the label that it named, bool [n].
    """
    without = np.isnan(confidence)
    doubted = without if weak is None else without | weak
    kind = np.where(voted, np.where(doubted, UNSURE, SURE), FAILED).astype(np.int8)
    return kind, np.where(voted, np.where(without, NOTHING, confidence), 0.0)


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
