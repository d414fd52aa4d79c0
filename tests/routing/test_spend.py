"""Spending: a cap that holds though prices are only foretold."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.routing.spend import STEPS, Spend, allotted, buying, doubt_first, follow, foretold

PRICES = st.lists(st.floats(0.01, 10), min_size=1, max_size=300)


def bought_within(price, paid, cap):
    """Buy in input order at what each item really costs; return how many are bought."""
    buyer, bought = buying(np.arange(len(price)), price, cap), 0
    with contextlib.suppress(StopIteration):
        step = next(buyer)
        while True:
            bought += len(step)
            step = buyer.send(paid[step])
    return bought


@given(PRICES, st.floats(0, 1))
def test_foretold_prices_that_hold_meet_the_cap(prices, part):
    """No more is bought than the cap pays for, and the next item would not have fitted."""
    price = np.array(prices)
    cap = part * price.sum()
    bought = bought_within(price, price, cap)
    assert price[:bought].sum() <= cap * (1 + 1e-6) + 1e-9
    assert bought == len(price) or price[: bought + 1].sum() > cap


@given(PRICES, st.lists(st.floats(0.01, 30), min_size=300, max_size=300), st.floats(0, 1))
def test_what_is_not_bought_is_not_looked_at(prices, real, part):
    """Whatever the others would have cost, the same items are bought."""
    price, paid = np.array(prices), np.array(real[: len(prices)])
    cap = part * paid.sum()
    bought = bought_within(price, paid, cap)
    others = np.arange(len(price)) >= bought
    assert bought_within(price, np.where(others, np.inf, paid), cap) == bought


@given(st.integers(1, 400), st.floats(0.2, 5), st.floats(0, 1))
def test_wrong_prices_cost_at_most_a_step(n, off, part):
    """Where everything costs `off` times what was foretold, too much is spent on at most one step, a 64th of the items."""
    price = np.ones(n)
    cap = part * n
    spent = off * bought_within(price, price * off, cap)
    assert spent <= cap + off * -(-n // STEPS)


def test_doubt_per_dollar_comes_first():
    """Of two equally doubtful items the cheaper one, of two equally dear ones the more doubtful one; then the hash."""
    sure, price = np.array([0.5, 0.5, 0.9, 0.5]), np.array([2.0, 1.0, 1.0, 2.0])
    tie = np.array([9, 1, 1, 3], np.uint64)
    assert doubt_first(sure, price, tie).tolist() == [1, 3, 0, 2]


def test_a_price_follows_the_text():
    """In proportion, not at all, and half way."""
    paid = np.array([1.0, 2.0, 3.0])
    assert follow(paid, 5 * paid) == pytest.approx(1)
    assert follow(paid, np.ones(3)) == pytest.approx(0)
    assert foretold(paid, 2.0, 0.5).tolist() == [0.75, 1.0, 1.25]
    assert foretold(np.zeros(2), 0.0, 1.0).tolist() == [1.0, 1.0]


def test_caps():
    """Dollars per item, or a multiple of what a link is foretold to cost on these very items."""
    paid = np.array([1.0, 3.0])
    usd, follows = {"a": 2.0, "b": 10.0}, {"a": 1.0, "b": 1.0}
    assert Spend(usd, follows, usd_per_item=5.0).cap("a", paid) == 10.0
    assert Spend(usd, follows, times=0.5, of="b").cap("a", paid) == pytest.approx(10.0)
    assert Spend(usd, follows, times=0.5, of="b").cap("a", 2 * paid) == pytest.approx(20.0)


def test_what_is_left_is_divided_as_planned():
    """Three parts of four; nothing where nothing was planned."""
    assert allotted(8.0, [3.0, 1.0]) == 6.0
    assert allotted(8.0, [0.0, 0.0]) == 0.0
