"""Which candidate is taken, and what such a choice is worth."""

import numpy as np
import pytest

from catena.evaluate.contest import Contest, draw_of
from catena.evaluate.crossfit import Judged
from catena.evaluate.halves import counted
from catena.evaluate.luck import boast, cuts, wilson
from catena.evaluate.prices import off_by

TIE = np.arange(300, dtype=np.uint64)


def guesses(count, n=300, soft=0.5):
    """Candidates that are right half of the time, by chance, and say so."""
    rng = np.random.default_rng(0)
    hard = (rng.random((count, n)) < 0.5).astype(float)
    return [Judged(np.zeros(n, np.int16), np.full(n, soft), np.full(n, soft), each) for each in hard]


def test_cuts_are_halves():
    """Each item is on one side of each cut, and sides are equal."""
    found = cuts(TIE)
    assert (found.sum(1) == 150).all()
    assert (found[::2] ^ found[1::2]).all()


def test_luck_is_taken_off():
    """The luckiest of 200 guesses looks better than it is; what is left is what it is worth elsewhere."""
    said = guesses(200)
    draw = draw_of(TIE)
    contest = Contest(said, np.zeros(200, bool), draw)
    lucky = said[int(np.argmax([each.hard.mean() for each in said]))]
    assert lucky.hard.mean() > 0.57
    overstated = contest.overstated(lambda at: counted(said[at], draw))
    assert overstated > 0.02
    taken = said[contest.taken()]
    assert (taken.soft.mean() + taken.hard.mean()) / 2 - overstated < 0.52


def test_boasts_are_taken_off():
    """Posteriors of .9 that are right half of the time say .4 too much; a few points are chance, and stay."""
    right = np.repeat([1.0, 0.0], 150)
    assert boast(np.full(300, 0.9), right) == pytest.approx(0.4, abs=0.01)
    assert boast(np.full(300, 0.1), right) == pytest.approx(-0.4, abs=0.01)
    assert boast(np.full(300, 0.52), right) == 0.0
    assert boast(right, right) == 0.0


def test_a_small_gain_is_not_taken():
    """A chain that expects a tenth of a point more than the single link does not replace it; three points do."""
    right = np.repeat([1.0, 0.0], 150)
    for more, taken in ((0.001, 0), (0.03, 1)):
        said = [Judged(np.zeros(300, np.int16), soft, soft, right) for soft in (right / 2, right / 2 + more)]
        contest = Contest(said, np.array([True, False]), draw_of(TIE))
        assert contest.taken() == taken


def test_the_luckiest_chain_is_not_taken():
    """Of 200 chains that change a tenth of a single link's labels by chance, the best gains nothing on other items."""
    rng, taken = np.random.default_rng(1), 0
    for _ in range(5):
        alone = (rng.random(300) < 0.8).astype(float)
        chains = [np.where(rng.random(300) < 0.1, rng.random(300) < 0.7, alone) for _ in range(200)]
        said = [
            Judged(np.zeros(300, np.int16), np.full(300, 0.8), np.full(300, 0.8), hard)
            for hard in (alone, *chains)
        ]
        contest = Contest(said, np.arange(201) == 0, draw_of(TIE))
        assert max(hard.mean() for hard in chains) > alone.mean() + 0.01
        taken += contest.taken() != 0
    assert taken == 0


def test_wilson_stays_within_bounds():
    """Also where nothing, or everything, was seen."""
    assert wilson(1.0, 50) == pytest.approx((1 / (1 + 1.96**2 / 50), 1.0))
    assert wilson(0.0, 50)[0] == 0.0
    low, high = wilson(0.7, 1e6)
    assert high - low < 0.002


def test_tails_widen_the_bound():
    """A few dear calls say that dearer ones were missed: the bound is wider than for even spread."""
    even = np.tile([0.0, 2.0], 150)
    tailed = np.r_[np.zeros(297), 100.0, 100.0, 100.0]
    assert off_by(even, 1000) / even.std() < 0.9 * off_by(tailed, 1000) / tailed.std()
    assert off_by(np.ones(300), 1000) == 0.0
