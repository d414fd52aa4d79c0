"""Shares of labels by prediction-powered inference."""

import numpy as np
import pytest

from catena.errors import InputError
from catena.evaluate.prevalence import class_shares, powered_mean

LABELS = ("favor", "against", "none")


def population(seed, n=4000, right=0.85, shares=(0.15, 0.35, 0.5)):
    """Return gold of all rows and the labels of a chain, which says `none` too often."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(3, n, p=shares).astype(np.int16)
    wrong = np.where(rng.random(n) < 0.6, 2, rng.integers(0, 3, n))
    return gold, np.where(rng.random(n) < right, gold, wrong).astype(np.int16)


def sampled(gold, count, seed):
    """Return gold on a random sample, -1 elsewhere."""
    here = np.random.default_rng(seed).permutation(len(gold))[:count]
    found = np.full(len(gold), -1, np.int16)
    found[here] = gold[here]
    return found


def test_the_mean_by_hand():
    """Gold 1 1 0 0, predicted 1 0 0 0, elsewhere 1 1 0 0: full weight moves the mean by .5 - .25."""
    gold, predicted = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 0, 0])
    found = powered_mean(gold, predicted, predicted[[0, 0, 1, 2]], weight=1.0)
    assert found.mean == pytest.approx(0.5 + 0.5 - 0.25)
    # Gold less predicted is 0 1 0 0: variance 3/16, over 4; predictions elsewhere 1/4, over 4.
    assert found.error == pytest.approx(np.sqrt(3 / 64 + 1 / 16))


def test_the_weight_by_hand():
    """Covariance .125, pooled variance of 1 0 0 0 1 1 0 0 is 15/64, n = N: .125 / (2 x 15/64) = 4/15."""
    gold, predicted = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 0, 0])
    assert powered_mean(gold, predicted, predicted[[0, 0, 1, 2]]).weight == pytest.approx(4 / 15)


def test_useless_predictions_have_no_weight():
    """Constant ones, those that follow nothing, and none at all leave the mean of the sample."""
    gold = np.array([1.0, 0, 1, 0])
    for predicted, elsewhere in (
        (np.ones(4), np.ones(9)),
        (np.array([0.0, 1, 0, 1]), np.ones(9)),
        (gold, gold[:0]),
    ):
        found = powered_mean(gold, predicted, elsewhere)
        assert (found.mean, found.weight) == (0.5, 0.0)
        assert found.error == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_that_of_ppi_python(seed):
    """The authors' own package gives the same estimate and the same interval."""
    package = pytest.importorskip("ppi_py", reason="ppi-python (numba, statsmodels) is not installed")
    gold, label = population(seed)
    truth, here, rest = (each.astype(float) for each in (gold[:200] == 1, label[:200] == 1, label[200:] == 1))
    found = powered_mean(truth, here, rest)
    assert found.mean == pytest.approx(
        float(np.ravel(package.ppi_mean_pointestimate(truth, here, rest))[0]), abs=2e-4
    )
    low, high = (float(np.ravel(each)[0]) for each in package.ppi_mean_ci(truth, here, rest, alpha=0.05))
    assert found.mean - 1.96 * found.error == pytest.approx(low, abs=5e-4)
    assert found.mean + 1.96 * found.error == pytest.approx(high, abs=5e-4)


@pytest.mark.parametrize("right", [0.3, 0.85, 0.99, 1.0])
def test_intervals_hold_the_truth(right):
    """95 % intervals hold it in at least 90 of 100 draws, for each label, whether labels are bad, good or perfect."""
    held = np.zeros(3)
    for seed in range(100):
        gold, label = population(seed, right=right)
        truth = np.bincount(gold, minlength=3) / len(gold)
        shares = class_shares(sampled(gold, 150, seed), label, LABELS)
        held += [each.low <= share <= each.high for each, share in zip(shares, truth, strict=True)]
    assert held.min() >= 90


def test_a_rare_label_that_the_sample_lacks_has_an_interval():
    """1 % of the rows, about one of them in a sample of 100: no interval is a point, and they hold the truth."""
    held = 0
    for seed in range(100):
        gold, label = population(seed, shares=(0.01, 0.49, 0.5))
        share = class_shares(sampled(gold, 100, seed), label, LABELS)[0]
        assert share.high > share.low
        held += share.low <= (gold == 0).mean() <= share.high
    assert held >= 90


def test_good_labels_make_intervals_narrower():
    """Than from the sample alone, where the labels are mostly right; never much wider where they are not."""
    for right, most in ((0.95, 0.7), (0.0, 1.05)):
        gold, label = population(0, right=right)
        for each in class_shares(sampled(gold, 200, 0), label, LABELS):
            assert each.high - each.low < most * (each.gold_high - each.gold_low)


def test_a_bias_of_the_labels_is_taken_off():
    """A chain that says `none` too often: on average over samples the estimate is the truth, the labels' share is not."""
    gold, label = population(0)
    truth = (gold == 2).mean()
    found = [class_shares(sampled(gold, 200, seed), label, LABELS)[2] for seed in range(100)]
    assert abs(np.mean([each.share for each in found]) - truth) < 0.008
    assert found[0].labelled - truth > 0.03


def test_unlabelled_rows_count_for_no_label():
    """The sample tells what they are."""
    gold = np.zeros(1000, np.int16)
    label = np.where(np.arange(1000) % 4 == 0, -1, 0).astype(np.int16)
    first = class_shares(sampled(gold, 100, 0), label, LABELS)[0]
    assert first.labelled == 0.75
    assert first.high > 0.97


def test_too_little_gold_and_no_level_are_refused():
    """19 rows say little; a level is a share."""
    gold, label = population(0)
    with pytest.raises(InputError, match="19 rows have gold: too few"):
        class_shares(sampled(gold, 19, 0), label, LABELS)
    with pytest.raises(InputError, match="--level 95"):
        class_shares(sampled(gold, 50, 0), label, LABELS, level=95)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_ppi_python(seed):
    """Estimate and interval of its authors' package, where it is installed, to a hundredth of the interval."""
    ppi = pytest.importorskip("ppi_py", reason="ppi-python is not installed")
    gold, label = population(seed)
    here = np.random.default_rng(seed).permutation(len(gold))[:400]
    rest = np.setdiff1d(np.arange(len(gold)), here)
    for at in range(len(LABELS)):
        truth, said, elsewhere = (
            (part == at).astype(float) for part in (gold[here], label[here], label[rest])
        )
        mine = powered_mean(truth, said, elsewhere)
        low, high = (float(np.ravel(end)[0]) for end in ppi.ppi_mean_ci(truth, said, elsewhere, alpha=0.05))
        width = high - low
        assert mine.mean == pytest.approx((low + high) / 2, abs=0.01 * width)
        assert 2 * 1.96 * mine.error == pytest.approx(width, rel=0.01)
