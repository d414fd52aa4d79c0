"""What the first items drawn let one expect of a promise."""

from dataclasses import replace

import numpy as np
import pytest

from catena.evaluate.certificate import Asked, certifier_of, certify
from catena.evaluate.looks import drawn_order, looks_at
from catena.evaluate.outlook import outlook
from panels import panel


def first_look(votes, agreement="0.9", seed=0, reference=None, most=None):
    """Return what the first look of a draw lets one expect."""
    asked = Asked(votes.links, reference or votes.links[-1], agreement, 0.1, seed, most)
    looks = looks_at(len(votes), asked.share, len(votes.links) - 1, most, own=asked.own)
    rows = drawn_order(votes.item_ids.tolist(), seed)[: looks.first]
    return outlook(certifier_of(votes, asked), rows, asked, looks)


@pytest.mark.parametrize("skill", [[1.2, 2.2], [1.0, 1.6, 2.4]], ids=len)
def test_about_so_many_go_on(skill):
    """The mean over 30 draws is within 15 points of what the promises then pass on."""
    votes, _ = panel(skill, n=1500)
    expected = [first_look(votes, "0.85", seed)["likely"]["escalated"] for seed in range(30)]
    came = []
    for seed in range(30):
        chain, found, _ = certify(votes, Asked(votes.links, votes.links[-1], "0.85", 0.1, seed, None), "")
        came.append((found.kept_by == chain.early).mean())
    assert 0.05 < np.mean(came) < 0.95
    assert abs(np.mean(expected) - np.mean(came)) < 0.15


def test_costs_are_those_of_all_items():
    """All early votes, the last link's on what goes on and what is drawn, against the last link alone."""
    votes, _ = panel([1.2, 2.2], n=1500, prices=[1, 10])
    likely = first_look(votes)["likely"]
    assert likely["alone_usd"] == pytest.approx(15_000)
    drawn = (1 - likely["escalated"]) * looks_at(
        1500, Asked((), "", "0.9", 0.1, 0, None).share, 1, None, own=True
    ).most
    assert likely["cost_usd"] == pytest.approx(1500 + 15_000 * likely["escalated"] + 10 * drawn)


@pytest.mark.parametrize(
    ("prices", "ends"), [([1, 10], False), ([9, 10], False), ([10, 10], True), ([12, 10], True)]
)
def test_links_that_cost_more_than_they_can_save_end_it(prices, ends):
    """A first link that agrees nearly always may cost nearly as much as the last, but not as much."""
    votes, _ = panel([3.0, 3.2], n=1500, prices=prices)
    why = first_look(votes)["ended"]
    assert (why is not None) == ends
    assert not ends or "more than any method can save" in why


def test_links_that_are_too_often_wrong_end_it():
    """At four fifths of the price, a link that is wrong on every second item can't pay."""
    votes, _ = panel([0.0, 3.0], n=1500, prices=[8, 10])
    assert "0.80x of what link1 does" in first_look(votes)["ended"]


def test_unknown_costs_end_nothing():
    """Nor do links that are free."""
    votes, _ = panel([0.6, 2.0], n=600)
    for cost in (np.nan, 0.0):
        found = first_look(replace(votes, cost_usd=np.full_like(votes.cost_usd, cost)))
        assert (found["ended"], found["likely"]["cost_usd"]) == (None, None)


def test_a_link_without_confidences_ends_it():
    """It can keep nothing, wherever it stands before the last; where only some votes have none, it can."""
    votes, _ = panel([0.6, 1.2, 2.0], n=900)
    for j in (0, 1):
        mute = replace(votes, confidence=votes.confidence.copy())
        mute.confidence[j] = np.nan
        assert f"votes of link{j} has a confidence" in first_look(mute)["ended"]
        mute.confidence[j, ::3] = votes.confidence[j, ::3]
        assert first_look(mute)["ended"] is None


def test_a_last_link_that_breaks_the_promise_ends_it():
    """Where gold is the reference; one that keeps it, or nearly, is given up in no more than a few draws."""
    bad, _ = panel([0.6, 1.0], n=1500)
    assert "link1 alone is wrong on" in first_look(bad, "0.95", reference="gold", most=400)["ended"]
    wrong = (bad.label[-1] != bad.gold).mean()
    edge = f"{1 - wrong - 0.001:.3f}"
    given_up = [first_look(bad, edge, seed, "gold", 400)["ended"] for seed in range(100)]
    assert sum(why is not None for why in given_up) <= 4
