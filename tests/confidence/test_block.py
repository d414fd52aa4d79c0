"""Batch calibration: the mean label distribution of a block is taken out of every vote."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.confidence.block import block_mean, calibrated
from catena.types import Vote

LABELS = ("a", "b")


def of(*masses, **more):
    """Return a vote with these probabilities."""
    label = LABELS[max(range(len(masses)), key=masses.__getitem__)] if len(masses) == 2 else "a"
    return Vote(label, 1.0, "label_logprobs", tuple(log(m) if m else None for m in masses), **more)


def test_the_mean():
    """Distributions are made to sum to 1 each; one item more, evenly spread, keeps every share above 0."""
    mean = block_mean([of(0.4, 0.1), of(0.6, 0.0), Vote("a")], LABELS)
    assert mean == pytest.approx({"a": (0.8 + 1.0 + 0.5) / 3, "b": (0.2 + 0.0 + 0.5) / 3})
    assert block_mean([Vote("a")], LABELS) == block_mean([], LABELS) == {}


def test_a_favoured_label_has_to_be_likelier():
    """Where the block gives `a` 3 times as much as `b`, 0.7 to 0.3 speaks for `b`."""
    vote = calibrated(of(0.7, 0.3), {"a": 0.75, "b": 0.25})
    assert vote.label == "b"
    assert vote.confidence == pytest.approx(log((0.3 / 0.25) / (0.7 / 0.75)))
    assert [exp(logprob) for logprob in vote.logprobs] == pytest.approx([0.4375, 0.5625])


def test_bounds_are_taken_along():
    """The confidence is the least margin of the weights between their bounds."""
    vote = of(0.6, 0.2, lower=(0.5, 0.2), upper=(0.7, 0.4))
    assert calibrated(vote, {"a": 0.5, "b": 0.5}).confidence == pytest.approx(log(0.5 / 0.4))
    assert calibrated(vote, {"a": 0.5, "b": 0.5}).lower == pytest.approx((0.5 / 0.9, 0.2 / 0.9))
    assert calibrated(vote, {"a": 0.5, "b": 0.5}).upper == pytest.approx((0.7 / 0.9, 0.4 / 0.9))
    assert calibrated(vote, {"a": 0.8, "b": 0.2}).confidence == pytest.approx(log(1.0 / 0.875))
    assert calibrated(vote, {"a": 0.6, "b": 0.4}).confidence == 0.0


def test_a_vote_without_distribution_stays():
    """There is nothing to divide."""
    vote = Vote("a", 0.8, "verbalised")
    assert calibrated(vote, {"a": 0.9, "b": 0.1}) is vote


@given(st.lists(st.lists(st.floats(1e-6, 1), min_size=2, max_size=2), min_size=1, max_size=9))
def test_a_fair_model_is_left_alone(rows):
    """Beside each distribution its mirror image, the mean is even, and no label changes."""
    votes = [of(*row) for row in rows]
    mean = block_mean([*votes, *[of(b, a) for a, b in rows]], LABELS)
    for vote in votes:
        again = calibrated(vote, mean)
        assert again.confidence >= 0
        assert again.label == vote.label or vote.logprobs[0] == pytest.approx(vote.logprobs[1])
