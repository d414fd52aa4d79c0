"""Accuracy and F1 against gold, over label indices."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassScore", "Scores", "score"]


class ClassScore(msgspec.Struct, frozen=True):
    """Precision, recall and F1 of one label; support = items whose gold it is."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Scores(msgspec.Struct, frozen=True):
    """How good labels are.

    Args:
        n: Items with gold.
        accuracy: Share of those whose label is right; unlabelled = wrong. None without gold.
        macro_f1: Unweighted mean F1 over the labels that occur in gold; unlabelled = a miss. None without gold.
        per_class: One entry per label; none without gold.
    """

    n: int
    accuracy: float | None
    macro_f1: float | None
    per_class: tuple[ClassScore, ...] = ()

    def brief(self) -> dict[str, Any]:
        """Return accuracy and macro-F1 only."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1}


def score(
    gold: NDArray[np.int16], label: NDArray[np.int16], labels: Sequence[str], over: Sequence[str] = ()
) -> Scores:
    """Score labels against gold.

    Args:
        gold: Label index of the truth, -1 where unknown, int16 [n].
        label: Label index given, -1 where unlabelled, int16 [n].
        labels: Names of the labels, [K].
        over: The labels that macro-F1 is the mean over (SemEval-2016 Task 6 takes favor and against); those that occur
            in gold unless said.
    """
    known = gold >= 0
    truth, answer = gold[known], label[known]
    if not len(truth):
        return Scores(0, None, None)
    right = truth == answer
    hits = np.bincount(truth[right], minlength=len(labels)).astype(float)
    support = np.bincount(truth, minlength=len(labels))
    given = np.bincount(answer[answer >= 0], minlength=len(labels))
    precision = hits / np.maximum(given, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(given + support, 1)
    per_class = tuple(
        ClassScore(name, float(p), float(r), float(f), int(s))
        for name, p, r, f, s in zip(labels, precision, recall, f1, support, strict=True)
    )
    averaged = np.isin(np.array(labels, dtype=object), list(over)) if over else support > 0
    return Scores(len(truth), float(right.mean()), float(f1[averaged].mean()), per_class)
