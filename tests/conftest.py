"""What all tests share, a browser among it. It also puts this folder on the import path, for `tables`."""

import os
import signal

from hypothesis import settings

from browser import axe, browser

__all__ = ["axe", "browser"]

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there; see the Makefile
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell has it ignored where it starts the tests behind it

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")  # a busy machine is no reason for a test to fail
