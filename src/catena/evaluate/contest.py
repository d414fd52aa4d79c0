"""Which of many candidates is taken, and what such a choice is worth on items that had no say in it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catena.evaluate.crossfit import Judged
from catena.evaluate.luck import cuts, mixed

__all__ = ["Contest"]

Floats = NDArray[np.float64]

MODEL_ERROR = 0.012  # standard deviation of a soft gain around the true one: 0.5 to 1.9 points in made worlds
MARGIN = 0.03  # a chain must gain this / sqrt(n): 0.2 points at 300 items


class Contest:
    """All candidates for one budget.

    Args:
        said: What each says about the pilot.
        own: Which of them are single links with their own labels, bool [candidates].
    """

    def __init__(self, said: Sequence[Judged], own: NDArray[np.bool_]) -> None:
        self._own = own
        self._hard = np.array([each.hard for each in said], np.float32)
        soft = np.array([each.soft for each in said], np.float32)
        self._expected = np.array([(each.soft + each.fair) / 2 for each in said], np.float32)
        self._scored = mixed(self._expected, self._hard)
        self.even = (soft + self._hard) / 2

    @property
    def scores(self) -> Floats:
        """Expected accuracy of each candidate, fit to compare them: the best one's is too high, [candidates]."""
        result: Floats = self._scored.mean(1, dtype=float)
        return result

    def finalists(self, scores: Floats) -> tuple[int, int]:
        """Return the best of the candidates that aggregate votes, and the best single link."""
        return int(np.where(self._own, -1, scores).argmax()), int(np.where(self._own, scores, -1).argmax())

    def taken(self, scores: Floats, items: NDArray[np.bool_] | None = None) -> int:
        """Return the candidate that the pilot, or only these items of it, would take."""
        chain, single = self.finalists(scores)
        here = np.ones(self._hard.shape[1], bool) if items is None else items
        return chain if self._gain(chain, single, here) > MARGIN / np.sqrt(here.sum()) else single

    def _gain(self, chain: int, single: int, here: NDArray[np.bool_]) -> float:
        """Return the expected gain of a chain over a single link: soft and hard, each by its precision."""
        off = self._hard[chain, here] - self._hard[single, here]
        n, apart = len(off), float((off != 0).mean())
        soft = float((self._expected[chain, here] - self._expected[single, here]).mean())
        by_model, by_count = MODEL_ERROR**-2, n / max(apart, 1 / n)
        return (soft * by_model + float(off.mean()) * by_count) / (by_model + by_count)

    def left_out(self, tie: NDArray[np.uint64]) -> tuple[float, Floats]:
        """Return by how much a choice overstates itself, and how often each item is right by choices made without it.

        The choice is made again on one half of the pilot and looked at on the other, over many cuts. What it expects of
        itself on the first half, less what it is worth on the second, is the winner's curse together with what the
        calibration gets wrong. Worth is counted, and expected from posteriors, half and half: counts alone are fair but vary most.

        Args:
            tie: Seeds the cuts, uint64 [n].
        """
        n = self._hard.shape[1]
        halves = cuts(tie)
        scores = (halves.astype(np.float32) @ self._scored.T) / halves.sum(1, keepdims=True)
        lost, hits, times = [], np.zeros(n), np.maximum((~halves).sum(0), 1)
        for half, score in zip(halves, scores, strict=True):
            at = self.taken(score, half)
            worth = (self.even[at, ~half].mean() + self._hard[at, ~half].mean()) / 2
            lost.append(float(self.even[at, half].mean() - worth))
            hits[~half] += self._hard[at, ~half]
        return float(np.mean(lost)), hits / times
