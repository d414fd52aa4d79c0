"""`minmax`: the label of the link where the confidence lies highest between the least and the largest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catena.aggregate import minmax, scaled

NAN, INF = float("nan"), float("inf")


def source(confidence, seen=None):
    """Return whose vote each item takes."""
    values = np.array(confidence, float)
    here = np.ones(values.shape, bool) if seen is None else np.array(seen, bool)
    return minmax(scaled(here, values)).tolist()


def test_scaled_within_each_link():
    """10 of 0 to 20 is a half, 9 of 8 to 9 is 1: confidences of links are not compared as they are."""
    places = list(scaled(np.ones((2, 3), bool), np.array([[0.0, 10.0, 20.0], [8.0, 9.0, 8.5]])))
    assert [each.tolist() for each in places] == [[0.0, 0.5, 1.0], [0.0, 1.0, 0.5]]
    assert source([[0, 10, 20], [8, 9, 8.5]]) == [0, 1, 0]


def test_only_what_the_link_saw_counts():
    """The range is over the items that reached it."""
    assert source([[0.4, 0.5, 1.0], [5.0, 7.0, 100.0]], [[1, 1, 1], [1, 1, 0]]) == [0, 1, 0]


def test_equal_places_go_to_the_earliest_link():
    """And where all confidences of a link are equal, all are the largest."""
    assert source([[3, 3], [1, 2]]) == [0, 0]
    assert source([[1, 2], [3, 3]]) == [1, 0]


def test_votes_without_confidence_come_after_all_others():
    """But before no vote at all, and an item without any vote has none."""
    assert source([[NAN, 1.0, 0.0, NAN], [0.0, 1.0, NAN, NAN]]) == [1, 0, 0, 0]
    assert source([[0.5, 0.5], [NAN, 0.5]], [[0, 0], [1, 0]]) == [1, -1]


def test_infinite_confidences_lie_beyond_the_range():
    """And have no part in it."""
    assert source([[INF, 1.0, 0.0], [1.0, 0.0, 0.5]]) == [0, 0, 1]
    assert source([[-INF, 1.0, 0.0], [0.0, 1.0, 0.5]]) == [1, 0, 1]


@given(st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_it_is_the_largest_scaled_value(links, items, random):
    """For any finite votes: as by hand, item by item."""
    values = [[float(random.randrange(9)) for _ in range(items)] for _ in range(links)]
    expected = []
    for i in range(items):
        places = [
            1.0 if max(row) == min(row) else (row[i] - min(row)) / (max(row) - min(row)) for row in values
        ]
        expected.append(places.index(max(places)))
    assert source(values) == expected
