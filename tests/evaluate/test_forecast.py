"""Forecasts from a sample, where the truth is known: exact where nothing is uncertain, and as wide as chance."""

import numpy as np
import pytest

from catena.aggregate import Judge, Votes, decide_by
from catena.evaluate.forecast import USD, Asked, Forecaster, student
from catena.routing import Policy, ties

N, SAMPLE = 2000, 50


class World:
    """Rows whose lengths are known, and links whose votes and costs are drawn."""

    def __init__(self, policy, prices, noise=0.0, seed=0, count=N):
        self.generator = np.random.Generator(np.random.PCG64(seed))
        m = len(prices)
        self.size = np.tile(self.generator.integers(100, 400, count).astype(float), (m, 1))
        sure = self.generator.exponential(1.0, (m, count))
        label = self.generator.integers(0, 3, (m, count)).astype(np.int16)
        self.votes = Votes(label, sure)
        factor = np.exp(noise * self.generator.normal(size=(m, count)))
        self.usd = np.array(prices)[:, None] * (20 + self.size) * factor
        self.judge = Judge(policy, [f"link{at}" for at in range(m)], ["a", "b", "c"], None)
        self.tie = ties(map(str, range(count)), 0)

    def forecast(self, seed, rows=SAMPLE, cold=0.0):
        """Return the forecast from a random sample."""
        count = self.size.shape[1]
        at = np.random.Generator(np.random.PCG64(seed)).choice(count, rows, replace=False)
        used = np.ones((len(self.usd), rows, 4))
        used[:, :, -1] = self.usd[:, at]
        asked = Asked(at, self.votes.so_far(len(self.usd), at), used, self.tie[at])
        extra = np.full(len(self.usd), cold)
        return Forecaster(self.judge, asked, self.size, np.ones(self.size.shape), extra).forecast(count)


def test_what_follows_from_lengths_is_exact():
    """Costs that are a line over the length are foretold to the digit, however the sample falls."""
    world = World(Policy(), [1.0])
    found = world.forecast(3).links[0]["cost_usd"]
    assert found.expected == pytest.approx(world.usd.sum())
    assert found.low <= world.usd.sum() <= found.high


def test_counts_of_shares_are_exact():
    """What reaches each link is its quota, without any interval."""
    links = World(Policy(share=("0.5", "0.3", "0.2")), [1.0, 2.0, 3.0], noise=0.3).forecast(1).links
    for link, count in zip(links, (2000, 1000, 400), strict=True):
        assert link["rows"].expected == pytest.approx(count)
        assert (link["rows"].high - link["rows"].low) / 2 < 0.05 * count


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(threshold=(0.7, 0.7)), Policy(agree=2)],
    ids=["shares", "threshold", "agree"],
)
def test_nine_of_ten_intervals_hold_the_truth(policy):
    """Whatever the policy, with prices that scatter by half, in 90 % of samples; among 100, in 86 or more."""
    world = World(policy, [1.0, 3.0, 10.0], noise=0.5)
    reached = decide_by(world.judge, world.votes, world.tie).reached
    truth = world.usd[reached].sum()
    found = [world.forecast(seed).total["cost_usd"] for seed in range(100)]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.86
    assert abs(np.mean([each.expected for each in found]) / truth - 1) < 0.05


def test_all_rows_leave_nothing_open():
    """A sample of everything is the run."""
    world = World(Policy(), [1.0, 5.0], noise=0.5, count=60)
    amount = world.forecast(0, rows=60).links[0]["cost_usd"]
    assert amount.low == amount.expected == amount.high == pytest.approx(world.usd[0].sum())


def test_a_threshold_that_nothing_of_the_sample_passes_is_not_certain():
    """No row that goes on among 50 is no proof that none of 2,000 does."""
    world = World(Policy(threshold=(1e-9,)), [1.0, 1.0])
    rows = world.forecast(0).links[1]["rows"]
    assert 0 < rows.expected < 0.05 * N
    assert rows.high > 0.03 * N


def test_cold_caches_widen_one_side():
    """What the first calls pay beyond the others may come to it: it is expected, and not in the lower end."""
    world = World(Policy(), [1.0], noise=0.3)
    plain, cold = (world.forecast(2, cold=extra).links[0]["cost_usd"] for extra in (0.0, 5000.0))
    assert cold.expected == pytest.approx(plain.expected + 5000.0)
    assert (cold.low, cold.high) == pytest.approx((plain.low, plain.high + 5000.0))
    assert USD == 4


def test_students_quantiles():
    """As in the tables, down to three degrees of freedom."""
    for free, value in ((3, 2.353), (5, 2.015), (10, 1.812), (30, 1.697), (48, 1.677)):
        assert student(0.9, free) == pytest.approx(value, rel=0.003)
