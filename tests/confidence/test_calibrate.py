"""Calibration: evidence that is worth what it says."""

import numpy as np
import pytest

from catena.confidence.calibrate import design_of, fit_evidence, log_softmax, normal_score
from panels import panel

FLAT = np.log(np.full(3, 1 / 3))


def fitted(labels=3, logprobs=False, n=600, **more):
    """A link's design on a panel, its parameters, and the votes."""
    votes, words = panel([1.0], n=n, labels=labels, **more)
    given = words[0].astype(float) if logprobs else None
    design = design_of(votes.label[0], votes.confidence[0], given, labels)
    prior = np.log(np.full(labels, 1 / labels))
    return design, fit_evidence(design, votes.gold, prior, np.arange(n)), votes, given


@pytest.mark.parametrize("labels", [3, 13])
@pytest.mark.parametrize("logprobs", [False, True])
def test_what_is_written_down_is_what_was_fitted(labels, logprobs):
    """The calibrator gives the evidence of the design, to its rounding."""
    design, parameters, votes, given = fitted(labels, logprobs, lost=0.1)
    written = design.calibrator(parameters).evidence(votes.label[0], votes.confidence[0], given)
    assert np.abs(written - design.inputs @ parameters).max() < 2e-4


@pytest.mark.parametrize("logprobs", [False, True])
def test_posteriors_are_hit_rates(logprobs):
    """Of the items with a posterior in a band, that share is right."""
    design, parameters, votes, _ = fitted(logprobs=logprobs, n=4000)
    chances = np.exp(log_softmax(FLAT + design.inputs @ parameters))
    sure, right = chances.max(1), chances.argmax(1) == votes.gold
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        band = (sure >= low) & (sure < high)
        assert band.sum() > 100
        assert abs(sure[band].mean() - right[band].mean()) < 0.06


def test_a_missing_vote_is_no_evidence():
    """Its row is zero."""
    design, parameters, votes, _ = fitted(lost=0.3)
    evidence = design.calibrator(parameters).evidence(votes.label[0], votes.confidence[0])
    assert (evidence[votes.label[0] < 0] == 0).all()
    assert (evidence[votes.label[0] >= 0] != 0).any(1).all()


def test_blind_confidence_has_a_small_slope():
    """A confidence that says nothing moves the evidence little; one that says something moves it."""
    blind = fitted(blind=True)
    seeing = fitted()
    slope = [each[0].calibrator(each[1]).slope for each in (blind, seeing)]
    assert abs(slope[0]) < 0.25
    assert slope[1] > 0.5


def test_ties_stand_at_their_middle():
    """Two values, half and half: as far below as above the middle."""
    confidence = np.repeat([0.0, 1.0], 50)
    design = design_of(np.zeros(100, np.int16), confidence, None, 3)
    low, high = normal_score(*design.shape, np.array([0.0, 1.0]))
    assert low == pytest.approx(-high, abs=0.01)
    assert 0.6 < high < 0.75


def test_no_confidence_stands_in_the_middle():
    """None at all, all the same, or one that is missing: 0."""
    for confidence in (np.full(50, np.nan), np.ones(50)):
        design = design_of(np.zeros(50, np.int16), confidence, None, 3)
        assert (normal_score(*design.shape, confidence) == 0).all()
    assert normal_score([0.0, 1.0], [-1.0, 1.0], np.array([np.nan]))[0] == 0


def test_separable_votes_have_finite_evidence():
    """A link that is always right on a small pilot is not believed without bound."""
    gold = np.arange(40) % 3
    design = design_of(gold.astype(np.int16), np.ones(40), None, 3)
    parameters = fit_evidence(design, gold, FLAT, np.arange(40))
    assert np.abs(parameters).max() < 8
