"""The ledger of a run: its items, and every vote that was ever paid for them."""

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.data.cells import as_text
from catena.errors import InputError, LedgerError
from catena.ledger.batches import BatchRecord, answered_keys, read_batches
from catena.ledger.rows import VOTE_COLUMNS, answer_from
from catena.ledger.schema import create, migrate
from catena.ledger.writer import Writer
from catena.types import Answer, Item

__all__ = ["FILE", "Ledger", "RowChanges", "item_digest"]

FILE = "ledger.sqlite"
TRANSIENT = ("rate_limit", "overloaded", "server", "timeout", "transport", "bad_body", "bad_request")


class RowChanges(msgspec.Struct, frozen=True):
    """How given rows differ from those of the run, by id. Other gold alone is no difference: it shapes no vote."""

    added: int = 0
    removed: int = 0
    edited: int = 0
    moved: int = 0
    gold: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.moved)

    def __str__(self) -> str:
        names = ("added", "removed", "edited", "moved")
        parts = [f"{getattr(self, name):,} {name}" for name in names if getattr(self, name)]
        return ", ".join(parts)


class Ledger:
    """Reads and writes one ledger file. Reading works while another process writes.

    Args:
        folder: The run's folder; made (mode 0700) when `write` is asked for and it is not there.
        write: Whether this process will write; needs the run's lock.

    Raises:
        InputError: There is no run in the folder.
        LedgerError: The file is no Catena ledger, or it can't be read.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self.path = folder / FILE
        if not write and not self.path.exists():
            raise InputError(
                f"{folder} holds no run.", f"Start one with: catena run TASK DATA --out {folder}"
            )
        try:
            if write and not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = self._connect(write=write)
            if write and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                create(self._db)
            elif not write and not self.path.stat().st_size:
                raise InputError(
                    f"{folder}: the run has not begun.", "Run the same catena run command again."
                )
            migrate(self._db, str(self.path))
        except sqlite3.Error as error:
            full = "full" in str(error) or "disk I/O" in str(error)
            hint = (
                "Make room and run the same command." if full else "If it is damaged, restore it from a copy."
            )
            raise LedgerError(f"{self.path}: {error}.", hint) from error

    def _connect(self, *, write: bool) -> sqlite3.Connection:
        mode = "rw" if write else "ro"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        return connection

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def writer(self, committed: Callable[[list[tuple[int, bytes]]], None]) -> Writer:
        """Start the thread that commits votes; call within the event loop."""
        return Writer(lambda: self._connect(write=True), committed)

    # -- what the run is ----------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return a stored fact of the run, None where there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, **facts: Any) -> None:
        """Store facts of the run, all at once."""
        with _transaction(self._db):
            self._put(facts)

    def _put(self, facts: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    # -- items --------------------------------------------------------------------------------------------------

    def items_count(self) -> int:
        """Return how many items there are."""
        return int(self._db.execute("SELECT count(*) FROM items").fetchone()[0])

    def compare_items(self, blocks: Iterable[Sequence[Item]], ignore: Collection[str] = ()) -> RowChanges:
        """Lay given rows beside the run's own and return how they differ; nothing is changed.

        Args:
            blocks: The given rows.
            ignore: Other columns that don't count, since they are gold in one of the two.
        """
        given = [("given", blocks), ("ours", self.all_items())] if ignore else [("given", blocks)]
        with _transaction(self._db):
            for name, rows in given:
                self._db.execute(
                    f"CREATE TEMP TABLE {name} (row INTEGER PRIMARY KEY, id TEXT, gold TEXT, digest BLOB)"
                )
                for block in rows:
                    values = [(item.row, item.id, item.gold, item_digest(item, ignore)) for item in block]
                    self._db.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", values)  # noqa: S608
            if not ignore:
                self._db.execute("CREATE TEMP TABLE ours AS SELECT row, id, gold, digest FROM items")
            changes = self._changes()
            self._db.execute("DROP TABLE given")
            self._db.execute("DROP TABLE ours")
        return changes

    def _changes(self) -> RowChanges:
        for name in ("given", "ours"):
            self._db.execute(f"CREATE INDEX temp.{name}_by_id ON {name} (id)")
        count, both = self._count, "given g JOIN ours o ON o.id = g.id"
        ranks = (
            "SELECT row_number() OVER (ORDER BY g.row) AS one, row_number() OVER (ORDER BY o.row) AS other"
        )
        return RowChanges(
            added=count("given WHERE id NOT IN (SELECT id FROM ours)"),
            removed=count("ours WHERE id NOT IN (SELECT id FROM given)"),
            edited=count(f"{both} WHERE o.digest <> g.digest"),
            moved=count(f"({ranks} FROM {both}) WHERE one <> other"),
            gold=count(f"{both} WHERE o.gold IS NOT g.gold"),
        )

    def _count(self, what: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608 - our own words

    def replace_items(
        self, blocks: Iterable[Sequence[Item]], *, keep_asked: bool = False, **facts: Any
    ) -> None:
        """Store these items in place of the run's, and facts of the run.

        Args:
            blocks: All rows.
            keep_asked: Whether the rows still use the votes that they used; otherwise that (not the votes) is forgotten.
            facts: As in `put`.
        """
        with _transaction(self._db):
            self._db.execute("DELETE FROM items")
            if not keep_asked:
                self._db.execute("DELETE FROM asked")
            for block in blocks:
                self._db.executemany(
                    "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", [_item_row(item) for item in block]
                )
            self._put(facts)

    def items(self, rows: Sequence[int]) -> list[Item]:
        """Return the items of these rows, in their order."""
        marks = ",".join("?" * len(rows))
        found = self._db.execute(
            f"SELECT row, id, text, fields, target, gold FROM items WHERE row IN ({marks})",  # noqa: S608
            list(rows),
        )
        by_row = {row[0]: _item(row) for row in found}
        return [by_row[row] for row in rows]

    def all_items(self, block: int = 4096) -> Iterator[list[Item]]:
        """Yield all items in input order, in blocks."""
        cursor = self._db.execute("SELECT row, id, text, fields, target, gold FROM items ORDER BY row")
        while rows := cursor.fetchmany(block):
            yield [_item(row) for row in rows]

    def ids(self) -> list[str]:
        """Return all ids in input order."""
        return [row[0] for row in self._db.execute("SELECT id FROM items ORDER BY row")]

    def gold(self) -> list[str | None]:
        """Return all gold labels in input order."""
        return [row[0] for row in self._db.execute("SELECT gold FROM items ORDER BY row")]

    # -- links --------------------------------------------------------------------------------------------------

    def links(self) -> dict[str, tuple[int, bytes]]:
        """Return number and fingerprint of every link that this run knows, by name."""
        return {
            name: (link, fingerprint)
            for link, name, fingerprint in self._db.execute("SELECT link, name, fingerprint FROM links")
        }

    def put_link(self, name: str, fingerprint: bytes, model: str) -> int:
        """Store a link and return its number. A link with a new fingerprint forgets which votes its items used."""
        known = self.links().get(name)
        with _transaction(self._db):
            if known and known[1] != fingerprint:
                self._db.execute("DELETE FROM asked WHERE link = ?", (known[0],))
            self._db.execute(
                "INSERT INTO links (name, fingerprint, model) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, model = excluded.model",
                (name, fingerprint, model),
            )
        return self.links()[name][0]

    def add_seconds(self, link: int, seconds: float) -> None:
        """Add to the time that a link has worked."""
        with _transaction(self._db):
            self._db.execute("UPDATE links SET seconds = seconds + ? WHERE link = ?", (seconds, link))

    # -- votes --------------------------------------------------------------------------------------------------

    def asked_count(self, link: int) -> tuple[int, int]:
        """Return how many rows have an answer of a link, and how many of those are failures."""
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(label IS NULL), 0) FROM asked JOIN votes USING (link, key) WHERE link = ?",
            (link,),
        ).fetchone()
        return int(row[0]), int(row[1])

    def model(self, link: int) -> str:
        """Return what to show people as a link's model."""
        return str(self._db.execute("SELECT model FROM links WHERE link = ?", (link,)).fetchone()[0])

    def votes_count(self, link: int) -> int:
        """Return how many votes and failures of a link are stored."""
        return self._count(f"votes WHERE link = {link:d}")

    def find(self, link: int, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers among these keys of a link."""
        marks = ",".join("?" * len(keys))
        found = self._db.execute(
            f"SELECT {VOTE_COLUMNS} FROM votes WHERE link = ? AND key IN ({marks})",  # noqa: S608
            [link, *keys],
        )
        return {row[1]: answer_from(row) for row in found}

    def decided(
        self, link: int, labels: Sequence[str], n: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
        """Return, for one link: which rows have an answer, its label index (-1 for a failure), its confidence."""
        asked = np.zeros(n, bool)
        label = np.full(n, -1, np.int16)
        confidence = np.full(n, np.nan)
        index = {name: at for at, name in enumerate(labels)}
        cursor = self._db.execute(
            "SELECT row, label, confidence FROM asked JOIN votes USING (link, key) WHERE link = ?", (link,)
        )
        for row, name, value in cursor:
            asked[row] = True
            label[row] = index.get(name, -1)
            if value is not None:
                confidence[row] = value
        return asked, label, confidence

    def answers(self, link: int) -> Iterator[tuple[int, Answer, bool]]:
        """Yield (row, answer, whether it is the first row with this answer) of a link in row order."""
        columns = ", ".join(f"votes.{name.strip()}" for name in VOTE_COLUMNS.split(","))
        cursor = self._db.execute(
            f"SELECT row, {columns} FROM asked JOIN votes USING (link, key) WHERE asked.link = ? ORDER BY row",  # noqa: S608
            (link,),
        )
        seen = set[bytes]()
        for row in cursor:
            yield row[0], answer_from(row[1:]), row[2] not in seen
            seen.add(row[2])

    def failures(self, link: int) -> Iterator[tuple[int, str]]:
        """Yield (row, message) of the rows that a link has no label for."""
        yield from self._db.execute(
            "SELECT row, message FROM asked JOIN votes USING (link, key) WHERE link = ? AND label IS NULL",
            (link,),
        )

    def forget_transient(self) -> int:
        """Let rows whose failure may have passed ask again; returns how many."""
        marks = ",".join("?" * len(TRANSIENT))
        keys = f"SELECT link, key FROM votes WHERE reason IN ({marks})"  # noqa: S608
        with _transaction(self._db):
            gone = self._db.execute(f"DELETE FROM asked WHERE (link, key) IN ({keys})", TRANSIENT).rowcount  # noqa: S608
            self._db.execute(f"DELETE FROM votes WHERE reason IN ({marks})", TRANSIENT)  # noqa: S608
        return gone

    def spent(self, link: int) -> dict[str, Any]:
        """Return what all votes of a link used: calls, tokens, USD (None where unknown), seconds."""
        row = self._db.execute(
            "SELECT coalesce(sum(calls), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " sum(cost_usd) FROM votes WHERE link = ?",
            (link,),
        ).fetchone()
        seconds = self._db.execute("SELECT seconds FROM links WHERE link = ?", (link,)).fetchone()[0]
        names = ("calls", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
        return dict(zip(names, (*row, seconds), strict=True))

    # -- batches ------------------------------------------------------------------------------------------------

    def batches(self, link: int | None = None) -> list[BatchRecord]:
        """Return all batches of the run, or those of a link, oldest first."""
        return read_batches(self._db, link)

    def answered(self, link: int, keys: Sequence[bytes]) -> set[bytes]:
        """Return which of these keys of a link have an answer."""
        return answered_keys(self._db, link, keys)


class _transaction:  # noqa: N801 - a context manager that reads as a word
    """All or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:  # a full disk has rolled it back already
            self._connection.execute("ROLLBACK")


_encode = msgspec.json.Encoder(enc_hook=as_text).encode
_encode_sorted = msgspec.json.Encoder(enc_hook=as_text, order="sorted").encode
_decode = msgspec.json.Decoder().decode


def item_digest(item: Item, ignore: Collection[str] = ()) -> bytes:
    """Return the digest of what a row says, gold and ignored columns left out."""
    fields = {name: value for name, value in item.fields.items() if name not in ignore}
    values = [item.id, item.text, item.target, fields]
    return blake2b(_encode_sorted(values), digest_size=8).digest()


def _item_row(item: Item) -> tuple[Any, ...]:
    fields = _encode(item.fields).decode()
    return (item.row, item.id, item.text, item.target, item.gold, fields, item_digest(item))


def _item(row: Sequence[Any]) -> Item:
    return Item(row[0], row[1], row[2], _decode(row[3]), row[4], row[5])
