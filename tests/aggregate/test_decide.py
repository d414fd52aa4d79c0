"""From votes to labels: routing and both rules together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catena.aggregate import decide
from catena.routing import exact_shares, ties
from tables import NAN


def decision_of(label, confidence, shares=None, seed=0):
    """Decide; a negative label is a failure."""
    label, confidence = np.array(label, np.int16), np.array(confidence, float)
    tie = ties([f"item{i}" for i in range(label.shape[1])], seed)
    return decide(label >= 0, confidence, exact_shares(shares, len(label)), tie)


def test_an_item_reaches_every_link_up_to_the_one_that_keeps_it():
    """`reached` is a prefix of the chain for each item."""
    decision = decision_of([[0] * 3] * 3, [[0.1, 0.2, 0.3], [0.1, 0.2, 0.0], [0.5] * 3])
    assert decision.kept_by.tolist() == [2, 1, 0]
    assert decision.reached.T.tolist() == [[True, True, True], [True, True, False], [True, False, False]]


def test_the_two_rules_may_take_different_votes():
    """`last` takes the keeper's label, `rank` that of the link where the item stands highest."""
    label = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], np.int16)
    decision = decision_of(label, [[0.4, 0.3, 0.2, 0.1], [0, 0, 0.1, 0.2]], ["1/4", "3/4"])
    assert decision.kept_by.tolist() == [0, 1, 1, 1]
    assert decision.labels("last", label).tolist() == [0, 1, 1, 1]
    assert decision.labels("rank", label).tolist() == [0, 0, 1, 1]


def test_an_item_whose_last_link_failed_takes_an_earlier_vote():
    """The keeper has no label: the latest earlier vote, or the one of highest rank."""
    label = np.array([[0, 1, 0], [1, 0, 1], [-1, -1, -1]], np.int16)
    decision = decision_of(label, [[0.1, 0.2, 0.3], [0.1, 0.2, 0.0], [0.5] * 3])
    assert decision.kept_by.tolist() == [2, 1, 0]
    assert decision.last.tolist() == [1, 1, 0]
    assert decision.rank.tolist() == [1, 1, 0]


def test_an_item_without_any_vote_has_no_label():
    """All links failed: -1 under both rules, though the links have confidences."""
    label = np.array([[-1, 0], [-1, 1]], np.int16)
    decision = decision_of(label, [[0.9, 0.1], [0.9, 0.1]])
    for rule in ("rank", "last"):
        assert decision.source(rule)[0] == -1
        assert decision.labels(rule, label)[0] == -1


def test_a_link_where_all_votes_failed_changes_no_label():
    """A dead first link takes its items down the chain to the fallback; nobody else's label changes."""
    label = np.array([[-1] * 4, [0, 1, 0, 1]], np.int16)
    decision = decision_of(label, [[0.5] * 4, [0.1, 0.2, 0.3, 0.4]])
    kept = decision.kept_by == 0
    assert kept.sum() == 2
    for rule in ("rank", "last"):
        assert decision.labels(rule, label).tolist() == np.where(kept, -1, label[1]).tolist()


def test_votes_that_an_item_does_not_reach_are_not_looked_at():
    """A live run has no votes beyond the keeper; the simulator has. Both decide the same."""
    rng = np.random.default_rng(3)
    label, confidence = rng.integers(-1, 3, (4, 50)), rng.choice([0.1, 0.2, 0.3, NAN], (4, 50))
    whole = decision_of(label, confidence)
    live = decision_of(np.where(whole.reached, label, -1), np.where(whole.reached, confidence, NAN))
    assert whole.kept_by.tolist() == live.kept_by.tolist()
    assert whole.rank.tolist() == live.rank.tolist()
    assert whole.last.tolist() == live.last.tolist()


CELL = st.tuples(st.integers(-1, 2), st.one_of(st.just(NAN), st.sampled_from([0.1, 0.2]), st.floats(0, 1)))


@given(
    st.integers(1, 4).flatmap(
        lambda m: st.lists(st.lists(CELL, min_size=m, max_size=m), min_size=1, max_size=20)
    )
)
def test_every_item_comes_out_once_with_a_vote_it_has_seen(items):
    """For any votes: one keeper each, a source that it has seen, no label only where no vote was seen."""
    label = np.array([[cell[0] for cell in item] for item in items], np.int16).T
    decision = decision_of(label, np.array([[cell[1] for cell in item] for item in items]).T)
    assert decision.reached.sum(axis=0).tolist() == (decision.kept_by + 1).tolist()
    for source in (decision.rank, decision.last):
        assert ((source >= 0) == decision.seen.any(axis=0)).all()
        taken = source >= 0
        assert decision.seen[source[taken], np.flatnonzero(taken)].all()


@given(st.integers(1, 30), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(items, seed, random):
    """Shuffling the rows shuffles the answer and changes nothing else."""
    rng = np.random.default_rng(items)
    label, confidence = rng.integers(-1, 2, (3, items)), rng.choice([0.1, 0.2, NAN], (3, items))
    tie = ties([f"item{i}" for i in range(items)], seed)
    order = list(range(items))
    random.shuffle(order)
    shares = exact_shares(None, 3)
    whole = decide(label >= 0, confidence, shares, tie)
    shuffled = decide(label[:, order] >= 0, confidence[:, order], shares, tie[order])
    assert whole.rank[order].tolist() == shuffled.rank.tolist()
    assert whole.last[order].tolist() == shuffled.last.tolist()
