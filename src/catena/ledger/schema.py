"""The ledger's tables, and the small functions that bring an older ledger up to date."""

import sqlite3
from collections.abc import Callable

from catena.errors import LedgerError
from catena.ledger.batches import BATCHES_TABLE

__all__ = ["APPLICATION_ID", "VERSION", "create", "migrate"]

APPLICATION_ID = 0x43617465  # "Cate"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL, target TEXT, gold TEXT,
    fields TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE links (
    link INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fingerprint BLOB NOT NULL, model TEXT NOT NULL,
    seconds REAL NOT NULL DEFAULT 0);
CREATE TABLE votes (
    vote INTEGER PRIMARY KEY, link INTEGER NOT NULL, key BLOB NOT NULL, label TEXT, confidence REAL,
    source TEXT NOT NULL, logprobs BLOB, text TEXT NOT NULL, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, cost_usd REAL, latency_ms REAL NOT NULL, model TEXT NOT NULL,
    reason TEXT, message TEXT, digest BLOB NOT NULL);
CREATE UNIQUE INDEX votes_by_key ON votes (link, key);
CREATE TABLE asked (
    link INTEGER NOT NULL, row INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (link, row)) WITHOUT ROWID;
"""


def _add_batches(connection: sqlite3.Connection) -> None:
    connection.execute(BATCHES_TABLE)


_MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_add_batches]
"""Function i brings version i + 1 to version i + 2."""

VERSION = len(_MIGRATIONS) + 1


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of the newest version in an empty database."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} {BATCHES_TABLE}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
    )


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Bring a ledger to the newest version, each step in a transaction of its own.

    Raises:
        LedgerError: The file is no ledger, or a newer Catena wrote it.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"{where} is not a Catena ledger.", "Choose another --out.")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise LedgerError(
            f"{where} has version {version} and this Catena knows up to {VERSION}.",
            "Upgrade Catena to open it.",
        )
    for step in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        _MIGRATIONS[step - 1](connection)
        connection.execute(f"PRAGMA user_version = {step + 1}")
        connection.execute("COMMIT")
