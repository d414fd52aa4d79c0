"""Agreement beyond chance, against published examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.evaluate.agreement import cohen_kappa, krippendorff_alpha


def votes(text):
    """Return label indices from digits, where a dot is no vote."""
    return np.array([-1 if each == "." else int(each) - 1 for each in text.split()], np.int16)


def test_kappa_of_the_textbook_table():
    """20 times both yes, 15 times both no, 5 and 10 times apart: .7 observed, .5 expected, kappa .4."""
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]).astype(np.int16)
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15]).astype(np.int16)
    assert cohen_kappa(first, second, 2) == (50, pytest.approx(0.4))


def test_kappa_is_over_what_both_have_labelled():
    """Items that one of them lacks do not count."""
    assert cohen_kappa(votes("1 2 . 1 2"), votes("1 2 1 . 2"), 2) == (3, 1.0)


def test_kappa_is_unknown_where_chance_explains_all():
    """Both always say the same label, or there is nothing in common."""
    assert cohen_kappa(votes("1 1"), votes("1 1"), 2) == (2, None)
    assert cohen_kappa(votes("1 ."), votes(". 1"), 2) == (0, None)


def test_alpha_of_krippendorffs_own_example():
    """Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: 4 observers, 12 units, alpha .743."""
    observers = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    assert krippendorff_alpha(np.array([votes(each) for each in observers]), 5) == pytest.approx(
        0.743, abs=5e-4
    )


def test_alpha_of_the_encyclopedias_example():
    """Three coders, 15 units, many gaps (Wikipedia, "Krippendorff's alpha"): nominal alpha .691."""
    coders = [
        ". . . . . 3 4 1 2 1 1 3 3 . 3",
        "1 . 2 1 3 3 4 3 . . . . . . .",
        ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
    ]
    assert krippendorff_alpha(np.array([votes(each) for each in coders]), 4) == pytest.approx(0.691, abs=5e-4)


def test_alpha_is_unknown_without_anything_to_compare():
    """One vote per item, or one label only."""
    assert krippendorff_alpha(np.array([votes("1 ."), votes(". 2")]), 2) is None
    assert krippendorff_alpha(np.array([votes("1 1"), votes("1 1")]), 2) is None


@given(st.lists(st.tuples(*[st.integers(-1, 2)] * 3), min_size=2, max_size=30))
def test_alpha_is_one_minus_observed_over_expected_pairs(items):
    """For any votes: the same as counting every ordered pair of votes by hand."""
    units = [[vote for vote in item if vote >= 0] for item in items]
    units = [unit for unit in units if len(unit) > 1]
    every = [vote for unit in units for vote in unit]
    observed = sum(
        sum(a != b for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j) / (len(unit) - 1)
        for unit in units
    )
    expected = sum(a != b for i, a in enumerate(every) for j, b in enumerate(every) if i != j)
    found = krippendorff_alpha(np.array(items, np.int16).T, 3)
    if not expected:
        assert found is None
    else:
        assert found == pytest.approx(
            1 - (observed / len(every)) / (expected / len(every) / (len(every) - 1))
        )
