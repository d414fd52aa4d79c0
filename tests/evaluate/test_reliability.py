"""AUROC and calibration error."""

import numpy as np
import pytest

from catena.evaluate.reliability import (
    auroc,
    calibration_error,
    coverage_risk,
    expected_calibration_error,
    reliability_diagram,
)


def test_auroc_by_hand():
    """Of the four pairs of a right and a wrong vote three are in order and one is a tie."""
    right = np.array([True, True, False, False])
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), right) == pytest.approx(3.5 / 4)
    assert auroc(np.array([0.9, np.nan, 0.5, 0.1]), right) == pytest.approx(2 / 4)


def test_auroc_needs_right_and_wrong():
    """With one of them only there is none."""
    assert auroc(np.array([0.1, 0.2]), np.array([True, True])) is None


def test_calibration_error_by_hand():
    """All say 0.8; half are right."""
    assert calibration_error(np.full(20, 0.8), np.arange(20) % 2 == 0, bins=1) == pytest.approx(0.3)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) is None


def test_the_reliability_diagram_by_hand():
    """Two bins of equal width; the edge .5 belongs to the lower one, 0 to the first."""
    chance = np.array([0.0, 0.5, 0.6, 1.0])
    low, high = reliability_diagram(chance, np.array([False, True, False, True]), bins=2)
    assert (low.low, low.high, low.n, low.mean_probability, low.hit_rate) == (0.0, 0.5, 2, 0.25, 0.5)
    assert (high.n, high.mean_probability, high.hit_rate) == (2, 0.8, 0.5)


def test_an_empty_bin_has_no_rates():
    """None, not 0 and not NaN."""
    first, second = reliability_diagram(np.array([0.9]), np.array([True]), bins=2)
    assert (first.n, first.mean_probability, first.hit_rate) == (0, None, None)
    assert second.n == 1


def test_the_expected_calibration_error_by_hand():
    """Guo et al. 2017, equation 3: gaps of .25 and .3 on two items each make .275."""
    chance = np.array([0.0, 0.5, 0.6, 1.0])
    diagram = reliability_diagram(chance, np.array([False, True, False, True]), bins=2)
    assert expected_calibration_error(diagram) == pytest.approx((0.25 * 2 + 0.3 * 2) / 4)
    assert expected_calibration_error(reliability_diagram(np.zeros(0), np.zeros(0, bool))) is None


def test_true_probabilities_have_next_to_no_error():
    """100,000 labels that are right as often as they say."""
    rng = np.random.default_rng(0)
    chance = rng.random(100_000)
    assert expected_calibration_error(reliability_diagram(chance, rng.random(100_000) < chance)) < 0.01


def test_the_coverage_risk_curve_by_hand():
    """Right, then a right and a wrong one of equal confidence, then a wrong one: 0, .25, 1/3, .5."""
    found = coverage_risk(np.array([0.1, 0.8, 0.9, 0.8]), np.array([False, True, True, False]))
    assert found.coverage == (0.25, 0.5, 0.75, 1.0)
    assert found.risk == pytest.approx((0.0, 0.25, 1 / 3, 0.5))
    assert found.area == pytest.approx((0 + 0.25 + 1 / 3 + 0.5) / 4)


def test_a_vote_without_confidence_is_covered_last():
    """Below minus infinity's neighbours; and nothing has no curve."""
    found = coverage_risk(np.array([np.nan, 0.5]), np.array([False, True]))
    assert found.risk == (0.0, 0.5)
    assert coverage_risk(np.zeros(0), np.zeros(0, bool)) is None


def test_a_long_curve_is_shown_at_100_points():
    """Up to full coverage, where the risk is the error rate; the area is over all items."""
    rng = np.random.default_rng(0)
    sure, right = rng.random(1234), rng.random(1234) < 0.7
    found = coverage_risk(sure, right)
    order = np.argsort(-sure)
    every = np.cumsum(~right[order]) / np.arange(1, 1235)
    assert len(found.coverage) == len(found.risk) == 100
    assert (found.coverage[-1], found.risk[-1]) == (1.0, pytest.approx(1 - right.mean()))
    assert found.area == pytest.approx(every.mean())
