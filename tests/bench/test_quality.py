"""The bench of plans: what it compares with is what it says."""

import os
import sys
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
    sys.modules.pop("quality", None)


def test_areas_are_over_shared_budgets(quality):
    """A curve that rises from 0 to 2 has mean 1; budgets that one of them does not reach are left out."""
    table = {
        0.1: {"a": 5.0, "b": float("nan")},
        0.5: {"a": 0.0, "b": 1.0},
        1.0: {"a": 2.0, "b": 1.0},
    }
    assert quality.areas(table, ("a", "b")) == {"a": 1.0, "b": 1.0}


@pytest.mark.skipif(not RECORDED, reason="CATENA_RECORDED names no recorded votes")
def test_the_plan_stands_between_chance_and_the_oracle(quality):
    """On `arena`: above random routing for the same money, below the oracle, within the budget."""
    bench = quality.Bench(Path(RECORDED) / "arena", "gpt-4-turbo")
    rows = [row for seed in range(4) for row in bench.planned(seed, "100", (0.25, 1.0))]
    assert len(rows) == 8
    means = quality.averaged(rows)
    assert means["random"] < means["plan"] < means["oracle"]
    assert means["most"] <= 2.0
    assert np.isfinite(means["width"])
