"""AUROC and calibration error."""

import numpy as np
import pytest

from catena.evaluate.reliability import auroc, calibration_error


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
