"""The file of a desk: how it is made, opened, read and changed.

Several processes write here: the run puts items down and takes answers in, the page and imports write answers. So the
file has a rollback journal and no write-ahead log: before SQLite 3.51.3 two writers could lose the end of such a log.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from catena.errors import LedgerError
from catena.ledger.desk_schema import APPLICATION_ID, COUNTS, TABLES, VERSION
from catena.ledger.file import one_line
from catena.ledger.transaction import transaction

__all__ = ["FILE", "DeskFile"]

FILE = "desk.sqlite"
CACHE_KIB = 16_384


class DeskFile:
    """A desk's file; several processes and threads may read and write it. As a context manager it closes itself.

    Args:
        folder: The run's folder; the file is made where there is none.

    Raises:
        LedgerError: The file is no desk, is damaged, or can't be read or written. Every method may raise it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        with self._said():
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise sqlite3.OperationalError(error.strerror) from error
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self.db.close()
                raise

    def _prepare(self) -> None:
        self.db.execute("PRAGMA journal_mode = TRUNCATE")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if self.db.execute("PRAGMA application_id").fetchone()[0] == 0:
            with self.changing():
                if self.db.execute("PRAGMA application_id").fetchone()[0] == 0:
                    for statement in (*filter(str.strip, TABLES.split(";")), *COUNTS):
                        self.db.execute(statement)
                    self.db.execute(f"PRAGMA user_version = {VERSION}")
                    self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        found = [
            self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        if found[0] != APPLICATION_ID:
            raise LedgerError(
                f"{self.path} is not a desk of Catena.", "Move it away, then run the same command."
            )
        if found[1] > VERSION:
            raise LedgerError(
                f"{self.path} has version {found[1]} and this Catena knows up to {VERSION}.",
                "Upgrade Catena.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Let one thread in at a time, and say what SQLite raises in one line."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerError(
                    f"{self.path}: {one_line(error)}.",
                    "Labels that the run has taken in are in its ledger too: move this file aside, and run the same command.",
                ) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread."""
        with self._said():
            yield self.db

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread, for changes that are made all or none."""
        with self._said(), transaction(self.db):
            yield self.db
