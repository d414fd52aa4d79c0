"""Two labellings of the same items."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.evaluate.paired import changes, mcnemar


def test_mcnemar_by_hand():
    """1 against 9: 2 (1 + 10) / 1024. 0 against 5: 2 / 32. None apart, or as many: 1."""
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(50, 50) == 1.0


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_tail_in_exact_arithmetic(first, second):
    """For any counts, and the same in both directions."""
    n, fewer = first + second, min(first, second)
    exact = min(Fraction(1), 2 * Fraction(sum(comb(n, k) for k in range(fewer + 1)), 2**n))
    assert mcnemar(first, second) == pytest.approx(float(exact), rel=1e-9)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_many_items():
    """A million discordant items neither overflow nor vanish before they must."""
    assert mcnemar(499_000, 501_000) == pytest.approx(0.0456, abs=5e-4)
    assert mcnemar(400_000, 600_000) < 1e-300


def test_changes_by_hand():
    """One fixed, one broken, one still right, two still wrong; the item without gold does not count."""
    gold = np.array([0, 0, 0, 0, 0, -1], np.int16)
    before = np.array([1, 0, 0, 1, -1, 0], np.int16)
    after = np.array([0, 1, 0, 1, 1, 1], np.int16)
    found = changes(before, after, gold)
    assert (found.n, found.fixed, found.broken, found.still_right, found.still_wrong) == (5, 1, 1, 1, 2)


def test_a_failed_link_changes_nothing():
    """The earlier label stands, right or wrong."""
    found = changes(np.array([0, 1], np.int16), np.array([-1, -1], np.int16), np.array([0, 0], np.int16))
    assert (found.fixed, found.broken, found.still_right, found.still_wrong) == (0, 0, 1, 1)
