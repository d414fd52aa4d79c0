"""Intervals and paired tests by resampling items (Efron & Tibshirani 1993, chapters 13 and 16): the percentile bootstrap.

Accuracy and F1 depend on items only through how many there are of each kind: gold, and label given. To draw n items with
replacement is to draw the counts of the kinds from a multinomial distribution, so the work does not grow with n.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.evaluate.metrics import macro_f1_of

__all__ = ["LEVEL", "RESAMPLES", "Difference", "Interval", "intervals", "macro_f1_difference"]

RESAMPLES = 2000
LEVEL = 0.95
MOST_CELLS = 4_000_000  # numbers held at a time

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class Interval(msgspec.Struct, frozen=True):
    """Where a figure would mostly come to lie on other items of the same kind."""

    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """How much larger the first of two figures is, its interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


def intervals(
    gold: NDArray[np.int16],
    label: NDArray[np.int16],
    labels: int,
    over: Sequence[int] = (),
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the 95 % intervals of accuracy and macro-F1; none without gold.

    Args:
        gold: Label index of the truth, -1 where unknown, int16 [n].
        label: Label index given, -1 where unlabelled, int16 [n].
        labels: How many labels there are.
        over: The labels that macro-F1 is the mean over; in each draw, those that occur in its gold unless said.
        seed: Of the draws.
    """
    known = gold >= 0
    if not known.any():
        return {}
    kinds, counts = _kinds(gold[known], label[known])
    right = kinds[0] == kinds[1]
    drawn = [
        (draw[:, right].sum(1) / draw[0].sum(), macro_f1_of(draw, kinds[0], kinds[1], labels, over))
        for draw in _draws(counts, seed)
    ]
    accuracy, macro_f1 = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return {"accuracy": Interval(*_middle(accuracy)), "macro_f1": Interval(*_middle(macro_f1))}


def macro_f1_difference(
    gold: NDArray[np.int16],
    first: NDArray[np.int16],
    second: NDArray[np.int16],
    labels: int,
    over: Sequence[int] = (),
    seed: int = 0,
) -> Difference | None:
    """Return how much larger the macro-F1 of the first labels is, by the paired bootstrap; None without gold.

    Both are scored on the same drawn items. The p-value is twice the share of draws in which the difference has the other
    sign, or is none.

    Args:
        gold: -1 where unknown, int16 [n].
        first: -1 where unlabelled, int16 [n].
        second: As `first`.
        labels: How many labels there are.
        over: As in `intervals`.
        seed: Of the draws.
    """
    known = gold >= 0
    if not known.any():
        return None
    kinds, counts = _kinds(gold[known], first[known], second[known])

    def difference(draw: Counts) -> Floats:
        one, two = (macro_f1_of(draw, kinds[0], kinds[at], labels, over) for at in (1, 2))
        return one - two

    drawn = np.concatenate([difference(draw) for draw in _draws(counts, seed)])
    against = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (against + 1) / (len(drawn) + 1))
    return Difference(float(difference(counts[None])[0]), *_middle(drawn), p)


def _kinds(*columns: NDArray[np.int16]) -> tuple[NDArray[np.int64], Counts]:
    """Return the distinct combinations, [columns, kinds], and how many items are of each."""
    width = int(max(int(column.max()) for column in columns)) + 2
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        code = code * width + column + 1
    codes, counts = np.unique(code, return_counts=True)
    parts = []
    for _ in columns:
        parts.append(codes % width - 1)
        codes = codes // width
    return np.array(parts[::-1]), counts


def _draws(counts: Counts, seed: int) -> Iterator[Counts]:
    """Yield resampled counts in blocks, [draws, kinds]."""
    generator = np.random.Generator(np.random.PCG64([abs(seed), int(seed < 0)]))
    n = int(counts.sum())
    block = max(1, MOST_CELLS // len(counts))
    for start in range(0, RESAMPLES, block):
        yield generator.multinomial(n, counts / n, size=min(block, RESAMPLES - start))


def _middle(drawn: Floats) -> tuple[float, float]:
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [edge, 1 - edge])
    return float(low), float(high)
