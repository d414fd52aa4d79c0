"""Every row of a ledger looked at: what is whole, and what is not."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from catena.errors import CatenaError, InputError
from catena.ledger import wal
from catena.ledger.file import FILE, connect, one_line
from catena.ledger.items import ITEM_COLUMNS
from catena.ledger.rows import VOTE_COLUMNS, checksum, digest, vote_digest
from catena.ledger.schema import is_current, migrate

__all__ = ["TABLES", "Findings", "audit", "is_whole"]

BLOCK = 1024
TABLES = {
    "meta": "key, value, crc",
    "links": "link, name, fingerprint, model, crc, seconds",
    "items": ITEM_COLUMNS,
    "votes": f"{VOTE_COLUMNS}, digest",
    "asked": "link, row, key, crc",
    "batches": "shard, link, fingerprint, began, tries, count, keys, most_usd, most_tokens, digest, "
    "state, remote, said, done, counts, cost_usd, ended",
}


def is_whole(table: str, row: Sequence[Any]) -> bool:
    """Tell whether a row of a table, with the columns of `TABLES`, is what was stored."""
    if table == "votes":
        return bool(vote_digest(row[:-1]) == row[-1])
    if table == "links":
        return bool(checksum(row[:4]) == row[4])
    if table == "batches":  # how a batch is doing, which follows, is asked of its provider again
        return bool(digest(row[:9]) == row[9])
    if table == "items":
        one = checksum((row[0], row[1], row[4], row[6])) == row[7]
        return bool(one and checksum((row[0], row[2], row[3], row[5])) == row[8])
    return bool(checksum(row[:-1]) == row[-1])


class Findings(msgspec.Struct):
    """What a ledger holds.

    Args:
        faults: What is wrong with it, in words; empty where all is well.
        rows: Whole items.
        votes: Whole votes by link.
        damaged: Rows that are not what was stored, by table.
        stored: How many votes were ever counted as stored; 0 where that can't be read.
        orphans: Votes that no item uses now: paid for by an earlier prompt, link or decision, and kept.
    """

    faults: list[str] = []
    rows: int = 0
    votes: dict[str, int] = {}
    damaged: dict[str, int] = {}
    orphans: int = 0
    stored: int = 0

    @property
    def well(self) -> bool:
        """Whether nothing is damaged."""
        return not self.faults and not any(self.damaged.values())


def audit(folder: Path) -> Findings:
    """Read all of a run's ledger, which nobody writes meanwhile, and mend nothing.

    Raises:
        InputError: There is no run in the folder.
    """
    path = folder / FILE
    found = Findings()
    if not path.exists():
        raise InputError(f"{folder} holds no run.", "Name the folder of a run.")
    if not path.stat().st_size:
        found.faults.append("the file is empty")
        return found
    if wal.is_cut(path):
        found.faults.append("its log was cut or overwritten")
    try:
        _bring_up_to_date(path)
        with contextlib.closing(connect(path, "ro")) as connection:
            connection.text_factory = _text
            _look(connection, found)
    except sqlite3.Error as error:
        found.faults.append(one_line(error).rstrip("."))
    except CatenaError as error:
        found.faults.append(str(error).rstrip("."))
    return found


def _bring_up_to_date(path: Path) -> None:
    """Give the rows of an older ledger their checksums: without them there is nothing to compare."""
    with contextlib.closing(connect(path, "ro")) as connection:
        if is_current(connection, str(path)):
            return
    with contextlib.closing(connect(path, "rw")) as connection:
        migrate(connection, str(path))


def _text(raw: bytes) -> Any:
    """Return text; bytes where it is none, so that its row is found damaged."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _look(connection: sqlite3.Connection, found: Findings) -> None:
    with contextlib.suppress(sqlite3.Error):
        found.stored = connection.execute("SELECT coalesce(sum(votes), 0) FROM totals").fetchone()[0]
    broken = [line for (line,) in connection.execute("PRAGMA integrity_check(3)")]
    if broken != ["ok"]:
        found.faults.append(f"its structure is broken ({' '.join(broken[0].split())})")
    names: dict[int, str] = {}
    for table in TABLES:
        _count(connection, table, found, names)
    _compare(connection, found)


def _count(connection: sqlite3.Connection, table: str, found: Findings, names: dict[int, str]) -> None:
    damaged = whole = 0
    for row in _rows(connection, table):
        if not is_whole(table, row):
            damaged += 1
            continue
        whole += 1
        if table == "links":
            names[row[0]] = row[1]
            found.votes[row[1]] = 0
        elif table == "votes":
            name = names.get(row[0], f"link number {row[0]}")
            found.votes[name] = found.votes.get(name, 0) + 1
    if table == "items":
        found.rows = whole
    found.damaged[table] = damaged


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[Sequence[Any]]:
    cursor = connection.execute(f"SELECT {TABLES[table]} FROM {table}")  # noqa: S608 - our own words
    while rows := cursor.fetchmany(BLOCK):
        yield from rows


def _compare(connection: sqlite3.Connection, found: Findings) -> None:
    """Count what the tables should have of each other."""

    def count(what: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608

    lost = count("asked LEFT JOIN votes USING (link, key) WHERE votes.vote IS NULL")
    if lost:
        found.faults.append(f"{lost:,} answers that were used are gone")
    rows = connection.execute("SELECT value FROM meta WHERE key = 'rows'").fetchone()
    if rows and str(rows[0]) != str(count("items")):
        found.faults.append(f"it holds {count('items'):,} of {rows[0]} rows")
    if found.stored != count("votes"):
        found.faults.append(f"it holds {count('votes'):,} votes and has counted {found.stored:,}")
    found.orphans = max(0, count("votes") - count("(SELECT DISTINCT link, key FROM asked)"))
