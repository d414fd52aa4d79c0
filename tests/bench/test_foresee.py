"""The bench of estimates, in short: intervals hold what runs cost, and are narrow."""

import pytest

import foresee


@pytest.mark.parametrize("name", ["threshold", "cache"])
def test_intervals_hold_what_a_run_costs(name):
    """Over a few seeds of a world: in most, within 15 % either way on average."""
    line = foresee.measure(name, 300, 50, 4)
    assert line["held"] >= 0.75
    assert line["half"] <= 0.15
    assert line["off"] <= 0.1
