"""Votes as dense arrays: what every decision is made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Votes"]


@dataclass(frozen=True)
class Votes:
    """What m links in order have said about n items.

    Args:
        label: Label index of each vote, -1 for none, int16 [m, n].
        confidence: NaN where there is none, float64 [m, n].
        logprobs: For each link natural-log probabilities of the labels, NaN where unknown, float32 [n, K]; None where
            nobody asks for them.
        cost_usd: What each vote costs, float64 [m, n]; None where nobody asks.
    """

    label: NDArray[np.int16]
    confidence: NDArray[np.float64]
    logprobs: Sequence[NDArray[np.float32] | None] = ()
    cost_usd: NDArray[np.float64] | None = None

    def so_far(self, links: int, rows: NDArray[np.int64] | slice) -> "Votes":
        """Return the votes of the first links about some items, without costs."""
        words = [None if each is None else each[rows] for each in self.logprobs[:links]]
        return Votes(self.label[:links, rows], self.confidence[:links, rows], words)
