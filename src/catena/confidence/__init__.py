"""From an answer to a label and to the log-probabilities of all labels; pure functions over text and tokens."""

from catena.confidence.answer import Found, LabelParser, Missed, fold, parse_answer
from catena.confidence.scores import LabelScorer, LabelScores, score_labels
from catena.confidence.tokens import Listed, Token

__all__ = [
    "Found",
    "LabelParser",
    "LabelScorer",
    "LabelScores",
    "Listed",
    "Missed",
    "Token",
    "fold",
    "parse_answer",
    "score_labels",
]
