"""Accuracy and F1 against gold, over label indices."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassScore", "Scores", "confusion", "macro_f1_of", "score"]


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
        micro_f1: F1 over all decisions about the labels that macro-F1 is over, pooled; where every item is labelled and
            no label is left out, that is the accuracy. None without gold.
    """

    n: int
    accuracy: float | None
    macro_f1: float | None
    per_class: tuple[ClassScore, ...] = ()
    micro_f1: float | None = None

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
        over: The labels that F1 is taken over (SemEval-2016 Task 6 takes favor and against). Unless said, macro-F1 is
            over those that occur in gold, micro-F1 over all.
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
    pooled = averaged if over else slice(None)
    micro = 2 * hits[pooled].sum() / max(float((given + support)[pooled].sum()), 1.0)
    return Scores(len(truth), float(right.mean()), float(f1[averaged].mean()), per_class, float(micro))


def confusion(gold: NDArray[np.int16], label: NDArray[np.int16], labels: int) -> NDArray[np.int64]:
    """Return how many items of each gold label (row) were given each label (column); the last column: unlabelled, [K, K + 1].

    Args:
        gold: -1 where unknown, int16 [n].
        label: -1 where unlabelled, int16 [n].
        labels: How many labels there are, K.
    """
    known = gold >= 0
    given = np.where(label[known] < 0, labels, label[known]).astype(np.int64)
    cells = np.bincount(gold[known] * np.int64(labels + 1) + given, minlength=labels * (labels + 1))
    return cells.reshape(labels, labels + 1)


def macro_f1_of(
    counts: NDArray[np.int64],
    gold: NDArray[np.int64],
    label: NDArray[np.int64],
    labels: int,
    over: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Return the macro-F1 of many labellings at once; NaN where one has no items.

    Args:
        counts: How many items of each kind each labelling has, [labellings, kinds].
        gold: Of each kind, [kinds].
        label: Of each kind, -1 for unlabelled, [kinds].
        labels: How many labels there are.
        over: The labels that it is the mean over; those that occur in a labelling's gold unless said.

    Returns:
        float64 [labellings].
    """
    support = _summed(counts, gold, labels)
    given = _summed(counts, label, labels)
    right = np.where(gold == label, gold, -1)
    f1 = 2 * _summed(counts, right, labels) / np.maximum(support + given, 1)
    if over:
        return np.asarray(f1[:, list(over)].mean(1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(support > 0, f1, 0.0).sum(1) / (support > 0).sum(1))


def _summed(counts: NDArray[np.int64], of: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """Return the items of each label in each labelling, [labellings, labels]; kinds of label -1 are left out."""
    order = np.argsort(of, kind="stable")[np.count_nonzero(of < 0) :]
    result = np.zeros((len(counts), labels))
    if len(order):
        present, starts = np.unique(of[order], return_index=True)
        result[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return result
