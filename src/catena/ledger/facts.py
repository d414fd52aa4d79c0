"""Facts of the run, such as its task: any plain value under a name."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from catena.ledger.rows import Broken, checksum
from catena.ledger.transaction import Change

__all__ = ["fact", "note"]


def fact(connection: sqlite3.Connection, key: str) -> Any:
    """Return a stored fact of the run, None where there is none.

    Raises:
        Broken: It is not what was stored.
    """
    row = connection.execute("SELECT key, value, crc FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if checksum(row[:2]) != row[2]:
        raise Broken(f"what it says about the run ({key})")
    return json.loads(row[1])


def note(facts: Mapping[str, Any]) -> Change:
    """Return the change that stores facts of the run."""
    rows = [(key, json.dumps(value)) for key, value in facts.items()]
    checked = [(*row, checksum(row)) for row in rows]

    def change(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)", checked)

    return change
