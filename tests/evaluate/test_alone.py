"""What a link would have cost alone."""

import numpy as np
import pytest

from catena.evaluate.alone import cost_alone


def priced(n=400, seed=0):
    """Return lengths of texts, and what a link charges: by length, and by what it says."""
    rng = np.random.default_rng(seed)
    length = np.exp(rng.normal(6, 0.8, n))
    return length, 1e-6 * (200 + length) + 1e-5 * rng.exponential(1, n)


@pytest.mark.parametrize("first", ["cheap", "dear"])
def test_items_that_were_chosen_by_price_say_what_all_cost(first):
    """Asked about the cheaper or the dearer half: over 30 sets within 2 % of the truth, where the mean is off by a fifth."""
    off, by_mean = [], []
    for seed in range(30):
        length, cost = priced(seed=seed)
        half = length < np.median(length) if first == "cheap" else length >= np.median(length)
        seen = np.where(half, cost, np.nan)
        off.append(cost_alone(seen, length[None]) / cost.sum() - 1)
        by_mean.append(np.nanmean(seen) * len(cost) / cost.sum() - 1)
    assert abs(np.mean(off)) < 0.02
    assert abs(np.mean(by_mean)) > 0.2


def test_other_links_say_more_than_the_length():
    """Where another link's price has what the length has not, it is used beside it."""
    length, cost = priced()
    other = 0.1 * cost
    seen = np.where(np.arange(400) < 100, cost, np.nan)
    assert cost_alone(seen, np.stack([length, other])) == pytest.approx(cost.sum(), rel=1e-6)


def test_few_items_have_their_mean():
    """Nothing is fitted to three items, nor to what is the same for all."""
    cost = np.array([1.0, 2.0, 3.0, np.nan])
    assert cost_alone(cost, np.array([[1.0, 2.0, 3.0, 100.0]])) == pytest.approx(8.0)
    assert cost_alone(cost, np.ones((1, 4))) == pytest.approx(8.0)
    assert cost_alone(cost, np.zeros((0, 4))) == pytest.approx(8.0)


def test_all_or_nothing_seen():
    """Seen everywhere it is the sum; nowhere, nothing is known. No item is foretold to cost less than nothing."""
    length, cost = priced(30)
    assert cost_alone(cost, length[None]) == pytest.approx(cost.sum())
    assert cost_alone(np.full(30, np.nan), length[None]) is None
    falling = np.where(np.arange(60) < 40, 40.0 - np.arange(60), np.nan)
    assert cost_alone(falling, np.arange(60.0)[None]) == pytest.approx(np.nansum(falling))
