"""The ledger's tables, and the small functions that bring an older ledger up to date."""

import json
import sqlite3

from catena.errors import LedgerError
from catena.ledger.batches import BATCHES_TABLE
from catena.ledger.rows import checksum
from catena.ledger.transaction import Change, transaction

__all__ = ["APPLICATION_ID", "LINK_FACT", "TABLES", "VERSION", "count", "create", "is_current", "migrate"]

LINK_FACT = "link "  # and a name: what the table of links says, kept in a second place
APPLICATION_ID = 0x43617465  # "Cate"

TABLES = """
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
"""Version 1. What came later is in the functions below, so that a new ledger and an old one end up the same."""


def _second(connection: sqlite3.Connection) -> None:
    """Version 2: every row carries a checksum, and sums of what each link did are kept."""
    connection.create_function("checksum", -1, lambda *values: checksum(values), deterministic=True)
    columns = {
        "meta": "key, value",
        "items": "row, id, gold, digest",
        "links": "link, name, fingerprint, model",
        "asked": "link, row, key",
    }
    for table, covered in columns.items():
        connection.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
        connection.execute(f"UPDATE {table} SET crc = checksum({covered})")  # noqa: S608 - our own words
    for row in connection.execute("SELECT link, name, hex(fingerprint), model FROM links").fetchall():
        fact = (LINK_FACT + row[1], json.dumps(row))
        connection.execute("INSERT INTO meta VALUES (?, ?, ?)", (*fact, checksum(fact)))
    rows = ("rows", str(connection.execute("SELECT count(*) FROM items").fetchone()[0]))
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (*rows, checksum(rows)))
    connection.execute("ALTER TABLE items ADD COLUMN body_crc INTEGER NOT NULL DEFAULT 0")
    connection.execute("UPDATE items SET body_crc = checksum(row, text, target, fields)")
    connection.execute(
        "CREATE TABLE totals (link INTEGER PRIMARY KEY, answered INTEGER NOT NULL, failed INTEGER NOT NULL, "
        "votes INTEGER NOT NULL, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, "
        "completion_tokens INTEGER NOT NULL, cost_usd REAL)"
    )
    for (link,) in connection.execute("SELECT link FROM links").fetchall():
        count(connection, link)


def count(connection: sqlite3.Connection, link: int) -> None:
    """Set a link's totals to what its rows say."""
    connection.execute(
        "INSERT OR REPLACE INTO totals SELECT ?1, "
        "(SELECT count(*) FROM asked WHERE link = ?1), "
        "(SELECT count(*) FROM asked JOIN votes USING (link, key) WHERE link = ?1 AND label IS NULL), "
        "count(*), coalesce(sum(calls), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
        "sum(cost_usd) FROM votes WHERE link = ?1",
        (link,),
    )


def _third(connection: sqlite3.Connection) -> None:
    """Version 3: batches."""
    connection.execute(BATCHES_TABLE)


def _bounded(connection: sqlite3.Connection) -> None:
    """Votes have bounds of their labels' probabilities; those of an older ledger have none, and keep their checksums."""
    connection.execute("ALTER TABLE votes ADD COLUMN bounds BLOB")


_MIGRATIONS: list[Change] = [_second, _third, _bounded]
"""Function i brings version i + 1 to version i + 2."""

VERSION = len(_MIGRATIONS) + 1


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of the newest version in an empty database."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1; COMMIT;"
    )
    migrate(connection, "the new ledger")


def is_current(connection: sqlite3.Connection, where: str) -> bool:
    """Tell whether a ledger has the newest version.

    Raises:
        LedgerError: The file is no ledger, or a newer Catena wrote it.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(
            f"{where} is not a Catena ledger.",
            "Choose another --out; if it was one, save its votes with: catena check --ledger RUN --repair",
        )
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise LedgerError(
            f"{where} has version {version} and this Catena knows up to {VERSION}.",
            "Upgrade Catena to open it.",
        )
    if version < 1:
        raise LedgerError(
            f"{where} is damaged: it has version {version}, which never was.",
            "Save what is whole with: catena check --ledger RUN --repair",
        )
    return bool(version == VERSION)


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Bring a ledger to the newest version, each step in a transaction of its own.

    Raises:
        LedgerError: The file is no ledger, or a newer Catena wrote it.
    """
    if is_current(connection, where):
        return
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for step in range(version, VERSION):
        with transaction(connection):
            _MIGRATIONS[step - 1](connection)
            connection.execute(f"PRAGMA user_version = {step + 1}")
