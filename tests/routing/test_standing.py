"""The one order that every policy ranks by."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catena.routing import least_first, standing, ties
from tables import NAN

ANY_CONFIDENCE = st.one_of(st.just(NAN), st.sampled_from([0.0, -0.0, 0.5, -np.inf, np.inf]), st.floats(-2, 2))


def order_of(voted, confidence, tie):
    """Return `least_first` of one link."""
    return least_first(np.array([voted]), np.array([confidence], float), np.array(tie, np.uint64))[0].tolist()


def test_surer_stands_higher():
    """Items are ordered by confidence, least first."""
    assert order_of([True] * 3, [0.5, -1.0, 2.0], [0, 0, 0]) == [1, 0, 2]


def test_a_vote_without_confidence_is_below_every_vote_with_one_and_failures_are_below_those():
    """Failed < voted without confidence < the least confidence there is, whatever the ties say."""
    voted, confidence = [True, True, False, True], [-np.inf, NAN, 9.0, -5.0]
    assert order_of(voted, confidence, [0, 1, 2, 3]) == [2, 1, 0, 3]
    assert order_of(voted, confidence, [3, 2, 1, 0]) == [2, 1, 0, 3]


def test_the_confidence_of_a_failed_vote_is_not_looked_at():
    """Failures are ordered by the tie hash alone, even where they carry a confidence."""
    assert order_of([False] * 3, [0.9, NAN, 0.1], [5, 7, 6]) == [0, 2, 1]


def test_equal_confidences_are_settled_by_the_hash():
    """Equal confidences, minus zero among them, go by the hash, also where it needs all 64 bits."""
    assert order_of([True] * 4, [0.0, -0.0, 0.0, 0.0], [2**64 - 1, 3, 2**63, 1]) == [3, 1, 2, 0]


def test_each_link_has_an_order_of_its_own():
    """Rows are links; one link's confidences don't touch another's order."""
    confidence = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    order = least_first(np.ones((2, 3), bool), confidence, np.arange(3, dtype=np.uint64))
    assert order.tolist() == [[0, 1, 2], [2, 1, 0]]


@given(st.lists(st.tuples(st.booleans(), ANY_CONFIDENCE, st.integers(0, 3)), min_size=1, max_size=30))
def test_one_vote_stands_where_the_whole_array_puts_it(votes):
    """Sorting by `standing`, the streaming form, is the order of `least_first`, the form over arrays."""
    voted, confidence, tie = (list(column) for column in zip(*votes, strict=True))
    by_one = [standing(voted=v, confidence=c, tie=t) for v, c, t in votes]
    assert order_of(voted, confidence, tie) == sorted(range(len(votes)), key=lambda row: (by_one[row], row))


def test_no_confidence_and_nan_are_the_same():
    """None, as a live vote has it, stands where NaN, as an array has it, stands."""
    assert standing(voted=True, confidence=None, tie=4) == standing(voted=True, confidence=NAN, tie=4)


def test_ties_are_the_same_on_every_machine():
    """The hash of an id is fixed for ever: labels of old runs must come out again."""
    assert ties(["a", "é", "日本"], 0).tolist() == [
        17081674079134001812,
        7313515514233190232,
        16354775206594067796,
    ]


def test_ties_depend_on_the_id_and_the_seed_only():
    """Neither the position of an item nor its company changes its hash; the seed does."""
    forwards, backwards = ties(["a", "b", "c"], 1), ties(["c", "b", "a"], 1)
    assert forwards.tolist() == backwards[::-1].tolist()
    assert not set(forwards.tolist()) & set(ties(["a", "b", "c"], 2).tolist())


def test_an_id_with_a_lone_surrogate_has_a_hash():
    """Text that is not valid Unicode, as JSON can hold it, is an id like any other."""
    assert len(set(ties(["\ud800", "\udfff", ""], 0).tolist())) == 3


def test_ties_of_no_items():
    """Nothing has no hashes."""
    assert ties([], 0).shape == (0,)
