"""How sure a link is of an item against its other items: the one order that every policy ranks by."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standing", "least_first", "standing", "ties"]

Standing = tuple[int, float, int]
"""Rises with sureness: (0 failed, 1 voted without confidence, 2 voted with one), the confidence, a seeded hash."""


def ties(ids: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """Return a hash of each item's id that settles ties, uint64 [n]; the same for a seed on every machine."""
    key = blake2b(str(seed).encode(), digest_size=16).digest()
    digests = b"".join(
        [blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest() for id_ in ids]
    )
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
) -> NDArray[np.int64]:
    """Return the item indices from the least to the most sure for each link.

    Args:
        voted: Whether the link has a label for the item, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        tie: From `ties`, uint64 [n].

    Returns:
        int64 [m, n].
    """
    if not len(voted):
        return np.zeros(voted.shape, np.int64)
    by_tie = np.argsort(tie, kind="stable")
    kind = np.where(voted, np.where(np.isnan(confidence), 1, 2), 0)
    value = np.where(kind == 2, confidence, 0.0)
    return np.stack([by_tie[np.lexsort((v[by_tie], k[by_tie]))] for v, k in zip(value, kind, strict=True)])
