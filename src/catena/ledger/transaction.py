"""Changes of a file that are made all or none."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

__all__ = ["Change", "transaction"]

Change = Callable[[sqlite3.Connection], None]
"""What is done within a transaction."""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
