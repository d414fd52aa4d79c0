"""What a run will use, foretold from the votes of all its links on a small random sample of its rows.

How long every prompt is, is known for nothing. So only what is not known comes from the sample: how many tokens a byte is
and what stands around them (a line through the sample, whose points weigh less the longer they are), what tries, samples
and thoughts add, and which rows reach the later links. Counts that the policy fixes are exact; others are shares of the
sample, with one row added that is passed on and one that is kept.

The intervals are those of the jackknife (Efron & Tibshirani 1993, chapter 11): every row of the sample is left out once
and everything is worked out anew, but for where the others went. It allows for few rows far from the others by its
degrees of freedom (Satterthwaite 1946), and lies on the scale of logarithms, to the second order: costs are positive and
skewed.
"""

from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Judge, Votes, decide_by

__all__ = ["LEVEL", "USED", "Amount", "Asked", "Forecast", "Forecaster"]

LEVEL = 0.9
LEAST = 0.02  # half of the narrowest interval: a sample does not show a cold cache, or a rounded bill
WIDER = 1.15  # than the jackknife's: alone it held 88 % where two thresholds in a row decide what a dear link gets
FEWEST_FREE, MOST_FREE = 3.0, 1e6  # degrees of freedom

USED = ("rows", "calls", "prompt_tokens", "completion_tokens", "cost_usd")
"""What is foretold, in this order."""

USD = USED.index("cost_usd")

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """What m links said about a sample of n rows, and what that used.

    Args:
        rows: Which ones, [n].
        votes: Of every link about every one of them.
        used: Calls, tokens of prompts and of answers, and USD of each vote, float64 [m, n, 4].
        tie: Settles ties, uint64 [n].
    """

    rows: Rows
    votes: Votes
    used: Floats
    tie: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, at: Rows) -> "Asked":
        """Return some of the sample."""
        votes = self.votes.so_far(len(self.votes.label), at)
        paid = None if self.votes.cost_usd is None else self.votes.cost_usd[:, at]
        votes = Votes(votes.label, votes.confidence, votes.logprobs, paid)
        return Asked(self.rows[at], votes, self.used[:, at], self.tie[at])


class Amount(msgspec.Struct, frozen=True):
    """An expected amount and its interval."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What a run will use.

    Args:
        links: For each link and each of USED.
        total: For each of USED; `rows` are votes.
        unneeded: How many votes of the sample no row would have reached, [m].
    """

    links: tuple[dict[str, Amount], ...]
    total: dict[str, Amount]
    unneeded: tuple[int, ...]


@dataclass(frozen=True)
class _Prompts:
    """The prompts of one link, by their length.

    Args:
        size: The lengths that occur, in bytes, ascending [g].
        rows: How many rows have each, [g].
        distinct: How many prompts: equal ones are bought once, [g].
        silent: Rows that no call is made for.
    """

    size: Floats
    rows: Floats
    distinct: Floats
    silent: int

    @classmethod
    def of(cls, size: Floats, once: Floats) -> "_Prompts":
        called = ~np.isnan(size)
        sizes, at = np.unique(size[called], return_inverse=True)
        rows = np.bincount(at, minlength=len(sizes)).astype(float)
        return cls(sizes, rows, np.bincount(at, once[called], len(sizes)).astype(float), int((~called).sum()))


class Forecaster:
    """Foretells what a chain will use.

    Args:
        judge: Its policy, and what that ranks by.
        asked: The sample.
        size: Length of each row's prompt at each link in bytes, NaN where no call is made, float64 [m, N].
        once: One over the number of rows that have the same prompt there, float64 [m, N].
        cold: What each link's first calls cost beyond that, where a cache is not filled yet, USD [m].
    """

    def __init__(self, judge: Judge, asked: Asked, size: Floats, once: Floats, cold: Floats) -> None:
        self._judge = judge
        self._asked = asked
        self._cold = cold
        self._size = size[:, asked.rows]
        self._count = size.shape[1]
        self._reached = decide_by(judge, asked.votes, asked.tie).reached
        self._prompts = [_Prompts.of(*each) for each in zip(size, once, strict=True)]
        self._reach = judge.policy.expects(self._count, len(size))

    def forecast(self, everything: int) -> Forecast:
        """Return what is expected, with 90 % intervals.

        Args:
            everything: How many rows the sample would have to have to be certain.
        """
        n = len(self._asked)
        every = np.arange(n)
        whole = self._amounts(every)
        left = max(1 - n / max(everything, 1), 0.0)
        without = None
        if n > 2:
            less = [self._amounts(np.delete(every, at)) for at in range(n)]
            added = [self._amounts(every, *one) for one in ((0, 1), (1, 0))]
            without = np.stack(less + added)
        cold = np.zeros((len(whole) + 1, len(USED)))
        cold[:-1, USD], cold[-1, USD] = self._cold, self._cold.sum()
        amounts = [
            {
                name: _interval(value, None if others is None else others[:, at], left, more[at])
                for at, (name, value) in enumerate(zip(USED, values, strict=True))
            }
            for values, others, more in zip(
                [*whole, whole.sum(0)],
                [None] * len(cold) if without is None else [*without.swapaxes(0, 1), without.sum(1)],
                cold,
                strict=True,
            )
        ]
        return Forecast(tuple(amounts[:-1]), amounts[-1], tuple((~self._reached).sum(1).tolist()))

    def _amounts(self, at: Rows, on: int = 1, kept: int = 1) -> Floats:
        """Return what each link will use by a part of the sample, [m, 5].

        Args:
            at: The part.
            on: Rows that are added as passed on wherever the count is not fixed.
            kept: Rows that are added as kept.
        """
        found = np.array([self._link(j, at, (on, kept)) for j in range(len(self._prompts))])
        self._cap(found)
        return found

    def _link(self, j: int, at: Rows, added: tuple[int, int]) -> Floats:
        """Return what one link will use, [5]."""
        size, reached = self._size[j, at], self._reached[j, at]
        prompts, called = self._prompts[j], ~np.isnan(size)
        if not called.any():
            sure = self._reach[j]
            return np.array([float(self._count if sure is None else sure), 0.0, 0.0, 0.0, 0.0])
        x, here = size[called], reached[called]
        chance = self._chance(j, x, here, added)
        each = _line(x, self._asked.used[j, at[called]], here, prompts.size)
        return np.array([chance @ prompts.rows + prompts.silent, *((chance * prompts.distinct) @ each)])

    def _chance(self, j: int, size: Floats, here: NDArray[np.bool_], added: tuple[int, int]) -> Floats:
        """Return how likely a row with a prompt of each length reaches a link, [g].

        The chance is a line over the logarithm of the length, so scaled that the expected count comes out.
        """
        prompts = self._prompts[j]
        if j == 0:
            return np.ones(len(prompts.size))
        sure = self._reach[j]
        if sure is None:
            count = prompts.rows.sum() * (here.sum() + added[0]) / (len(here) + sum(added))
        else:
            count = max(float(sure - prompts.silent), 0.0)
        if not count:
            return np.zeros(len(prompts.size))
        line = _line(np.log(size), here[:, None].astype(float), None, np.log(prompts.size), even=True)[:, 0]
        line = np.clip(line, 0.02, 1.0)
        for _ in range(3):  # what is cut at 1 goes to the others
            line = np.minimum(line * (count / (line @ prompts.rows)), 1.0)
        return line

    def _cap(self, found: Floats) -> None:
        """Let a policy that steers by costs spend what its cap gives, where that is what ends it."""
        spend = self._judge.policy.spend
        if spend is None:
            return
        first, rest = found[0, USD], found[1:, USD].sum()
        mean = np.array([first / self._count])
        room = max(spend.cap(self._judge.chain[0], mean) * self._count - first, 0.0)
        if rest > 0 and (rest > room or not self._reached[-1].all()):
            found[1:] *= room / rest


def _line(x: Floats, y: Floats, here: NDArray[np.bool_] | None, at: Floats, *, even: bool = False) -> Floats:
    """Return what a line through points says at some places, never below 0, [g, k].

    Args:
        x: Of the points, above 0, [n].
        y: Several values of each, [n, k].
        here: The points that set the level of the line, whose slope all of them set; all unless said.
        at: The places, [g].
        even: Whether all points weigh the same; otherwise one over x, as values scatter more the larger x is.
    """
    weight = np.ones(len(x)) if even else 1 / x
    weight /= weight.sum()
    middle, mean = weight @ x, weight @ y
    spread = float(weight @ (x - middle) ** 2)
    slope = (
        (weight * (x - middle)) @ (y - mean) / spread if spread > 1e-9 * middle**2 else np.zeros(y.shape[1])
    )
    if here is not None and here.any():
        mean = mean + (y - mean - np.outer(x - middle, slope))[here].mean(0)
    return np.maximum(mean + np.outer(at - middle, slope), 0.0)


def _interval(whole: float, without: Floats | None, left: float, more: float) -> Amount:
    """Return an amount with its interval.

    Args:
        whole: By all of the sample.
        without: By all of it but one row, [n]; None where the sample is too small for any interval.
        left: Which share of the rows is not in the sample.
        more: What comes to it, or not where the run follows at once: a cache that is filled stays so for a while.
    """
    if whole <= 0 or left <= 0 or without is None:
        return Amount(float(whole + more), float(whole), float(whole + more))
    off = without - without.mean()
    n, square = len(off), float((off**2).sum())
    if square <= (1e-9 * whole) ** 2:
        half = LEAST if (without != without[0]).any() else 0.0
    else:
        about = float((off**4).sum()) - square**2 / n  # how uncertain the sum of squares is
        free = min(max(2 * square**2 / max(about, 2 * square**2 / MOST_FREE), FEWEST_FREE), n - 2.0)
        error = float(np.sqrt((n - 1) / n * square * left)) / whole
        half = max(WIDER * student(LEVEL, free) * error, LEAST)
    return Amount(float(whole + more), float(whole * np.exp(-half)), float(whole * np.exp(half) + more))


def student(level: float, free: float) -> float:
    """Return the two-sided quantile of Student's t for 3 or more degrees of freedom, to 0.3 %.

    The expansion of Abramowitz & Stegun 1964, 26.7.5.

    >>> round(student(0.9, 48), 3), round(student(0.9, 3), 2)
    (1.677, 2.35)
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / free**power for power, term in enumerate(terms, 1))
