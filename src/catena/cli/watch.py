"""Progress while a run works: a live table on a terminal, plain lines otherwise; always on stderr."""

import contextlib
import threading
import time
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from catena.cli.tables import money
from catena.engine.progress import Progress

__all__ = ["Watcher"]

PLAIN_SECONDS = 10.0


class Watcher:
    """Shows the counts of a run from `begin` on, until the context ends."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._began = time.monotonic()
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)

    @property
    def warnings(self) -> list[str]:
        """Lines for the user that came up while the run worked."""
        return self._progress.warnings if self._progress else []

    def begin(self, progress: Progress) -> None:
        """Show these counts."""
        self._began = time.monotonic()
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
        while not ended.wait(PLAIN_SECONDS):
            if self._progress:
                parts = [
                    f"{link.name}: {link.answered:,}/{link.expected:,} ({link.failed:,} failed, {self._rate(link.calls)})"
                    for link in self._progress.links
                ]
                spent = money(sum(link.cost_usd for link in self._progress.links))
                self._console.print(f"{'; '.join(parts)}; spent {spent}; {self._left()} left", soft_wrap=True)

    def _table(self) -> Table:
        names = ("link", "received", "kept", "forwarded", "failed", "calls/s", "spent", "left")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for at, name in enumerate(names):
            table.add_column(name, justify="left" if at == 0 else "right", no_wrap=True)
        for link in self._progress.links if self._progress else ():
            table.add_row(
                link.name,
                f"{link.received:,} of {link.expected:,}",
                f"{link.answered - link.forwarded:,}",
                f"{link.forwarded:,}",
                f"{link.failed:,}",
                self._rate(link.calls),
                money(link.cost_usd),
                self._time_left(link.answered - link.reused, link.expected - link.answered),
            )
        return table

    def _rate(self, calls: int) -> str:
        return f"{calls / max(time.monotonic() - self._began, 1e-3):,.0f}/s"

    def _left(self) -> str:
        links = self._progress.links if self._progress else ()
        bought = sum(link.answered - link.reused for link in links)
        return self._time_left(bought, sum(link.expected - link.answered for link in links))

    def _time_left(self, done: int, left: int) -> str:
        if not left:
            return "0:00"
        if done <= 0:
            return "-"
        seconds = int((time.monotonic() - self._began) * left / done)
        return (
            f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            if seconds >= 3600
            else f"{seconds // 60}:{seconds % 60:02}"
        )
