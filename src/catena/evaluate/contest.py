"""Which candidate a pilot would take for a budget, and what such a choice is worth on items that had no say in it.

The pilot is cut into halves, many times. Each half chooses anew, and its choice is looked at on the other half, which knows
nothing of it. So what is luck on one half does not count: not that of the best of thousands of candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catena.evaluate.crossfit import Judged
from catena.evaluate.luck import cuts, mixed, trusted
from catena.evaluate.trend import weights

__all__ = ["Contest", "Draw", "Halved", "draw_of"]

Floats = NDArray[np.float64]

MODEL_ERROR = 0.012  # standard deviation of a soft gain around the true one: 0.5 to 1.9 points in made worlds
STRONGEST = (
    200  # candidates that halves choose from for the winner's curse; others win a half too seldom to count
)
MARGIN = 0.03  # a chain must gain this / sqrt(n): 0.2 points at 300 items


@dataclass(frozen=True)
class Draw:
    """How the items of a pilot count, for all contests over it.

    Args:
        halves: Cuts of the pilot, bool [cuts, n].
        luck: What each item's hits count too much or too little, from `trend.weights` less 1, [n].
        luck_of_half: The same for each half, learned on it alone; 0 outside, [cuts, n].
    """

    halves: NDArray[np.bool_]
    luck: Floats
    luck_of_half: Floats


@dataclass(frozen=True)
class Halved:
    """Means over the items of each half, [cuts].

    Args:
        soft: As in `Judged`.
        fair: Likewise.
        hard: Likewise.
        lucky: What hits count too much or too little there.
    """

    soft: Floats
    fair: Floats
    hard: Floats
    lucky: Floats


def draw_of(tie: NDArray[np.uint64], hits: Floats | None = None, cost: Floats | None = None) -> Draw:
    """Return how the items of a pilot count.

    Args:
        tie: Seeds the cuts, uint64 [n].
        hits: Whether each link is right about each item, [m, n]; None where links are not to be judged by each other.
        cost: Mean price of each link's votes, [m].
    """
    halves = cuts(tie)
    luck, luck_of_half = np.zeros(len(tie)), np.zeros(halves.shape)
    if hits is not None and cost is not None:
        luck = weights(hits, cost) - 1
        for half, found in zip(halves, luck_of_half, strict=True):
            found[half] = weights(hits[:, half], cost) - 1
    return Draw(halves, luck, luck_of_half)


class Contest:
    """All candidates for one budget.

    Args:
        said: What each says about the pilot.
        own: Which of them are single links with their own labels, bool [candidates].
        draw: How items count.
    """

    def __init__(self, said: Sequence[Judged], own: NDArray[np.bool_], draw: Draw) -> None:
        self._own, self._draw = own, draw
        self._hard = np.array([each.hard for each in said], np.float32)
        self._expected = np.array([(each.soft + each.fair) / 2 for each in said], np.float32)
        self._scored = mixed(self._expected, self._hard)

    @cached_property
    def scores(self) -> Floats:
        """Expected accuracy of each candidate, fit to compare them: the best one's is too high, [candidates]."""
        lucky = self._hard @ self._draw.luck.astype(np.float32)
        result: Floats = self._scored.mean(1, dtype=float) + lucky / self._hard.shape[1]
        return result

    def finalists(self, scores: Floats) -> tuple[int, int]:
        """Return the best of the candidates that aggregate votes, and the best single link."""
        return finalists(scores, self._own)

    def taken(self) -> int:
        """Return the candidate that the pilot takes: the best chain, if chains chosen on its halves gain on the other ones."""
        chain, single = self.finalists(self.scores)
        return chain if self._gain > MARGIN / np.sqrt(self._hard.shape[1]) else single

    @cached_property
    def _scores_of_halves(self) -> NDArray[np.float32]:
        """What `scores` are on each half alone, [cuts, candidates]."""
        draw = self._draw
        summed = draw.halves.astype(np.float32) @ self._scored.T
        summed += draw.luck_of_half.astype(np.float32) @ self._hard.T
        result: NDArray[np.float32] = summed / draw.halves.sum(1, keepdims=True)
        return result

    @cached_property
    def _of_halves(self) -> list[tuple[int, int]]:
        """The finalists of each half."""
        return [self.finalists(scores) for scores in self._scores_of_halves]

    @cached_property
    def _gain(self) -> float:
        """The expected gain of the best chain over the best single link, both chosen without the items they are compared on."""
        return self._gain_of(self._of_halves)

    def _gain_of(self, chosen: Sequence[tuple[int, int]]) -> float:
        """Return the expected gain of one candidate over another, both chosen on a half and compared on the other one."""
        found = [
            self._compared(first, second, ~half, self._draw.luck)
            for half, (first, second) in zip(self._draw.halves, chosen, strict=True)
        ]
        soft, hard, apart = np.mean(found, 0)
        return self._weighed(float(soft), float(hard), float(apart), self._hard.shape[1])

    def gains(self, some: NDArray[np.bool_]) -> bool:
        """Whether the best of some candidates gains enough over the best of the others, where both are chosen on halves.

        Args:
            some: Which ones, bool [candidates].
        """
        if some.all() or not some.any():
            return False
        chosen = [
            (int(np.where(some, scores, -1).argmax()), int(np.where(some, -1, scores).argmax()))
            for scores in self._scores_of_halves
        ]
        return bool(self._gain_of(chosen) > MARGIN / np.sqrt(self._hard.shape[1]))

    def _compared(
        self, chain: int, single: int, here: NDArray[np.bool_], luck: Floats
    ) -> tuple[float, float, float]:
        """Return the gain of a chain over a single link on some items, expected and counted, and how often one alone is right."""
        off = self._hard[chain, here] - self._hard[single, here]
        lucky = float((luck[here] * off).mean())
        expected = self._expected[chain, here] - self._expected[single, here]
        return float(expected.mean()) + lucky, float(off.mean()) + lucky, float((off != 0).mean())

    def _weighed(self, soft: float, hard: float, apart: float, n: int) -> float:
        """Return the mean of an expected and a counted gain, each by its precision."""
        by_model, by_count = MODEL_ERROR**-2, n / max(apart, 1 / n)
        return (soft * by_model + hard * by_count) / (by_model + by_count)

    def overstated(self, halved: Callable[[int], Halved]) -> float:
        """Return by how much a choice overstates itself: the winner's curse.

        It is what the choice of a half expects of itself there, less what is expected of it on the other half.

        Args:
            halved: What a candidate does on each half, within the half's own budget.
        """
        among = self._strongest()
        found = [halved(at) for at in among]
        soft, fair, hard, lucky = (
            np.array([getattr(each, name) for each in found]) for name in ("soft", "fair", "hard", "lucky")
        )
        expected, even = (soft + fair) / 2, (soft + hard) / 2
        off = hard - expected
        shared = off.mean(0)
        trust = trusted(self._expected, self._hard)[among]
        scores = expected + shared + trust[:, None] * (off - shared) + lucky
        lost, own = [], self._own[among]
        for cut, half in enumerate(self._draw.halves):
            chain, single = finalists(scores[:, cut], own)
            differs = float((self._hard[among[chain], half] != self._hard[among[single], half]).mean())
            by_model, by_count = (
                float(each[chain, cut] + lucky[chain, cut] - each[single, cut] - lucky[single, cut])
                for each in (expected, hard)
            )
            size = int(half.sum())
            gain = self._weighed(by_model, by_count, differs, size)
            at = chain if gain > MARGIN / np.sqrt(size) else single
            lost.append(float(even[at, cut] - even[at, cut ^ 1]))
        return float(np.mean(lost))

    def _strongest(self) -> NDArray[np.int64]:
        """Return the candidates that a half may choose: the best ones, and all single links with their own labels."""
        best: NDArray[np.int64] = np.argsort(-self.scores, kind="stable")[:STRONGEST]
        return np.union1d(best, np.flatnonzero(self._own))


def finalists(scores: Floats, own: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the best of the candidates that aggregate votes, and the best single link with its own label."""
    return int(np.where(own, -1, scores).argmax()), int(np.where(own, scores, -1).argmax())
