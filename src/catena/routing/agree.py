"""Agreement: how many of the votes so far name the same label. It needs no confidences (ABC, arXiv 2407.02348)."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["agreeing"]


def agreeing(label: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return how many votes of each item name its most named label; 0 without any vote, [n].

    Args:
        label: Label index of each vote so far, -1 for none, int16 [l, n].
    """
    counts = [((label == named) & (named >= 0)).sum(0) for named in label]
    most: NDArray[np.float64] = np.max(counts, axis=0).astype(float)
    return most
