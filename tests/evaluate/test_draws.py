"""The chance of so few wrong items in a draw without replacement, against counting by hand."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.evaluate.draws import Tail

TAIL = Tail(60)


def counted(items, wrong, drawn, found):
    """Return the chance by whole numbers."""
    ways = sum(comb(wrong, k) * comb(items - wrong, drawn - k) for k in range(min(found, drawn) + 1))
    return ways / comb(items, drawn)


def chance(*numbers):
    """Return the chance for one population."""
    return float(TAIL.chance(*(np.array([number]) for number in numbers))[0])


@given(st.data())
def test_it_is_the_hypergeometric_tail(data):
    """Equal to exact counting, for every population of up to 60."""
    items = data.draw(st.integers(0, 60))
    wrong, drawn = data.draw(st.integers(0, items)), data.draw(st.integers(0, items))
    found = data.draw(st.integers(0, drawn))
    exact = counted(items, wrong, drawn, found)
    assert exact <= chance(items, wrong, drawn, found) <= exact + 1.1e-9


@given(st.data())
def test_more_wrong_items_are_less_likely(data):
    """So a test against one too many is a test against any number too many."""
    items = data.draw(st.integers(1, 60))
    drawn = data.draw(st.integers(0, items))
    found = data.draw(st.integers(0, drawn))
    chances = [chance(items, wrong, drawn, found) for wrong in range(items + 1)]
    assert all(before >= after - 1e-12 for before, after in pairwise(chances))


def test_more_wrong_than_items_can_not_be():
    """The chance is 0 then: no test is needed."""
    assert chance(10, 11, 0, 0) == 0
    assert chance(0, 1, 0, 0) == 0


def test_populations_are_counted_at_once():
    """Each column by itself."""
    items, wrong = np.array([10, 60, 5]), np.array([3, 20, 6])
    drawn, found = np.array([4, 30, 2]), np.array([0, 12, 1])
    expected = [counted(10, 3, 4, 0), counted(60, 20, 30, 12), 0.0]
    assert TAIL.chance(items, wrong, drawn, found) == pytest.approx(expected, abs=2e-9)
