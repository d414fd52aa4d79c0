"""From votes to a decision: which links each item reached, and whose vote is its label.

The engine and the simulator both call this, so a replay of a run's votes gives its labels bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.last import last
from catena.aggregate.minmax import minmax, scaled
from catena.aggregate.rank import normalised_ranks, rank
from catena.routing import least_first, route_by_share

__all__ = ["RULES", "Decision", "decide", "decide_so_far"]

RULES = ("rank", "last", "minmax")


@dataclass(frozen=True)
class Decision:
    """What a chain of m links decided about n items.

    Args:
        kept_by: Index of the link that kept each item, int16 [n].
        reached: Whether each item reached each link, bool [m, n].
        seen: Whether it reached the link and has a label there, bool [m, n].
        confidence: As given, float64 [m, n].
        order: Each link's items from least to most sure, [m, n].
    """

    kept_by: NDArray[np.int16]
    reached: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    order: NDArray[np.int32]

    @cached_property
    def last(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `last`; -1 for none, int16 [n]."""
        return last(self.seen)

    @cached_property
    def rank(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `rank`; -1 for none, int16 [n]."""
        return rank(normalised_ranks(self.seen, self.confidence, self.order))

    @cached_property
    def minmax(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `minmax`; -1 for none, int16 [n]."""
        return minmax(scaled(self.seen, self.confidence))

    def source(self, rule: str) -> NDArray[np.int16]:
        """Whose vote each item takes under the named rule, one of RULES."""
        found: NDArray[np.int16] = getattr(self, rule)
        return found

    def labels(self, rule: str, label: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the label index of each item under a rule, -1 where it has none, int16 [n]."""
        source = self.source(rule)
        taken = label[np.maximum(source, 0), np.arange(label.shape[1])]
        return np.where(source >= 0, taken, -1).astype(np.int16)


def decide(
    voted: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    shares: Sequence[Fraction],
    tie: NDArray[np.uint64],
    order: NDArray[np.int32] | None = None,
) -> Decision:
    """Route every item through the chain.

    Args:
        voted: Whether each link has a label for each item, bool [m, n]. Only votes that an item reaches are looked at.
        confidence: NaN where there is none, float64 [m, n].
        shares: One exact share per link.
        tie: Settles ties, uint64 [n] (see `routing.ties`).
        order: `routing.least_first` of the same votes, where it is at hand already.
    """
    if order is None:
        order = least_first(voted, confidence, tie)
    kept_by = route_by_share(order, shares)
    reached = kept_by[None, :] >= np.arange(len(voted), dtype=np.int16)[:, None]
    return Decision(kept_by, reached, voted & reached, confidence, order)


def decide_so_far(
    voted: NDArray[np.bool_],
    recorded: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    tie: NDArray[np.uint64],
) -> Decision:
    """Decide about votes that stop midway: each item has reached the links that have said something about it.

    Args:
        voted: Whether each link has a label for each item, bool [m, n].
        recorded: Whether it has a label or a failure, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        tie: Settles ties, uint64 [n].
    """
    latest = np.where(recorded, np.arange(len(voted), dtype=np.int16)[:, None], np.int16(0)).max(axis=0)
    return Decision(
        latest.astype(np.int16), recorded, voted & recorded, confidence, least_first(voted, confidence, tie)
    )
