"""A promise about a chain: with chance 1 - delta, at least a share T of its labels are those of a reference.

The promise is about one set of n items and holds for every such set, however links err and however little their
confidences say. All that is random is which items are drawn: a sample without replacement, on which the reference's
labels are looked at. T n labels must agree, so at most B = floor((1 - T) n) may be wrong.

**What is fixed before a reference label is seen.** The chain; the path of thresholds from strict to loose (see `path`:
ranks of confidences, which are no reference labels); the order in which items are drawn; the looks, that is how many
items are drawn before each test and its part of delta. With two or more links before the last, the path is fitted
to the reference's labels on the first items of the draw. Those take no part in the tests: given them, the others are
still a random sample of the rest, and how many of them each cut gets wrong is known and taken off B. A path, a chain
or a seed chosen after a look at the sample voids the promise; choosing by a plan's pilot does not, because the
sample is drawn independently of it.

**One cut.** Before the last link, a cut keeps k items. If the reference is the last link, all others agree by
definition, so the cut is bad if and only if more than B of the k are wrong: a local target of
T_k = (T n - (n - k)) / k (BARGAIN, Zeighami et al., arXiv 2509.02896). Those of the sample that are among the k are a
random sample of them. If so few of these are wrong as happens with chance <= level even where B + 1 of the k are
wrong (hypergeometric tail), the cut passes. Cuts of k <= B need no test. If the reference is anything else, the last
link's own errors count too, and the population is all items.

**Looks.** The tests of one cut share delta: a tenth of it goes to early looks, so that a link far better than T is passed
on a few dozen items, the rest to the last look. Each test is a betting martingale for sampling without replacement
(Waudby-Smith and Ramdas, JRSS B 2024) whose gambler bets on 1 / level at its look, or nothing. Bets that hedge over all
times, as BARGAIN's do, needed more items for the same cut on every set that was tried (bench/RESULTS.md).

**All cuts.** They are tested from strict to loose and the last one before the first failure is taken (fixed-sequence
testing). A false promise means that the first bad cut of the path passed, at one of its looks: chance <= delta. No
other cut matters, so the number of cuts costs nothing, and drawing may stop after any look, for any reason.

A failed vote of the reference agrees with nothing: it counts as wrong where an earlier link keeps the item.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.errors import DataError, places
from catena.evaluate.draws import Tail
from catena.evaluate.looks import looks_at
from catena.evaluate.path import Path, fit_curve, lay, normal_scores

__all__ = ["Certified", "Certifier", "LackingError", "Tested", "least_escalated"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class LackingError(DataError):
    """Drawn items have no label of the reference, or no vote of the last link.

    Attributes:
        rows: These items.
    """

    def __init__(self, message: str, hint: str, rows: Rows) -> None:
        super().__init__(message, hint)
        self.rows = rows


class Tested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One test of one cut.

    Args:
        cut: Index of the cut on the path.
        items: The population: the items that the cut keeps, or all where the reference is not the last link; less the fit.
        allowed: How many of them may be wrong.
        drawn: How many of them were drawn.
        wrong: How many of these are wrong.
        chance: That so few are wrong if one more than allowed is.
        level: What the chance may be at this look.
    """

    cut: int
    items: int
    allowed: int
    drawn: int
    wrong: int
    chance: float
    level: float


@dataclass(frozen=True)
class Certified:
    """What was found.

    Args:
        cut: The certified cut of the path; -1 where not even the last link alone can be promised.
        path: From strict to loose.
        fit: The rows whose reference labels fitted the path, in the order drawn.
        sample: The rows whose reference labels were tested, in the order drawn.
        allowed: How many of all items may be wrong.
        tests: The one that passed for each cut up to the certified one, and those that the next one failed.
        kept_by: The link that keeps each item, m - 1 for the last, [n].
    """

    cut: int
    path: Path
    fit: Rows
    sample: Rows
    allowed: int
    tests: tuple[Tested, ...]
    kept_by: Rows


class Certifier:
    """Certifies one chain over one vote table.

    Args:
        votes: Of the chain's links, in order. The last link's votes are looked at for drawn items only.
        reference: Label index that the reference gives, -1 for none; looked at for drawn items only, int16 [n].
        asked: Whether the reference was asked about each item; likewise, bool [n].
        own: Whether the reference is the last link.
    """

    def __init__(
        self, votes: VoteTable, reference: NDArray[np.int16], asked: NDArray[np.bool_], *, own: bool
    ) -> None:
        self.votes, self.own = votes, own
        self.reference, self._asked = reference, asked
        self.early = len(votes.links) - 1
        self._paths: dict[int, Path] = {}

    def __len__(self) -> int:
        return len(self.votes)

    @cached_property
    def scores(self) -> Floats:
        """Normal scores of the earlier links' confidences, [m - 1, n]."""
        return normal_scores(self.votes.voted[: self.early], self.votes.confidence[: self.early])

    @cached_property
    def tail(self) -> Tail:
        """Chances for populations of up to all items."""
        return Tail(len(self))

    def wrong(self, rows: Rows) -> NDArray[np.bool_]:
        """Return whether each link's label, taken as the chain's, is not the reference's, bool [m, n].

        Only these rows are looked at. Where a link fails, the item's label is the latest earlier one (`last`).

        Raises:
            LackingError: The reference or the last link was not asked about some of them.
        """
        lacking = rows[~(self._asked[rows] & self.votes.recorded[-1, rows])]
        if len(lacking):
            found = self.votes.item_ids[lacking[:20]].tolist()
            raise LackingError(
                f"drawn items without a label of the reference, or a vote of {self.votes.links[-1]}: {places(found, len(lacking))}.",
                "A promise needs them all: have these items labelled, or take another reference.",
                lacking,
            )
        label, truth = self.votes.label[:, rows], self.reference[rows]
        wrong: NDArray[np.bool_] = (label != truth) | (truth < 0)
        for j in range(1, len(label)):
            np.copyto(wrong[j], wrong[j - 1], where=label[j] < 0)
        if self.own:
            wrong[-1] = False
        return wrong

    def certify(self, agreement: Fraction, delta: float, order: Rows, most: int | None = None) -> Certified:
        """Find the loosest cut that can be promised.

        Args:
            agreement: T, the share of all labels that must be the reference's, 0 to 1.
            delta: The chance that the promise is false, above 0 and below 1.
            order: All rows in the order in which they are drawn: random, and independent of every label.
            most: The most that may be drawn; see `looks_at`.

        Raises:
            LackingError: The reference or the last link was not asked about a drawn item that is looked at now.
        """
        allowed = math.floor((1 - agreement) * len(self))
        looks = looks_at(len(self), agreement, self.early, most, own=self.own)
        fit, rest = order[: looks.fit], order[looks.fit : looks.most]
        score = self._fitted(fit)
        path = self._path(score, allowed)
        trial = _Trial(self, path, score, fit, allowed)
        drawn = 0
        trial.look(rest[:0], 0.0)  # what needs no test
        for then, part in zip(looks.ends, looks.parts, strict=True):
            if trial.worth(then - drawn):
                drawn = then
                trial.look(rest[:drawn], delta * part)
        cut = trial.good - 1
        kept_by = path.kept_by(score, max(cut, 0))
        return Certified(cut, path, fit, rest[:drawn], allowed, trial.tests(), kept_by)

    def _fitted(self, fit: Rows) -> Floats:
        """Return the scores that the path goes by."""
        if self.early == 1:
            return self.scores
        agrees, score = ~self.wrong(fit), self.scores.copy()
        for j in range(self.early):
            usable = np.isfinite(score[j, fit])
            level, slope = fit_curve(score[j, fit[usable]], agrees[j, usable])
            score[j] = level + slope * score[j]
        return score

    def _path(self, score: Floats, allowed: int) -> Path:
        """Return the path; without a fit it is the same for every draw."""
        least = allowed if self.own else 0
        if self.early > 1:
            return lay(score, self.votes.confidence[: self.early], least)
        if least not in self._paths:
            self._paths[least] = lay(score, self.votes.confidence[: self.early], least)
        return self._paths[least]


class _Trial:
    """The tests of all cuts at the looks so far."""

    def __init__(self, chain: Certifier, path: Path, score: Floats, fit: Rows, allowed: int) -> None:
        self._chain, self._path, self._score = chain, path, score
        inside, wrong = self._counts(fit)
        self._items = (path.kept if chain.own else np.full(len(path.kept), len(chain))) - inside
        self._allowed = allowed - wrong
        self._passed = np.full(len(path.kept), -1)
        self._looks: list[tuple[Rows, Rows, Floats, float]] = []

    def _counts(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return for each cut how many of some rows are in its population, and how many of these are wrong."""
        kept_by = self._path.kept_by(self._score[:, rows])
        wrong = self._chain.wrong(rows)[kept_by, np.arange(len(rows))]
        inside = kept_by < self._chain.early if self._chain.own else np.ones(kept_by.shape, bool)
        return inside.sum(1), (inside & wrong).sum(1)

    @property
    def good(self) -> int:
        """How many cuts from the strict end have passed."""
        return int(np.cumprod(self._passed >= 0).sum())

    def look(self, rows: Rows, level: float) -> None:
        """Test all cuts on the rows drawn so far."""
        drawn, wrong = self._counts(rows)
        chance = self._chain.tail.chance(self._items, self._allowed + 1, drawn, wrong)
        chance = np.where(self._allowed < 0, 1.0, chance)
        self._passed[(self._passed < 0) & (chance <= level)] = len(self._looks)
        self._looks.append((drawn, wrong, chance, level))

    def worth(self, further: int) -> bool:
        """Tell whether further draws can save as many calls as they are expected to cost."""
        kept, items = int(self._path.kept[max(self.good - 1, 0)]), len(self._chain)
        return further > 0 and self.good < len(self._passed) and (items - kept) * items > further * kept

    def tests(self) -> tuple[Tested, ...]:
        """Return what decided: the passing test of each good cut, the failed ones of the next."""
        found = [(cut, int(self._passed[cut])) for cut in range(self.good)]
        if self.good < len(self._passed):
            found += [(self.good, look) for look in range(1, len(self._looks))]
        return tuple(self._test(cut, look) for cut, look in found)

    def _test(self, cut: int, look: int) -> Tested:
        drawn, wrong, chance, level = self._looks[look]
        items, allowed = int(self._items[cut]), int(self._allowed[cut])
        return Tested(cut, items, allowed, int(drawn[cut]), int(wrong[cut]), float(chance[cut]), level)


def least_escalated(risk: float, alpha: float) -> tuple[float, float]:
    """Return the least share of items that must go on where a share `risk` would be wrong and alpha may be.

    First risk - alpha: if alpha bounds the wrong labels among all, as here, and what goes on is right. Then
    (risk - alpha) / (1 - alpha): if it bounds those among the kept items (arXiv 2606.29054). Never below 0.

    >>> [round(bound, 3) for bound in least_escalated(0.28, 0.1)]
    [0.18, 0.2]
    """
    over = max(risk - alpha, 0.0)
    return over, over / (1 - alpha) if alpha < 1 else 0.0
