"""A bar for each link: it keeps what stands at least so high, however many items that is."""

import numpy as np
from numpy.typing import NDArray

from catena.routing.standing import SURE, Standing

__all__ = ["ThresholdStream", "reaches"]


def reaches(kind: NDArray[np.int8], value: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Tell which items a link keeps, bool [n].

    Args:
        kind: How far a vote can be relied on, [n] (see `standing`): none but the surest kind reaches a threshold.
        value: Where items stand, [n].
        threshold: The least value that is kept.
    """
    kept: NDArray[np.bool_] = (kind == SURE) & (value >= threshold)
    return kept


class ThresholdStream:
    """The same decision as votes arrive: each item is kept or forwarded at once."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def offer(self, row: int, standing: Standing) -> int | None:
        """Take one item in and return its row if it is forwarded."""
        kind, value, _ = standing
        return None if kind == SURE and value >= self._threshold else row
