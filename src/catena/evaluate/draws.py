"""Drawing items without replacement: how likely so few wrong ones are, exactly."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tail"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

ROUNDING = 1e-9  # added to every chance: sums of logarithms are off by less


class Tail:
    """The lower tail of the hypergeometric distribution, for populations of up to `most` items.

    Args:
        most: Size of the largest population; 8 bytes for each of its items.
    """

    def __init__(self, most: int) -> None:
        self._log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])

    def chance(self, items: Counts, wrong: Counts, drawn: Counts, found: Counts) -> Floats:
        """Return P(at most `found` wrong among `drawn`), each [k]; an upper bound within 1e-9, never above 1.

        It falls with `wrong`: where there are more wrong items than that, so few are even less likely.

        Args:
            items: Size of each population.
            wrong: How many of its items are wrong; above `items` the chance is 0, for that can't be.
            drawn: How many are drawn without replacement.
            found: How many of these are wrong.
        """
        can = np.minimum(wrong, items)
        at = np.arange(int(found.max(initial=0)) + 1)[:, None]
        log = self._choose(can, at) + self._choose(items - can, drawn - at) - self._choose(items, drawn)
        below = np.where(at <= found, np.exp(log), 0.0).sum(0)
        return np.where(wrong > items, 0.0, np.minimum(below + ROUNDING, 1.0))

    def _choose(self, n: Counts, k: Counts) -> Floats:
        """Return the logarithm of n over k, -inf where k is not within 0 to n."""
        within = (k >= 0) & (k <= n)
        k = np.clip(k, 0, n)
        log = self._log_factorial
        return np.where(within, log[n] - log[k] - log[n - k], -np.inf)
