"""How many items a promise draws, in which order, and when it looks at what they show. All of it is fixed beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from catena.routing import ties

__all__ = ["Looks", "drawn_order", "draws_worth", "looks_at"]

LOOKS = ((Fraction(1, 8), 0.02), (Fraction(1, 3), 0.08), (Fraction(1), 0.90))
"""When to test: after which part of the draws, and with which part of delta."""

FITTED = Fraction(1, 8)  # of the draws fit the path, where there is something to fit


@dataclass(frozen=True)
class Looks:
    """When to test.

    Args:
        fit: How many of the first items drawn fit the path; they take no part in the tests.
        ends: How many of those that follow are drawn by each look, rising.
        parts: Which part of delta each look has.
    """

    fit: int
    ends: tuple[int, ...]
    parts: tuple[float, ...]

    @property
    def first(self) -> int:
        """How many items are drawn by the first look, those of the fit among them."""
        return self.fit + self.ends[0]

    @property
    def most(self) -> int:
        """How many items are drawn at most."""
        return self.fit + self.ends[-1]


def looks_at(items: int, agreement: Fraction, early: int, most: int | None, *, own: bool) -> Looks:
    """Return when to test.

    Args:
        items: How many items there are.
        agreement: T.
        early: How many links there are before the last.
        most: The most that may be drawn. Unless said, and where the reference is the last link, no more than are worth
            their calls; another reference is no call that could be saved, so as many are planned as are said.
        own: Whether the reference is the last link.
    """
    draws = worth = draws_worth(items, agreement)
    if most is not None:
        draws = min(most, worth if own else items)
    fit = math.floor(draws * FITTED) if early > 1 else 0
    ends = tuple(math.ceil(part * (draws - fit)) for part, _ in LOOKS)
    return Looks(fit, ends, tuple(part for _, part in LOOKS))


def drawn_order(item_ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return all rows in the order in which they are drawn: by a seeded hash of the id, other than that of a pilot."""
    order: NDArray[np.int64] = np.argsort(ties((f"certify {item}" for item in item_ids), seed), kind="stable")
    return order


def draws_worth(items: int, agreement: Fraction) -> int:
    """Return how many items are worth drawing: items^(2/3) / (3 sqrt(1 - T)), rounded up; none where none may be wrong.

    Each draw costs a call; the slack that a sample of s leaves costs about items / sqrt(s) calls. The sum is smallest at
    a multiple of items^(2/3). Which multiple was measured on recorded votes, and is no part of the promise.
    """
    alpha = 1 - agreement
    if alpha * items < 1:
        return 0
    return min(items, math.ceil(math.pow(items, 2 / 3) / (3 * math.sqrt(alpha))))
