"""`last`: the label of the link that kept the item, or the latest earlier vote where that link failed."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["last"]


def last(seen: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Return whose vote each item takes.

    Args:
        seen: Whether the item reached the link and has a label there, bool [m, n].

    Returns:
        Index of the link, -1 where no link has a vote, int16 [n].
    """
    latest = np.zeros(seen.shape[1], np.int16)
    for link, here in enumerate(seen, 1):
        np.maximum(latest, here * np.int16(link), out=latest)
    return latest - np.int16(1)
