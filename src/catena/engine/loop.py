"""The event loop that a run works in."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable
from typing import Any

__all__ = ["run_async"]

MOST_FILES = 16_384
SELDOM = (20_000, 20, 100)
"""How often to look for cycles: a call makes hundreds of objects and hardly a cycle."""


def run_async(work: Any) -> None:
    """Run on the fastest loop there is; signals are handled afterwards as before, while a loop leaves none handled."""
    _allow_connections()
    thresholds, before = gc.get_threshold(), signal.getsignal(signal.SIGTERM)
    gc.set_threshold(*SELDOM)
    try:
        _fastest_run()(work)
    finally:
        gc.set_threshold(*thresholds)
        with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler of another kind
            signal.signal(signal.SIGTERM, before)


def _fastest_run() -> Callable[[Any], None]:
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:  # pragma: no cover - Windows
        return asyncio.run
    return uvloop.run


def _allow_connections() -> None:
    """Ask the system for as many open files as it grants: each call in flight needs one."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:  # pragma: no cover - Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
