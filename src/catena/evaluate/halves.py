"""What a candidate would do on halves of the pilot, each of which keeps to the budget by itself.

A half of the items does not hold half of those that a chain forwards on the whole pilot: some halves hold more, and there the
chain looks better than it is because more was spent. A plan has no such luck: what it may spend is fixed. So each half
forwards its own items anew, the most doubtful ones per dollar, as far as its own budget goes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from catena.evaluate.contest import Draw, Halved
from catena.evaluate.crossfit import CrossFit, Judged, Links
from catena.routing.spend import doubt_first

__all__ = ["Halves", "counted"]

Floats = NDArray[np.float64]


class Halves:
    """Candidates on the halves of one pilot.

    Args:
        fit: What each set of links says, learned on the whole pilot.
        relative: What each item is foretold to cost at the second link after the first has been paid, 1 on average, [n].
        tie: Settles ties, uint64 [n].
        draw: The halves.
    """

    def __init__(
        self,
        fit: CrossFit,
        relative: Mapping[tuple[int, int], Floats],
        tie: NDArray[np.uint64],
        draw: Draw,
    ) -> None:
        self._fit, self._relative, self._tie, self._draw = fit, relative, tie, draw
        self._size = draw.halves.sum(1)

    def alone(self, link: int) -> Halved:
        """Return what a single link's own labels are worth."""
        return counted(self._fit.alone[link], self._draw)

    def chain(self, links: Links, forwarded: tuple[float, ...]) -> Halved:
        """Return what a chain does that forwards so much at each link, as in `Candidate`."""
        word = self._fit.word(links[:1])
        summed = _sums(word, self._draw.halves, self._draw.luck_of_half)
        here = self._draw.halves
        for seen in range(1, len(links)):
            price, before = self._relative[links[0], links[seen]], word
            word = self._fit.word(links[: seen + 1])
            order = doubt_first(before.soft, price, self._tie)
            bill = np.cumsum(here[:, order] * price[order], 1)
            paid = bill <= (forwarded[seen] * self._size * (1 + 1e-9))[:, None]
            here, came = np.zeros_like(here), here
            here[:, order] = paid & came[:, order]
            summed += _sums(word, here, self._draw.luck_of_half)
            summed -= _sums(before, here, self._draw.luck_of_half)
        return Halved(*summed / self._size)


def counted(said: Judged, draw: Draw) -> Halved:
    """Return the means of what is said about each half, whatever else is in the pilot."""
    return Halved(*_sums(said, draw.halves, draw.luck_of_half) / draw.halves.sum(1))


def _sums(said: Judged, here: NDArray[np.bool_], luck: Floats) -> Floats:
    """Return soft, fair, hard and lucky hits, summed over some items of each cut, [4, cuts]."""
    summed = here @ np.stack([said.soft, said.fair, said.hard], 1)
    return np.vstack([summed.T, (here * luck) @ said.hard])
