"""One label per item from its votes: one rule per file, pure functions over arrays."""

from catena.aggregate.decide import RULES, Decision, decide
from catena.aggregate.last import last
from catena.aggregate.rank import normalised_ranks, rank

__all__ = ["RULES", "Decision", "decide", "last", "normalised_ranks", "rank"]
