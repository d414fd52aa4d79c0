"""Progress while a run works: a live table on a terminal, plain lines otherwise; always on stderr."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from catena.cli.tables import fitting, money, table
from catena.engine.progress import LinkProgress, Progress
from catena.report.words import clock
from catena.report.words import rate as a_second

__all__ = ["Watcher"]

PLAIN_SECONDS = 10.0
LOOK_SECONDS = 0.5
WINDOW_SECONDS = 10.0
SPARE = ("forwarded", "at a time", "kept", "calls/s", "failed", "left")
"""Columns that a narrow screen does without, the first ones first."""


class Watcher:
    """Shows the counts of a run from `begin` on, until the context ends."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._seen: deque[tuple[float, list[int]]] = deque()
        self._said = time.monotonic()
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)

    @property
    def warnings(self) -> list[str]:
        """Lines for the user that came up while the run worked."""
        return self._progress.warnings if self._progress else []

    def begin(self, progress: Progress) -> None:
        """Show these counts."""
        self._progress = progress

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Show counts while the context lasts."""
        if self._console.is_terminal:
            with Live(
                get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True
            ):
                yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._lines, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _lines(self, ended: threading.Event) -> None:
        while not ended.wait(1.0):
            if self._progress is None:
                continue
            self._look()
            if time.monotonic() - self._said >= PLAIN_SECONDS:
                self._said = time.monotonic()
                self._console.print(self._line(self._progress), soft_wrap=True)

    def _line(self, progress: Progress) -> str:
        parts = [
            f"{link.name}: {link.received:,} of {link.expected:,} received, {link.answered - link.forwarded:,} kept, "
            f"{link.forwarded:,} forwarded, {link.failed:,} failed, "
            + (_stuck(link) or f"{_rate(rate)}, {link.in_flight:,} at a time")
            for link, rate in zip(progress.links, self._rates(), strict=True)
        ]
        spent = progress.capped or money(sum(link.cost_usd for link in progress.links))
        left = self._left()
        more = "" if left is None else f"; {clock(left)} left"
        return f"{'; '.join(parts)}; spent {spent}{more}"

    def _table(self) -> Table:
        self._look()
        names = ["link", "received", "kept", "forwarded", "failed", "calls/s", "at a time", "spent", "left"]
        links = self._progress.links if self._progress else []
        rows = [
            [
                f"{link.name} ({_stuck(link)})" if _stuck(link) else link.name,
                f"{link.received:,} of {link.expected:,}",
                f"{link.answered - link.forwarded:,}",
                f"{link.forwarded:,}",
                f"{link.failed:,}",
                _rate(rate),
                f"{link.in_flight:,}",
                money(link.cost_usd),
                clock(_seconds_left(link, rate)),
            ]
            for link, rate in zip(links, self._rates(), strict=True)
        ]
        made = table(None, *fitting(names, rows, self._console.width, SPARE), left=1)
        if self._progress and self._progress.capped:
            made.caption = f"of the budget: {self._progress.capped}"
        return made

    def _look(self) -> None:
        """Remember how many answers each link has by now; drop what is older than the window."""
        now = time.monotonic()
        if self._progress and (not self._seen or now - self._seen[-1][0] >= LOOK_SECONDS):
            self._seen.append((now, [link.answered - link.reused for link in self._progress.links]))
            while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_SECONDS:
                self._seen.popleft()

    def _rates(self) -> list[float | None]:
        """Return the answers per second that each link bought within the window; None where nothing is known."""
        links = self._progress.links if self._progress else []
        if len(self._seen) < 2:
            return [None] * len(links)
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return [(new - old) / (ended - began) for old, new in zip(before, after, strict=True)]

    def _left(self) -> float | None:
        """Return the seconds until the last link is done: the links work at the same time."""
        links = self._progress.links if self._progress else []
        left = [_seconds_left(link, rate) for link, rate in zip(links, self._rates(), strict=True)]
        known = [seconds for seconds in left if seconds is not None]
        return max(known, default=None) if len(known) == len(left) else None


def _stuck(link: LinkProgress) -> str:
    """Return what a link waits for, or why none of its calls works; empty where it works."""
    return link.waits_for or (f"no call works, still trying: {link.out}" if link.out else "")


def _seconds_left(link: LinkProgress, rate: float | None) -> float | None:
    if link.answered >= link.expected:
        return 0.0
    if link.waits_for:  # people and batches keep no pace
        return None
    return (link.expected - link.answered) / rate if rate else None


def _rate(answers: float | None) -> str:
    return a_second(answers) if answers is None else f"{a_second(answers)}/s"
