"""A new ledger from everything that is whole in a damaged one, which is moved aside and never deleted."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from catena.errors import CatenaError, LedgerError
from catena.ledger import wal
from catena.ledger.audit import TABLES, Findings, audit, is_whole
from catena.ledger.file import FILE, connect
from catena.ledger.pages import records
from catena.ledger.rows import checksum
from catena.ledger.schema import LINK_FACT, count, create

__all__ = ["Repair", "repair"]

ADMITTED = {"columns", "id_type", "template", "gold", "rows"}
VOTE_WIDTHS, LINK_WIDTH = (17, 18), 6  # an older vote has no place for bounds
DIGEST = 15
FLOATS = (3, 10, 11)


class Repair(msgspec.Struct):
    """What a repair did.

    Args:
        before: What was found.
        after: What the new ledger holds.
        aside: Where the damaged file is now.
        lost: How many votes there were that the new ledger doesn't hold, as far as can be known.
    """

    before: Findings
    after: Findings
    aside: str
    lost: int


def repair(folder: Path, before: Findings) -> Repair:
    """Save what is whole into a new ledger and move the damaged one aside. Needs the run's lock.

    Raises:
        LedgerError: Nothing could be read, or there is no room for the new file; nothing was changed.
    """
    path, new = folder / FILE, folder / f"{FILE}.repaired"
    _remove(new)
    try:
        new.touch(mode=0o600)
        with contextlib.closing(connect(new, "rw")) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # once, at the end
            create(connection)
            saved = _save(path, connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, OSError) as error:
        _remove(new)
        raise LedgerError(f"{new}: {error}.", "Nothing was changed; make room and try again.") from error
    if not saved:
        _remove(new)
        raise LedgerError(
            f"{path}: nothing in it can be read.", "Restore it from a copy, or begin with --fresh."
        )
    number = 1
    while (aside := path.with_name(f"{FILE}.damaged-{number}")).exists():
        number += 1
    for end in (
        "-wal",
        "-shm",
        "",
    ):  # the file last: without it the run could not be mistaken for a whole one
        part = path.with_name(f"{FILE}{end}")
        if part.exists():
            part.rename(aside.with_name(f"{aside.name}{end}"))
    new.rename(path)
    after = audit(folder)
    lost = max(before.stored - sum(after.votes.values()), 0)
    return Repair(before, after, str(aside), lost)


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _save(path: Path, new: sqlite3.Connection) -> int:
    """Copy whole rows and return how many; rows that SQLite can't reach are looked for in the raw pages."""
    new.execute("BEGIN")
    new.execute("DELETE FROM meta")  # what a new ledger says of itself
    reached = True
    for table in TABLES:
        reached = _copy(path, table, new) and reached
    if not reached or wal.is_cut(path):
        for table, row in _found(path):
            _insert(new, table, [row])
    _settle(new)
    new.execute("COMMIT")
    kept = ("votes", "items", "batches")
    return sum(int(new.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in kept)  # noqa: S608


def _copy(path: Path, table: str, new: sqlite3.Connection) -> bool:
    """Copy the whole rows of a table; tell whether SQLite could read it to its end and nothing was damaged."""
    whole = True
    try:
        with contextlib.closing(connect(path, "ro")) as old:
            old.text_factory = lambda raw: raw.decode(errors="replace")
            whole = old.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            order = " ORDER BY vote" if table == "votes" else ""
            cursor = old.execute(f"SELECT {TABLES[table]} FROM {table}{order}")  # noqa: S608 - our own words
            while rows := cursor.fetchmany(4096):
                kept = [row for row in rows if is_whole(table, row)]
                whole = whole and len(kept) == len(rows)
                _insert(new, table, kept)
    except (sqlite3.Error, CatenaError):
        return False
    return whole


def _insert(new: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    columns = TABLES[table]
    marks = ", ".join("?" * len(columns.split(",")))
    new.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608


def _found(path: Path) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield whole votes and links from the raw pages, those of the log first, since they are newer.

    Only these: a page may hold what was true once. An old vote is still the answer to its prompt; an old row, or an old
    word on which vote a row uses, would be wrong, and the next run finds both again.
    """
    for number, values in records(path):
        if number is None:
            continue
        if len(values) in VOTE_WIDTHS:
            bounds = values.pop() if len(values) == max(VOTE_WIDTHS) else None
            row = values[1:]
            row.insert(DIGEST, bounds)
            for at in FLOATS:  # SQLite stores a whole number as an integer
                row[at] = float(row[at]) if isinstance(row[at], int) else row[at]
            table: str = "votes"
        elif len(values) == LINK_WIDTH:
            _, name, fingerprint, model, seconds, crc = values
            row, table = [number, name, fingerprint, model, crc, seconds], "links"
        else:
            continue
        if is_whole(table, row):
            yield table, row


def _settle(new: sqlite3.Connection) -> None:
    """Drop what no longer belongs together, so that the next run asks again for exactly what was lost."""
    facts = dict(new.execute("SELECT key, value FROM meta"))
    for key, value in facts.items():  # a link's own row may be lost
        if key.startswith(LINK_FACT):
            number, name, fingerprint, model = json.loads(value)
            row = (number, name, bytes.fromhex(fingerprint), model)
            new.execute(
                "INSERT OR IGNORE INTO links (link, name, fingerprint, model, crc) VALUES (?, ?, ?, ?, ?)",
                (*row, checksum(row)),
            )
    items, end = new.execute("SELECT count(*), coalesce(max(row) + 1, 0) FROM items").fetchone()
    if not facts.keys() >= ADMITTED or facts["rows"] != str(items) or end != items:
        # The next run takes its rows in as if it were the first, and finds the votes by what they answer.
        new.execute("DELETE FROM items")
        new.execute("DELETE FROM asked")
        new.execute("DELETE FROM meta WHERE key = 'columns'")
    used = "SELECT 1 FROM votes WHERE votes.link = asked.link AND votes.key = asked.key"
    new.execute(f"DELETE FROM asked WHERE NOT EXISTS ({used})")  # noqa: S608 - our own words
    new.execute("DELETE FROM meta WHERE key = 'finished'")
    for (link,) in new.execute("SELECT link FROM links UNION SELECT link FROM votes").fetchall():
        count(new, link)
