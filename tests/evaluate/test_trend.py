"""Links judged by each other and by their prices."""

import numpy as np
import pytest

from catena.evaluate.trend import weights, worth

PRICES = np.array([1.0, 2.0, 4.0, 8.0])


def hits(accuracy, n=300, seed=0):
    """Whether links are right about items: the same items are hard for all of them."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return np.array(
        [np.where(rng.random(n) < 0.8, hard, rng.random(n)) < share for share in accuracy]
    ).astype(float)


def test_the_dearest_of_a_rising_line_is_found():
    """Links two points apart, each dearer than the one before: the count picks the best in some pilots, the trend in nearly all."""
    counted = judged = 0
    for seed in range(60):
        found = hits([0.70, 0.72, 0.74, 0.76], seed=seed)
        counted += found.mean(1).argmax() == 3
        judged += worth(found, PRICES).argmax() == 3
    assert counted < 55
    assert judged > counted
    assert judged >= 55


@pytest.mark.parametrize("at", range(4))
def test_a_link_far_above_stays_there(at):
    """Whatever its price: no trend pulls it down by more than a point."""
    accuracy = np.full(4, 0.5)
    accuracy[at] = 0.9
    found = hits(accuracy)
    assert worth(found, PRICES)[at] == pytest.approx(found[at].mean(), abs=0.01)


@pytest.mark.parametrize("cost", [np.ones(4), np.zeros(4), np.array([0.0, 0.0, 0.0, 2.0]), PRICES])
def test_weights_give_what_links_are_worth(cost):
    """Weighted counts are those of `worth`, and weights are 1 on average, whatever prices are."""
    found = hits([0.6, 0.65, 0.75, 0.7])
    weight = weights(found, cost)
    assert weight.mean() == pytest.approx(1)
    assert (found * weight).mean(1) == pytest.approx(worth(found, cost), abs=2e-3)


@pytest.mark.parametrize(
    "found", [np.ones((2, 30)), np.zeros((3, 30)), hits([0.5]), hits([0.5] * 3)[[0, 0, 1]]]
)
def test_odd_counts_have_weights(found):
    """All right, all wrong, one link, two that say the same: finite weights near 1."""
    weight = weights(found, np.arange(1.0, len(found) + 1))
    assert np.isfinite(weight).all()
    assert weight.mean() == pytest.approx(1)
    assert np.abs(weight - 1).max() < 1
