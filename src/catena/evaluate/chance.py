"""Routing at random with the same shares: the paper's baseline (section 4), for every order at little cost."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catena.evaluate.tally import Tally

__all__ = ["RandomRouting"]


class RandomRouting:
    """Counts the labels of chains that keep as many items at each link as their shares say, but any.

    Labels are those of `last`: of the link that keeps the item, or the latest earlier vote where that link failed. All
    orders meet the same draws, so that they differ by their links and not by luck. The counts of each link at each place
    are made once; an order only moves the items on which its links failed.

    Args:
        tally: Of the vote table.
        label: Its votes, -1 for none, int16 [m, n].
        keeps: How many items each place of the chain keeps.
        trials: How many draws.
        seed: Of the draws.
    """

    def __init__(
        self, tally: Tally, label: NDArray[np.int16], keeps: Sequence[int], trials: int, seed: int
    ) -> None:
        self._tally = tally
        self._label = label
        n, self._places = label.shape[1], len(keeps)
        keeper = np.repeat(np.arange(self._places, dtype=np.int8), keeps)
        self._keeper = np.empty((trials, n), np.int8)
        for trial in range(trials):
            generator = np.random.Generator(np.random.PCG64([abs(seed), seed < 0, trial]))
            self._keeper[trial] = generator.permutation(keeper)
        self._counts: dict[int, NDArray[np.int64]] = {}

    def counts(self, links: Sequence[int]) -> NDArray[np.int64]:
        """Return how many items are of each kind in each draw, [trials, kinds].

        Args:
            links: Rows of the vote table, in the order of the chain.
        """
        found: NDArray[np.int64] = np.sum(
            [self._of(link)[:, place] for place, link in enumerate(links)], axis=0
        )
        for place in range(1, len(links)):
            self._fall_back(found, links, place)
        of_gold: NDArray[np.int64] = found[:, : self._tally.kinds]
        return of_gold

    def _of(self, link: int) -> NDArray[np.int64]:
        """Return the counts of a link at every place, [trials, places, kinds + 1]."""
        if link not in self._counts:
            size, places = self._tally.kinds + 1, self._places
            kind = self._tally.kind(link)
            self._counts[link] = np.array(
                [
                    np.bincount(kind + keeper * np.intp(size), minlength=places * size).reshape(places, size)
                    for keeper in self._keeper
                ]
            )
        return self._counts[link]

    def _fall_back(self, found: NDArray[np.int64], links: Sequence[int], place: int) -> None:
        """Give the items on which the link at a place failed the latest earlier vote."""
        failed = np.flatnonzero(self._label[links[place]] < 0)
        before = self._tally.kind(-1)[failed]
        kind = before.copy()
        for link in links[:place]:
            voted = self._label[link, failed] >= 0
            kind[voted] = self._tally.kind(link)[failed[voted]]
        trial, at = np.nonzero(self._keeper[:, failed] == place)
        size = found.shape[1]
        flat = found.reshape(-1)
        flat += np.bincount(trial * size + kind[at], minlength=found.size)
        flat -= np.bincount(trial * size + before[at], minlength=found.size)
