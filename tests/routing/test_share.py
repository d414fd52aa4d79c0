"""Fixed shares: exact quotas, and the same sets in a stream as in one go."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.errors import InputError
from catena.routing import ShareStream, exact_shares, least_first, quotas, route_by_share, standing, ties
from tables import NAN


def ids(count):
    """Return some ids."""
    return [f"item{i}" for i in range(count)]


def kept_by(confidence, shares=None, voted=None):
    """Return which link keeps each item."""
    values = np.array(confidence, float)
    voted = np.ones(values.shape, bool) if voted is None else np.array(voted)
    order = least_first(voted, values, ties(ids(values.shape[1]), 0))
    return route_by_share(order, exact_shares(shares, len(values)))


def counts(kept, links):
    """Return how many items each link keeps."""
    return np.bincount(kept, minlength=links).tolist()


def test_900_items_with_three_confidence_values_split_evenly():
    """Ties don't widen a quota: 300/300/300, where the reference splits 640/168/92."""
    confidence = np.random.default_rng(0).choice([0.1, 0.5, 0.9], (3, 900), p=[0.1, 0.2, 0.7])
    assert counts(kept_by(confidence), 3) == [300, 300, 300]


def test_all_confidences_equal():
    """A link that can't tell its items apart still keeps its quota."""
    assert counts(kept_by(np.ones((3, 10))), 3) == [3, 3, 4]


def test_no_confidences_at_all():
    """Links without confidences keep their quotas, by the seeded hash."""
    assert counts(kept_by(np.full((2, 9), NAN)), 2) == [4, 5]


def test_one_item_goes_to_the_last_link():
    """floor(1/3) = 0 and floor(1/2) = 0: the last link keeps the only item."""
    assert kept_by([[0.9], [0.9], [0.1]]).tolist() == [2]


def test_two_items_and_three_links():
    """Fewer items than links: the first keeps none, the second its surer one, the last the other."""
    assert kept_by([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]).tolist() == [2, 1]


def test_one_link_keeps_everything():
    """A chain of one link routes nothing."""
    assert kept_by([[0.1, NAN, 0.3]]).tolist() == [0, 0, 0]


def test_the_surest_are_kept_and_ranked_again_among_those_that_arrive():
    """Each link keeps the surest of what reaches it, not of all items."""
    assert kept_by(
        [[0.9, 0.8, 0.2, 0.1], [1.0, 0.9, 0.3, 0.4], [0.0] * 4], ["1/2", "1/4", "1/4"]
    ).tolist() == [0, 0, 2, 1]


def test_failed_votes_count_for_the_quota_and_are_kept_last():
    """Quotas count failures: a link that fails on all but one item keeps that one and fills up with failures."""
    voted = [[False, False, True, False], [True] * 4]
    kept = kept_by([[0.9, 0.9, 0.1, 0.9], [0.5] * 4], voted=voted)
    assert counts(kept, 2) == [2, 2]
    assert kept[2] == 0


def test_a_link_where_all_votes_failed_keeps_its_quota():
    """A dead link neither starves nor floods the next one."""
    assert counts(kept_by(np.ones((3, 9)), voted=[[False] * 9, [True] * 9, [True] * 9]), 3) == [3, 3, 3]


def test_a_share_of_zero_keeps_nothing():
    """A link with share 0 sees its items and forwards them all."""
    assert counts(kept_by(np.ones((3, 10)), ["0", "0.5", "0.5"]), 3) == [0, 5, 5]


@pytest.mark.parametrize(
    ("shares", "items", "kept"),
    [
        ([0.1, 0.2, 0.7], 10, [1, 2, 7]),
        ([0.1, 0.2, 0.7], 1000, [100, 200, 700]),
        (["0.1", "0.2", "0.7"], 30, [3, 6, 21]),
        ([1 / 3, 1 / 3, 1 / 3], 900, [300, 300, 300]),
        (["1/3", "1/3", "1/3"], 10, [3, 3, 4]),
        (["0.333333", "0.333333", "0.333334"], 900, [299, 300, 301]),
        (["0.333333", "0.333333", "0.333334"], 3_000_000, [999_999, 999_999, 1_000_002]),
        (None, 11, [3, 4, 4]),
    ],
)
def test_quotas_are_exact(shares, items, kept):
    """floor(n_j s_j / (s_j + ... + s_m)) with decimals taken at their word; no binary rounding loses an item."""
    assert [keeps for _, keeps in quotas(items, exact_shares(shares, 3))] == kept


def test_equal_shares_are_the_papers():
    """Without shares link j of m keeps floor(n_j / (m - j)), for any n and m."""
    for links in range(1, 7):
        for items in range(200):
            left = items
            for j, (received, keeps) in enumerate(quotas(items, exact_shares(None, links))):
                assert (received, keeps) == (left, left // (links - j))
                left -= keeps


@given(st.integers(0, 10**12), st.lists(st.fractions(0, 1), min_size=1, max_size=6))
def test_quotas_use_up_the_items(items, weights):
    """What the links keep sums to the items, and each receives what is left."""
    weights[-1] += 1
    split = quotas(items, [weight / sum(weights) for weight in weights])
    assert sum(keeps for _, keeps in split) == items
    assert all(0 <= keeps <= received for received, keeps in split)


def test_numbers_of_numpy_are_taken_at_their_word():
    """A share from an array is the decimal that it prints as."""
    assert exact_shares(np.array([0.1, 0.9]), 2) == (Fraction(1, 10), Fraction(9, 10))


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        (["0.5", "0.4"], "sum to 1"),
        ([0.5, 0.6], "sum to 1"),
        ([1.5, -0.5], "at least 0"),
        ([1, 0], "last link"),
        ([0.5, 0.25, 0.25], "3 shares for 2 links"),
        ([1.0], "1 shares for 2 links"),
        ([], "0 shares for 2 links"),
        (["half", "half"], "numbers"),
        ([NAN, 0.5], "numbers"),
        ([np.inf, 0.5], "numbers"),
        ([None, 1], "numbers"),
        (["1/0", 1], "numbers"),
    ],
)
def test_shares_that_do_not_fit_are_input_errors(shares, says):
    """Wrong shares are refused in one line that says what is wrong with them."""
    with pytest.raises(InputError, match=says) as error:
        exact_shares(shares, 2)
    assert "\n" not in str(error.value)


VOTES = st.lists(
    st.tuples(st.booleans(), st.one_of(st.just(NAN), st.sampled_from([0.1, 0.2, 0.3]), st.floats(0, 1))),
    min_size=1,
    max_size=40,
)


@given(VOTES, st.data(), st.integers(0, 3))
def test_a_stream_decides_as_the_whole_and_releases_early(votes, data, seed):
    """In any order of arrival the stream keeps what `route_by_share` keeps; each arrival after the k-th releases exactly
    one item, at once, and no item is released twice.
    """
    n = len(votes)
    keeps = data.draw(st.integers(0, n))
    arrivals = data.draw(st.permutations(range(n)))
    tie = ties(ids(n), seed)
    voted = np.array([[v for v, _ in votes]] * 2)
    confidence = np.array([[c for _, c in votes]] * 2)
    share = Fraction(keeps, n)
    whole = route_by_share(least_first(voted, confidence, tie), [share, 1 - share])
    kept = set(np.flatnonzero(whole == 0).tolist())
    stream = ShareStream(keeps)
    released = [
        stream.offer(row, standing(voted=votes[row][0], confidence=votes[row][1], tie=int(tie[row])))
        for row in arrivals
    ]
    assert all(row is None for row in released[:keeps])
    forwarded = released[keeps:]
    assert None not in forwarded
    assert len(set(forwarded)) == len(forwarded) == n - keeps
    assert set(forwarded) == set(range(n)) - kept


def test_a_stream_that_keeps_nothing_forwards_at_once():
    """With a quota of 0 each item is forwarded as it arrives."""
    stream = ShareStream(0)
    assert [stream.offer(row, (2, 0.5, row)) for row in (3, 1, 2)] == [3, 1, 2]


def test_a_stream_forwards_nothing_that_it_could_still_keep():
    """With a quota of all items nothing is forwarded."""
    stream = ShareStream(3)
    assert [stream.offer(row, (2, 0.5, row)) for row in (3, 1, 2)] == [None, None, None]
