"""Noticing, from another thread, what holds up an event loop."""

import asyncio
import contextlib
import sys
import sysconfig
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType

__all__ = ["Stalls", "watching"]

TICK = 0.05
MOST_TICKS = 20
"""The loop may stand still for a second. Ticks of the watching thread are counted, so that a busy machine is not blamed on it."""
LIBRARY = sysconfig.get_path("stdlib")


class Stalls:
    """Where the loop stood still for longer than a second: one line each."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self._beats = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        """Show that the loop goes on, and do so again soon."""
        self._beats += 1
        self._timer = self._loop.call_later(TICK, self.beat)

    def rest(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, ended: threading.Event) -> None:
        """Look after the loop until it ends; in a thread of its own."""
        seen, still = -1, 0
        while not ended.wait(TICK):
            still = still + 1 if self._beats == seen else 0
            seen = self._beats
            if still == MOST_TICKS:
                self.places.append(_place(sys._current_frames().get(self._thread)))  # noqa: SLF001 - there is no other way


@contextlib.asynccontextmanager
async def watching() -> AsyncIterator[Stalls]:
    """Watch the running loop while the context lasts."""
    stalls, ended = Stalls(), threading.Event()
    thread = threading.Thread(target=stalls.look, args=(ended,), daemon=True)
    stalls.beat()
    thread.start()
    try:
        yield stalls
    finally:
        stalls.rest()
        ended.set()
        thread.join()


def _place(frame: FrameType | None) -> str:
    """Return the innermost line that is not Python's own."""
    while frame is not None and _is_pythons(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    if frame is None:
        return "a place unknown"
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}, in {frame.f_code.co_name}"


def _is_pythons(file: str) -> bool:
    return file.startswith(LIBRARY) and "site-packages" not in file
