"""`rank`: the paper's backward pass."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from catena.aggregate import normalised_ranks, rank
from catena.aggregate.rank import LOWEST
from catena.routing import least_first
from tables import NAN

CONFIDENCE = st.one_of(st.just(NAN), st.sampled_from([0.0, -0.0, 0.25, 0.5]), st.floats(-1, 1))


def ranks_of(seen, confidence):
    """Return the normalised ranks."""
    seen, confidence = np.array(seen), np.array(confidence, float)
    tie = np.arange(seen.shape[1], dtype=np.uint64)
    return np.stack(list(normalised_ranks(seen, confidence, least_first(seen, confidence, tie))))


def test_ranks_are_over_the_items_with_a_vote_at_that_link():
    """It is rank / n, where n counts the votes of the link on what reached it."""
    found = ranks_of(
        [[True, True, True, True], [False, True, False, True]], [[0.1, 0.2, 0.3, 0.4], [9, 0.2, 9, 0.1]]
    )
    assert found.tolist() == [[0.25, 0.5, 0.75, 1.0], [0, 1.0, 0, 0.5]]


def test_ties_take_the_largest_rank():
    """Equal confidences share the largest of their ranks."""
    assert ranks_of([[True] * 4], [[0.5, 0.1, 0.5, 0.9]]).tolist() == [[0.75, 0.25, 0.75, 1.0]]


def test_all_confidences_equal():
    """All equal: all rank 1, and the earliest link wins."""
    ranks = ranks_of([[True] * 3] * 2, [[0.5] * 3] * 2)
    assert ranks.tolist() == [[1.0] * 3] * 2
    assert rank(ranks).tolist() == [0, 0, 0]


def test_a_vote_without_confidence_ranks_below_every_vote_that_has_one():
    """NaN is below the least confidence of any link, and still above no vote."""
    found = ranks_of([[True, True, True, False], [True] * 4], [[NAN, -5.0, 1.0, 9.0], [1, 2, 3, 4]])
    assert found[0].tolist() == [LOWEST, 2 / 3, 1.0, 0.0]
    assert rank(found).tolist() == [1, 0, 0, 1]


def test_a_link_without_any_confidence_overrides_none_that_has_one():
    """Its votes count only where no other link has a vote with a confidence."""
    found = ranks_of([[True] * 3, [True, True, False]], [[NAN] * 3, [0.1, 0.2, 0.3]])
    assert rank(found).tolist() == [1, 1, 0]


def test_a_vote_without_confidence_ranks_below_minus_infinity():
    """An infinitely small confidence is one; NaN is none and ranks below it."""
    assert ranks_of([[True, True]], [[NAN, -np.inf]]).tolist() == [[LOWEST, 1.0]]


def test_the_highest_rank_wins_and_the_earliest_of_equals():
    """The first of equal ranks is the earliest link."""
    assert rank(np.array([[0.5, 0.5, 0.2], [0.6, 0.5, 0.0], [0.0, 0.5, 0.3]])).tolist() == [1, 0, 2]


def test_equal_ranks_of_links_that_saw_different_numbers_are_equal():
    """1 of 3 and 2 of 6 are the same rank: the earlier link wins, not the one that rounding prefers."""
    seen = [[True] * 6, [True] * 3 + [False] * 3]
    found = ranks_of(seen, [[2, 1, 6, 3, 4, 5], [1, 2, 3, 0, 0, 0]])
    assert found[0, 0] == found[1, 0] == 1 / 3
    assert rank(found)[0] == 0


def test_an_item_without_any_vote_has_none():
    """-1, never link 0."""
    assert rank(np.array([[0.0, 0.5], [0.0, 0.0]])).tolist() == [-1, 0]


def test_a_link_whose_votes_all_failed_ranks_nothing():
    """Failures have no rank; the other links decide."""
    ranks = ranks_of([[False, False], [True, True]], [[0.9, 0.9], [0.1, 0.2]])
    assert ranks.tolist() == [[0, 0], [0.5, 1.0]]
    assert rank(ranks).tolist() == [1, 1]


@given(st.data(), st.integers(1, 4), st.integers(1, 25))
def test_ranks_are_those_of_pandas(data, links, items):
    """Equal to `rank(method="max") / n` over the votes of each link; votes without confidence come first, and lowest."""
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=links * items, max_size=links * items)))
    confidence = np.array(data.draw(st.lists(CONFIDENCE, min_size=links * items, max_size=links * items)))
    seen, confidence = seen.reshape(links, items), confidence.reshape(links, items)
    expected = np.zeros((links, items))
    for j in range(links):
        column = pd.Series(confidence[j][seen[j]])
        ranks = column.fillna(-10.0).rank(method="max") / max(len(column), 1)
        expected[j, seen[j]] = ranks.where(column.notna(), LOWEST)
    assert ranks_of(seen, confidence).tolist() == expected.tolist()
