"""Many labellings of the same items, scored by counting kinds."""

import numpy as np
import pytest

from catena.evaluate.metrics import score
from catena.evaluate.tally import Tally
from tables import table_of


def votes(labels, items=400, links=3, seed=0):
    """Return a table with failures and items without gold."""
    rng = np.random.default_rng(seed)
    label = rng.integers(-1, labels, (links, items))
    gold = np.where(rng.random(items) < 0.9, rng.integers(0, labels, items), -1)
    label = np.where(rng.random((links, items)) < 0.5, np.maximum(gold, 0), label)
    names = [f"label{k}" for k in range(labels)]
    return table_of(np.ones((links, items)), label, gold=gold, labels=names)


@pytest.mark.parametrize("labels", [2, 5, 63, 64, 200])
def test_the_scores_are_those_of_score(labels):
    """Of a link on some items, and of labels taken from several links, with few labels and with many."""
    table = votes(labels)
    tally, rng = Tally(table), np.random.default_rng(1)
    here = rng.random(len(table)) < 0.5
    source = rng.integers(-1, 2, len(table)).astype(np.int16)
    taken = np.where(source < 0, -1, np.where(source == 0, table.label[2], table.label[0])).astype(np.int16)
    found = tally.scores(np.array([tally.among(1, here), tally.taken([2, 0], source)]))
    part = np.where(here, table.gold, -1).astype(np.int16)
    assert found[0] == pytest.approx(score(part, table.label[1], table.labels).brief())
    assert found[1] == pytest.approx(score(table.gold, taken, table.labels).brief())


def test_no_items_with_gold_have_no_score():
    """None, not NaN."""
    table = votes(2)
    tally = Tally(table)
    none = {"accuracy": None, "macro_f1": None}
    assert tally.scores(np.array([tally.among(0, np.zeros(len(table), bool))])) == [none]
