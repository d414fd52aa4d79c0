"""Prints what each promise measured, one line each, at the end of the tests."""

import pytest
from soak import FIGURES, SOAK, figure


@pytest.fixture(name="figure")
def figure_fixture():
    """Keeps the measured figure of a promise: `figure("kill", "200 kills, 0 committed votes lost")`."""
    return figure


def pytest_terminal_summary(terminalreporter):
    """Write one line for every promise that was measured."""
    if FIGURES:
        terminalreporter.section("promises" if SOAK else "promises, in short (make soak: in full)")
        for promise, measured in FIGURES.items():
            terminalreporter.write_line(f"{promise}: {measured}")
