"""One label per item from its votes: one rule per file, pure functions over arrays."""

from catena.aggregate.calibrated import Calibrated
from catena.aggregate.decide import RULES, Decision, Result, decide, decide_by, decide_so_far
from catena.aggregate.judge import Judge
from catena.aggregate.last import last
from catena.aggregate.minmax import minmax, scaled, scaled_of
from catena.aggregate.rank import normalised_ranks, rank, ranks_of
from catena.aggregate.votes import Votes

__all__ = [
    "RULES",
    "Calibrated",
    "Decision",
    "Judge",
    "Result",
    "Votes",
    "decide",
    "decide_by",
    "decide_so_far",
    "last",
    "minmax",
    "normalised_ranks",
    "rank",
    "ranks_of",
    "scaled",
    "scaled_of",
]
