"""How much of a promise a test shows: a short version in the ordinary suite, the full figure under `make soak`."""

import os

__all__ = ["FIGURES", "SOAK", "figure", "many"]

SOAK = bool(os.environ.get("CATENA_SOAK"))
FIGURES: dict[str, str] = {}
"""What was measured, by promise; the terminal summary prints it."""


def many(short: int, full: int) -> int:
    """Return how often to do it: the second number under `make soak`, the first in the ordinary suite."""
    return full if SOAK else short


def figure(promise: str, measured: str) -> None:
    """Keep the measured figure of a promise for the summary."""
    FIGURES[promise] = measured
