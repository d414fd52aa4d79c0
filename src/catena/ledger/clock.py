"""When votes came in: a few points of time beside the votes, so that a report can show spending over hours and pauses."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from catena.ledger.facts import fact, note
from catena.ledger.rows import Broken

__all__ = ["FACT", "Clock"]

FACT = "clock"
MOST = 256
EVERY = 0.25


class Clock:
    """Notes the time beside the number of the latest vote, at most 256 times however long a run takes.

    Where there are more, every other point is dropped and points are taken half as often. A process that goes on notes
    when it began, so that a pause is one.

    Args:
        now: Seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._began = now()
        self._points: list[list[float]] | None = None
        self._every = EVERY

    def tick(self, connection: sqlite3.Connection) -> None:
        """Note the time if it is due; within the transaction that has stored votes."""
        now = self._now()
        if self._points is None:
            self._begin(connection)
        elif now - self._points[-1][1] < self._every:
            return
        assert self._points is not None
        self._points.append([_latest(connection), round(now, 2)])
        while len(self._points) > MOST:
            self._points = [*self._points[:-1:2], self._points[-1]]
            self._every *= 2
        note({FACT: {"every": self._every, "points": self._points}})(connection)

    def _begin(self, connection: sqlite3.Connection) -> None:
        known = _read(connection)
        self._every = float(known.get("every", EVERY))
        self._points = [[int(vote), float(at)] for vote, at in known.get("points", [])]
        before = self._points[-1][0] if self._points else 0
        self._points.append([before, round(self._began, 2)])


def _latest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(vote), 0) FROM votes").fetchone()[0])


def _read(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return what an earlier process noted; nothing where that is damaged, since no label depends on it."""
    try:
        return fact(connection, FACT) or {}
    except Broken:
        return {}
