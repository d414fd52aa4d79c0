"""An index of a run's items for the page: by label, link, confidence, disagreement and failure, and of their texts.

It is a file of the page's own in the run's folder, `view.sqlite`: it can be removed at any time and is then made again. The
ledger stays the truth; it is neither written nor locked for this.

What an item can be filtered by, but its confidence, is one number: its cell. There are few cells (a label, the link it is
of, ...) and each is counted, so that how many items a filter finds is a sum. Texts are found by all their runs of three
characters (trigrams), in any language, in tables for 65,536 rows each, which can be made anew one by one.
"""

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "FAILED",
    "INDEX_FILE",
    "NO_CONFIDENCE",
    "SHARD",
    "WAITING",
    "Cell",
    "cells_of",
    "forget_shard",
    "get",
    "make_index",
    "open_index",
    "put",
    "recount",
    "texts_table",
    "trigrams",
]

INDEX_FILE = "view.sqlite"
VERSION = 1
SHARD: Final = 65_536
MOST_TRIGRAMS = 16
WAITING, FAILED, NO_CONFIDENCE = -3e300, -2e300, -1e300
"""Where items without a confidence stand among the others: below all that have one, as they rank."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cells (
    cell INTEGER PRIMARY KEY, status TEXT NOT NULL, label TEXT NOT NULL, link TEXT NOT NULL, reason TEXT NOT NULL,
    disagree INTEGER NOT NULL, gold TEXT NOT NULL, n INTEGER NOT NULL DEFAULT 0);
CREATE TABLE rows (row INTEGER PRIMARY KEY, cell INTEGER NOT NULL, sure REAL NOT NULL);
CREATE INDEX rows_by_cell ON rows (cell, sure);
CREATE INDEX rows_by_sure ON rows (sure, row, cell);
CREATE TABLE shards (shard INTEGER PRIMARY KEY, stamp TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Cell:
    """What an item can be filtered by.

    Args:
        status: `labelled`, `provisional`, `failed` or `waiting`.
        label: Its label; empty for none.
        link: Whose label that is; empty for none.
        reason: Why the latest link that has no vote for it has none; empty where none failed.
        disagree: Whether links have named different labels.
        gold: `right` or `wrong`; empty where there is no gold or no label.
    """

    status: str
    label: str = ""
    link: str = ""
    reason: str = ""
    disagree: bool = False
    gold: str = ""

    def values(self) -> tuple[str, str, str, str, bool, str]:
        """Return its columns."""
        return self.status, self.label, self.link, self.reason, self.disagree, self.gold


def make_index(folder: Path) -> sqlite3.Connection:
    """Open a run's index for writing; an odd, damaged or older one is made anew.

    Raises:
        sqlite3.Error: It can't be made.
        OSError: Likewise.
    """
    path = folder / INDEX_FILE
    try:
        connection = _connect(path, "rw")
        if _version(connection) == VERSION:
            return connection
        connection.close()
    except sqlite3.Error:
        pass
    for end in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = _connect(path, "rw")
    connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    return connection


def open_index(folder: Path) -> sqlite3.Connection | None:
    """Open a run's index for reading; None where there is none yet."""
    try:
        connection = _connect(folder / INDEX_FILE, "ro")
        if _version(connection) == VERSION:
            return connection
        connection.close()
    except sqlite3.Error:
        pass
    return None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
    )
    try:
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except BaseException:
        connection.close()
        raise


def cells_of(connection: sqlite3.Connection) -> dict[int, tuple[Cell, int]]:
    """Return every cell that items have been in by its number, with how many are in it now."""
    found = connection.execute("SELECT cell, status, label, link, reason, disagree, gold, n FROM cells")
    return {
        cell: (Cell(status, label, link, reason, bool(disagree), gold), n)
        for cell, status, label, link, reason, disagree, gold, n in found
    }


def texts_table(shard: int) -> str:
    """Return the name of the table that finds the texts of a shard: of rows from `shard * SHARD` on."""
    return f"texts_{shard:d}"


def trigrams(wanted: str) -> str | None:
    """Return what a table of texts is asked for; None where the words are too short for it. What it finds may be too much.

    >>> trigrams("abcd"), trigrams("ab")
    ('"abc" AND "bcd"', None)
    """
    runs = (wanted[at : at + 3] for at in range(len(wanted) - 2))
    found = list(dict.fromkeys(run for run in runs if "\0" not in run))  # which ends a query
    step = -(-len(found) // MOST_TRIGRAMS) or 1
    return " AND ".join(f'"{each.replace(chr(34), chr(34) * 2)}"' for each in found[::step]) or None


def forget_shard(index: sqlite3.Connection, shard: int) -> None:
    """Take away what finds the texts of a shard."""
    index.execute(f"DROP TABLE IF EXISTS {texts_table(shard)}")
    index.execute("DELETE FROM shards WHERE shard = ?", (shard,))


def recount(index: sqlite3.Connection, more: Mapping[int, int]) -> None:
    """Count so many more items in each cell."""
    changes = [(count, cell) for cell, count in more.items() if count]
    index.executemany("UPDATE cells SET n = n + ? WHERE cell = ?", changes)


def get(index: sqlite3.Connection, key: str) -> str | None:
    """Return a fact of the index, None where there is none."""
    row = index.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def put(index: sqlite3.Connection, key: str, value: str) -> None:
    """Store a fact of the index."""
    index.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
