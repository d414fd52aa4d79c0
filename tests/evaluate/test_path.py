"""Paths from strict to loose: what each cut keeps is what its thresholds keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.evaluate.path import fit_curve, lay, normal_scores

NAN = float("nan")


def kept_by_thresholds(thresholds, voted, confidence):
    """Route as the policy does: the first link whose vote is at least its threshold."""
    for j, least in enumerate(thresholds):
        if voted[j] and confidence[j] >= least:
            return j
    return len(thresholds)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 9]))
def test_cuts_are_thresholds(links, items, seed, digits):
    """Under ties, failed votes and missing confidences, scores and thresholds keep the same items; counts are true."""
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.normal(size=(links, items)), digits)
    confidence[rng.random((links, items)) < 0.1] = NAN
    voted = rng.random((links, items)) < 0.9
    score = normal_scores(voted, confidence) * rng.uniform(0.1, 2, (links, 1)) + rng.normal(size=(links, 1))
    path = lay(score, confidence, int(rng.integers(0, items + 1)))
    kept_by = path.kept_by(score)
    for thresholds, kept, found in zip(path.thresholds, path.kept, kept_by, strict=True):
        routed = [kept_by_thresholds(thresholds, voted[:, i], confidence[:, i]) for i in range(items)]
        assert found.tolist() == routed
        assert (found < links).sum() == kept
    assert (np.diff(path.kept) > 0).all()
    assert path.kept[0] == 0
    assert path.kept[-1] == np.isfinite(score).any(0).sum()


def test_a_long_path_has_even_steps():
    """About a hundred cuts, whatever the number of items; the first tested one keeps more than `least`."""
    confidence = np.random.default_rng(0).normal(size=(1, 10_000))
    path = lay(normal_scores(np.ones((1, 10_000), bool), confidence), confidence, 1000)
    assert path.kept.tolist() == [0, *range(1000, 10_001, 90)]
    assert path.thresholds[0] == np.inf


def test_scores_are_ranks():
    """Equal confidences have equal scores, surer ones higher; what is never kept has none."""
    score = normal_scores(np.array([[True, True, True, False, True]]), np.array([[0.5, 0.9, 0.5, 0.7, NAN]]))
    assert score[0, 0] == score[0, 2] < score[0, 1]
    assert np.isneginf(score[0, 3:]).all()


def test_a_curve_finds_what_votes_are_worth():
    """With many votes level and slope are found; with none they are the prior's."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=20_000)
    agrees = rng.random(20_000) < 1 / (1 + np.exp(-(0.4 + 1.5 * score)))
    assert fit_curve(score, agrees) == pytest.approx((0.4, 1.5), abs=0.06)
    assert fit_curve(np.zeros(0), np.zeros(0, bool)) == (1.0, 0.8)


def test_surer_is_never_worth_less():
    """A link whose confidence points the wrong way has a flat curve."""
    score = np.random.default_rng(0).normal(size=500)
    assert fit_curve(score, score < 0)[1] == pytest.approx(0.05)
