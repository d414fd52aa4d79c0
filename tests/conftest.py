"""What all tests share. It also puts this folder on the import path, for `tables`."""

import os
import signal

import pytest
from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there; see the Makefile
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell has it ignored where it starts the tests behind it

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")  # a busy machine is no reason for a test to fail


def pytest_configure(config):
    """Make room for what the promises of reliability measure, here or in the processes that share the tests."""
    config.promises = {}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take what a process measured that had a part of the tests."""
    node.config.promises.update(getattr(node, "workeroutput", {}).get("promises", {}))


def pytest_terminal_summary(terminalreporter, config):
    """Write one line for every promise that was measured."""
    if measured := config.promises:
        in_full = os.environ.get("CATENA_SOAK")
        terminalreporter.section("promises" if in_full else "promises, in short (make soak: in full)")
        for promise in sorted(measured):
            terminalreporter.write_line(f"{promise}: {measured[promise]}")
