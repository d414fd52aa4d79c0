"""The file of a ledger: how it is made and opened."""

import contextlib
import sqlite3
from pathlib import Path

from catena.ledger.schema import create

__all__ = ["FILE", "WAL_BYTES", "connect", "make", "one_line"]

FILE = "ledger.sqlite"
WAL_BYTES = 1 << 24  # what stays of a log that a long reader had let grow


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a ledger file; `mode` is ro, rw or rwc.

    Raises:
        sqlite3.Error: It can't be opened, or what it says of its tables can't be read.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
    )
    try:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except UnicodeDecodeError as error:  # of the message, in which SQLite shows what it can't read
        connection.close()
        raise sqlite3.DatabaseError("malformed database schema") from error
    except BaseException:
        connection.close()
        raise
    return connection


def one_line(error: Exception) -> str:
    """Return what SQLite says as one line: it shows a damaged text as it is."""
    said = " ".join(str(error).split())
    return "".join(each if each.isprintable() else "?" for each in said)[:200]


def make(path: Path) -> None:
    """Make an empty ledger that appears whole, so that an empty file is never taken for a new run."""
    new = path.with_name(f"{path.name}.new")
    for end in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"{new.name}{end}").unlink(missing_ok=True)
    new.touch(mode=0o600)
    # Without a log beside it: where the disk is full, that would not get into the file, and not be renamed with it.
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        create(connection)
    new.rename(path)
