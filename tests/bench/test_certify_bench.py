"""The bench of promises: its bound of a rate, and that it counts calls once."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from panels import panel

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def certify(monkeypatch):
    """The bench as a module."""
    monkeypatch.syspath_prepend(str(BENCH))
    import certify

    yield certify
    sys.modules.pop("certify", None)


@pytest.mark.parametrize(("misses", "bound"), [(0, 0.0), (1, 1.00503e-5), (1000, 0.01 ** (1 / 1000))])
def test_the_lower_bound_is_clopper_and_pearsons(certify, misses, bound):
    """Where it has a closed form: none, one or all of 1,000."""
    assert certify.lower_bound(misses, 1000) == pytest.approx(bound, rel=1e-4)


def test_the_lower_bound_is_below_the_rate(certify):
    """And rises with it."""
    bounds = [certify.lower_bound(misses, 1000) for misses in (50, 100, 150)]
    assert 0.03 < bounds[0] < 0.05 < bounds[1] < 0.1 < bounds[2] < 0.15


def test_a_chain_is_between_hindsight_and_everything(certify):
    """Calls of certified chains: more than with all labels known, fewer than the last link alone."""
    votes, _ = panel([1.0, 2.5], n=600)
    chain = certify.Chain(votes, ("link0", "link1"), "link1")
    orders = np.array([np.random.default_rng(seed).permutation(600) for seed in range(30)])
    did = chain.run("0.9", orders)
    assert chain.hindsight("0.9") < did["calls"].mean() < 1
    assert did["missed"].mean() <= 0.25
    wrong = chain.wrong[0, chain.surest_first()]
    kept = round((1 - chain.hindsight("0.9")) * 600)
    assert wrong[:kept].sum() <= Fraction(1, 10) * 600 < wrong[: kept + 1].sum()
