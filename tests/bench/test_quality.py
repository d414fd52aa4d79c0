"""The bench of plans: what it compares with is what it says."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"
RECORDED = os.environ.get("CATENA_RECORDED")


@pytest.fixture
def quality(monkeypatch):
    """The bench as a module."""
    monkeypatch.syspath_prepend(str(BENCH))
    import quality

    yield quality
    for name in ("quality", "rivals", "worlds"):
        sys.modules.pop(name, None)


def test_areas_are_over_shared_budgets(quality):
    """A curve that rises from 0 to 2 has mean 1; budgets that one of them does not reach are left out."""
    table = {
        0.1: {"a": 5.0, "b": float("nan")},
        0.5: {"a": 0.0, "b": 1.0},
        1.0: {"a": 2.0, "b": 1.0},
    }
    assert quality.areas(table, ("a", "b")) == {"a": 1.0, "b": 1.0}


def test_a_mix_spends_what_is_there(quality):
    """Half way between two prices, half of the items go to the dearer link; a dearer one that is out of reach gets none."""
    mix = sys.modules["rivals"].mix
    assert mix(0.6, 0.8, 1.0, 3.0, 2.0) == pytest.approx(0.7)
    assert mix(0.6, 0.8, 1.0, 3.0, 5.0) == 0.8
    assert mix(0.6, 0.8, 3.0, 1.0, 0.5) == 0.6


def test_rivals_stand_in_order(quality):
    """On a made world: two links in hindsight are no worse than one, and nothing is better than the oracle."""
    votes, _ = sys.modules["worlds"].made(quality.WORLDS["ladder"], 1)
    rest = np.arange(300, len(votes))
    worth = quality.Rivals(votes, 3).worth(rest, 0.7)
    assert worth["random"] <= worth["pairs"] + 1e-9
    assert worth["best single"] <= worth["pairs"] <= worth["oracle"]
    assert worth["paper, median"] <= worth["paper, hindsight"] < worth["oracle"]


@pytest.mark.parametrize("name", ["far-above", "heavy"])
def test_plans_in_worlds_hold_what_they_promise(quality, name):
    """No budget is overrun, also where few calls cost most; and one link far above is the plan."""
    world = replace(quality.WORLDS[name], n=900)
    rows = []
    for seed in range(3):
        bench = quality.Bench(*sys.modules["worlds"].made(world, seed), world.link)
        rows += bench.planned(seed, "200", (0.5, 1.0))
    means = quality.averaged(rows)
    assert means["most"] <= 2.0
    assert means["width"] > 0
    if name == "far-above":
        assert np.mean([row["loss"] for row in rows if row["budget"] == 1.0]) < 0.1


@pytest.mark.skipif(not RECORDED, reason="CATENA_RECORDED names no recorded votes")
def test_the_plan_stands_between_chance_and_the_oracle(quality):
    """On `arena`: above random routing for the same money, below the oracle, within the budget."""
    votes = quality.read_votes(Path(RECORDED) / "arena")
    bench = quality.Bench(votes, None, "gpt-4-turbo")
    rows = [row for seed in range(4) for row in bench.planned(seed, "100", (0.25, 1.0))]
    assert len(rows) == 8
    means = quality.averaged(rows)
    assert means["random"] < means["plan"] < means["oracle"]
    assert means["most"] <= 2.0
    assert np.isfinite(means["width"])
    assert [row["target"] for row in bench.agreed(0, "100")] == list(quality.TARGETS)
