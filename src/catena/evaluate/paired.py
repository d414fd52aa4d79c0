"""Two sets of labels on the same items: which is better, and what changes between them."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Changes", "changes", "mcnemar"]


class Changes(msgspec.Struct, frozen=True):
    """What a link changes in the labels that reach it.

    Args:
        n: Items with gold that reached it.
        fixed: The label before was wrong or none, its own is right.
        broken: The label before was right, its own is wrong.
        still_right: Both are right; where it failed, the earlier one.
        still_wrong: Neither is.
    """

    n: int
    fixed: int
    broken: int
    still_right: int
    still_wrong: int


def changes(before: NDArray[np.int16], after: NDArray[np.int16], gold: NDArray[np.int16]) -> Changes:
    """Count the errors that new labels fix and those that they make.

    Args:
        before: Label index, -1 for none, int16 [n].
        after: As `before`; -1 leaves the label as it was.
        gold: -1 where unknown, int16 [n].
    """
    known = gold >= 0
    was = before[known] == gold[known]
    is_ = np.where(after[known] >= 0, after[known] == gold[known], was)
    return Changes(
        int(known.sum()),
        int((~was & is_).sum()),
        int((was & ~is_).sum()),
        int((was & is_).sum()),
        int((~was & ~is_).sum()),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947, Psychometrika 12).

    Of the items on which exactly one is right, each is as likely to be the first's as the second's where neither is
    better: p = min(1, 2 P(X <= the smaller count)), X binomial with chance 1/2.

    Args:
        only_first: Items that the first has right and the second wrong.
        only_second: The reverse.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    if not n:
        return 1.0
    steps = np.arange(fewer)
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - steps) / (steps + 1)))]) - n * math.log(2)
    return min(1.0, 2 * float(np.exp(logs - logs.max()).sum() * np.exp(logs.max())))
