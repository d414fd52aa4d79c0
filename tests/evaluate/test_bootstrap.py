"""Intervals and paired tests by resampling."""

import math

import numpy as np
import pytest

from catena.evaluate.bootstrap import intervals, macro_f1_difference
from catena.evaluate.metrics import score

NAMES = ("a", "b", "c")


def drawn(n=200, right=0.7, seed=0, labels=3):
    """Return gold and labels of which a share is right."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, labels, n).astype(np.int16)
    guess = rng.integers(-1, labels, n)
    return gold, np.where(rng.random(n) < right, gold, guess).astype(np.int16)


def binomial_quantile(n, chance, level):
    """Return the smallest count whose cumulative probability reaches the level."""
    total = 0.0
    for count in range(n + 1):
        total += math.comb(n, count) * chance**count * (1 - chance) ** (n - count)
        if total >= level:
            return count
    return n


def test_the_interval_of_accuracy_is_that_of_the_binomial_distribution():
    """Resampling 100 items of which 80 are right is drawing from a binomial distribution."""
    gold = np.zeros(100, np.int16)
    label = np.repeat([0, 1], [80, 20]).astype(np.int16)
    found = intervals(gold, label, 2)["accuracy"]
    assert found.low == pytest.approx(binomial_quantile(100, 0.8, 0.025) / 100, abs=0.011)
    assert found.high == pytest.approx(binomial_quantile(100, 0.8, 0.975) / 100, abs=0.011)


def test_counting_kinds_is_resampling_items():
    """The interval of macro-F1 is that of drawing the items themselves with replacement, one by one."""
    gold, label = drawn()
    rng = np.random.default_rng(1)
    draws = rng.integers(0, len(gold), (1500, len(gold)))
    scores = [score(gold[draw], label[draw], NAMES).macro_f1 for draw in draws]
    found = intervals(gold, label, 3)["macro_f1"]
    assert found.low == pytest.approx(np.quantile(scores, 0.025), abs=0.012)
    assert found.high == pytest.approx(np.quantile(scores, 0.975), abs=0.012)


def test_named_labels_are_what_macro_f1_is_over():
    """The interval holds the figure that it belongs to."""
    gold, label = drawn(500)
    found = intervals(gold, label, 3, over=[0, 1])["macro_f1"]
    assert found.low < score(gold, label, NAMES, over=["a", "b"]).macro_f1 < found.high


def test_the_same_seed_gives_the_same_interval_in_any_order():
    """Another seed gives another; items without gold and their order have no part."""
    gold, label = drawn()
    order = np.random.default_rng(2).permutation(len(gold))
    more = np.append(gold, -1).astype(np.int16), np.append(label, 0).astype(np.int16)
    assert intervals(gold, label, 3) == intervals(gold[order], label[order], 3) == intervals(*more, 3)
    assert intervals(gold, label, 3) != intervals(gold, label, 3, seed=1)


def test_without_gold_there_is_none():
    """Nothing to draw from."""
    none = np.full(3, -1, np.int16)
    assert intervals(none, none, 2) == {}
    assert macro_f1_difference(none, none, none, 2) is None


def test_many_kinds_are_drawn_in_blocks():
    """300 labels: the interval still holds the figure."""
    gold, label = drawn(6000, 0.5, labels=300)
    found = intervals(gold, label, 300)["accuracy"]
    assert found.low < (gold == label).mean() < found.high


def test_no_difference_has_no_significance():
    """The same labels against themselves: 0, and p = 1."""
    gold, label = drawn()
    found = macro_f1_difference(gold, label, label, 3)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_is_significant_in_its_direction():
    """.9 against .5: the interval lies above 0; the other way round it is mirrored."""
    gold, good = drawn(400, 0.9)
    bad = drawn(400, 0.5)[1]
    bad[:200] = good[:200]
    found, other = macro_f1_difference(gold, good, bad, 3), macro_f1_difference(gold, bad, good, 3)
    assert found.difference == pytest.approx(
        score(gold, good, NAMES).macro_f1 - score(gold, bad, NAMES).macro_f1
    )
    assert found.low > 0
    assert found.p < 0.01
    assert other.difference == pytest.approx(-found.difference)


def test_the_paired_test_keeps_its_level():
    """Two labellings equally good: in 200 data sets p is below .05 in about one of twenty."""
    below = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gold = rng.integers(0, 2, 120).astype(np.int16)
        pair = [np.where(rng.random(120) < 0.8, gold, 1 - gold).astype(np.int16) for _ in range(2)]
        below += macro_f1_difference(gold, *pair, 2, seed=seed).p < 0.05
    assert below <= 22
