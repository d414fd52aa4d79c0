"""What links charge, as the pilot shows it, and what a budget can pay for however prices fall."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catena.routing.spend import follow, foretold

__all__ = ["Prices", "ladder"]

Floats = NDArray[np.float64]

SURE = 3.0  # standard errors that a cap keeps away from
SLACK = 0.02  # by how much a cap may be missed at most
LEAST_SURE = 1.5  # where skewness makes a bound tighter
EVEN = 0.005  # below this relative spread, a link's calls cost the same


@dataclass(frozen=True)
class Prices:
    """What the links charge.

    Args:
        paid: Cost of each link's vote on each pilot item, 0 where it was not asked, [m, n].
        reference: What is compared with: a link, or None for fixed dollars.
        rest: Items that the plan is for.
    """

    paid: Floats
    reference: int | None
    rest: int

    @cached_property
    def mean(self) -> Floats:
        """USD per vote of each link, [m]."""
        result: Floats = self.paid.mean(1)
        return result

    @cached_property
    def even(self) -> bool:
        """Whether all calls of a link cost the same, for every link."""
        return bool((self.paid.std(1) <= EVEN * np.maximum(self.mean, 1e-300)).all())

    def affords(self, link: int, each: float) -> bool:
        """Whether a link can label everything without going over `each` USD per item, however prices fall."""
        if self.reference is None:
            over = self.paid[link] - each
        else:
            over = self.paid[link] - self.paid[self.reference] * (each / self.mean[self.reference])
        return bool(over.mean() <= 1e-9 * each and over.mean() + off_by(over, self.rest) <= SLACK * each)

    def held_back(self, first: int) -> float:
        """Return which share of a budget relative to a link must stay unspent, since that link's cost is foretold."""
        if self.reference is None or self.even or first == self.reference:
            return 0.0
        price, paid = self.paid[self.reference], self.paid[first]
        off = price / price.mean() - foretold(paid, paid.mean(), follow(paid, price))
        return max(0.0, off_by(-off, self.rest) - SLACK / 2)

    def lump(self, first: int, link: int) -> float:
        """Return by how much a call of a link may cost more than foretold from what the first one charged, USD."""
        if self.even or first == link:
            return 0.0
        paid, price = self.paid[first], self.paid[link]
        dearer = price - price.mean() * foretold(paid, paid.mean(), follow(paid, price))
        return max(0.0, float(dearer.max()))


def off_by(values: Floats, rest: int) -> float:
    """Return how far the mean of the rest may lie above that of the pilot.

    Where a few values are far above the others, a pilot that missed them has too low a mean and too small a spread at
    once; the bound is corrected for that by the skewness (Johnson 1978), which makes it tighter where they are far below.

    Args:
        values: Of the pilot's items, [n].
        rest: Items that are not in the pilot.
    """
    size = float(np.sqrt(1 / len(values) + 1 / max(rest, 1)))
    spread = float(values.std())
    if spread <= 0:
        return 0.0
    skew = float((((values - values.mean()) / spread) ** 3).mean())
    return spread * size * max(LEAST_SURE, SURE + skew * size * (2 * SURE**2 + 1) / 6)


def ladder(costs: Sequence[float], most: float, rungs: int = 9) -> list[float]:
    """Return budgets per item for a frontier: from the cheapest link's cost up, in even ratios."""
    least = min(cost for cost in costs if cost > 0) if any(cost > 0 for cost in costs) else 0.0
    if least <= 0 or most <= least:
        return [most]
    return [float(each) for each in np.geomspace(least, most, rungs)]
