"""Shares of samples as label probabilities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.confidence.shares import score_shares


def test_worked_example():
    """Five samples of two labels, four of them the first: (4 + 1/2) / 6, and the margin is the difference of the logs."""
    shares = score_shares([0, 0, 1, 0, 0], 2)
    assert shares.logprobs == pytest.approx((math.log(4.5 / 6), math.log(1.5 / 6)))
    assert (shares.best, shares.margin) == (0, pytest.approx(math.log(3)))


@pytest.mark.parametrize(("named", "best"), [([2, 1, 1, 2], 2), ([1, 2, 1, 2, 0], 1)])
def test_ties(named, best):
    """Of labels that were named equally often the one that came first is taken, without any confidence."""
    shares = score_shares(named, 3)
    assert (shares.best, shares.margin) == (best, 0.0)


@given(
    st.integers(2, 200).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k - 1), min_size=1)))
)
def test_they_are_probabilities(case):
    """They sum to 1, none is 0 or 1, and the label taken has the largest."""
    labels, named = case
    shares = score_shares(named, labels)
    assert len(shares.logprobs) == labels
    assert math.fsum(map(math.exp, shares.logprobs)) == pytest.approx(1)
    assert all(-math.inf < x < 0 for x in shares.logprobs)
    assert shares.logprobs[shares.best] == max(shares.logprobs)
    assert shares.margin >= 0


def test_more_agreement_is_surer():
    """Of as many samples, the more name the label the larger the margin; of all equal samples, the more the larger."""
    margins = [score_shares([0] * n + [1] * (9 - n), 3).margin for n in range(5, 10)]
    assert margins == sorted(set(margins))
    grown = [score_shares([0] * n, 3).margin for n in range(1, 9)]
    assert grown == sorted(set(grown))
