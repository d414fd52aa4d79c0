"""`last`: the label of the link that kept the item, or the latest earlier vote."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catena.aggregate import last


def test_the_last_link_that_an_item_reached_labels_it():
    """Without failures it is the link that kept the item."""
    seen = np.array([[True, True, True], [True, True, False], [True, False, False]])
    assert last(seen).tolist() == [2, 1, 0]


def test_a_failed_last_link_falls_back_to_the_latest_earlier_vote():
    """Failures at the end give way to the nearest vote before them."""
    seen = np.array([[True, True], [True, False], [False, False]])
    assert last(seen).tolist() == [1, 0]


def test_an_item_without_any_vote_has_none():
    """-1, never link 0."""
    assert last(np.array([[False, True], [False, False]])).tolist() == [-1, 0]


def test_no_items():
    """No items, no sources."""
    assert last(np.zeros((3, 0), bool)).shape == (0,)


@given(
    st.integers(1, 5).flatmap(lambda m: st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=1))
)
def test_it_is_the_largest_index_with_a_vote(votes_of_items):
    """For any pattern of failures: the largest index of a link with a vote, else -1."""
    expected = [max((j for j, voted in enumerate(votes) if voted), default=-1) for votes in votes_of_items]
    assert last(np.array(votes_of_items).T).tolist() == expected
