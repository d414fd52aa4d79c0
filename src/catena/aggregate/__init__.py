"""One label per item from its votes: one rule per file, pure functions over arrays."""

from catena.aggregate.decide import RULES, Decision, decide, decide_so_far
from catena.aggregate.last import last
from catena.aggregate.minmax import minmax, scaled
from catena.aggregate.rank import normalised_ranks, rank

__all__ = [
    "RULES",
    "Decision",
    "decide",
    "decide_so_far",
    "last",
    "minmax",
    "normalised_ranks",
    "rank",
    "scaled",
]
