"""Keeps what each promise measured; the end of the tests prints it, one line each."""

import pytest
from soak import FIGURES, figure


@pytest.fixture(name="figure")
def figure_fixture():
    """Keeps the measured figure of a promise: `figure("kill", "200 kills, 0 committed votes lost")`."""
    return figure


def pytest_sessionfinish(session):
    """Hand the figures to whoever prints them: this process, or the one that shares the tests out."""
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        session.config.promises.update(FIGURES)
    else:
        output["promises"] = dict(FIGURES)
