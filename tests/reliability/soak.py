"""How much of a promise a test shows: a short version in the ordinary suite, the full figure under `make soak`."""

import os

__all__ = ["FIGURES", "IN_MEMORY", "SOAK", "figure", "many"]

SOAK = bool(os.environ.get("CATENA_SOAK"))
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where thousands of small run folders are quickly made; None for the usual place."""

FIGURES: dict[str, str] = {}
"""What was measured, by promise; the terminal summary prints it."""


def many(short: int, full: int) -> int:
    """Return how often to do it: the second number under `make soak`, the first in the ordinary suite."""
    return full if SOAK else short


def figure(promise: str, measured: str) -> None:
    """Keep the measured figure of a promise for the summary."""
    FIGURES[promise] = measured
