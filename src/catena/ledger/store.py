"""The ledger of a run: its items, and every vote that was ever paid for them."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from catena.errors import InputError, LedgerError
from catena.ledger import sums, votes, wal
from catena.ledger.batches import BatchRecord, Change, answered_keys, read_batches
from catena.ledger.failing import failing, forget_failing
from catena.ledger.items import ITEM_COLUMNS, Broken, RowChanges, compare, item, item_row
from catena.ledger.lock import RunLock
from catena.ledger.rows import checksum
from catena.ledger.schema import LINK_FACT, count, create, is_current, migrate
from catena.ledger.writer import Writer
from catena.types import Answer, Item

__all__ = ["FILE", "Ledger", "RowChanges", "connect", "one_line", "store"]

FILE = "ledger.sqlite"
BLOCK = 4096
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


def store(facts: Mapping[str, Any]) -> Change:
    """Return the change that stores facts of the run."""
    rows = [(key, json.dumps(value)) for key, value in facts.items()]
    checked = [(*row, checksum(row)) for row in rows]

    def change(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)", checked)

    return change


class Ledger:
    """Reads and writes one ledger file. Reading works while another process writes.

    Every row that is read is checked against its checksum. A damaged one is never used: what meets it raises. As a
    context manager, a ledger closes itself and turns what SQLite raises into a LedgerError.

    Args:
        folder: The run's folder.
        write: Whether this process will write; needs the run's lock.

    Raises:
        InputError: There is no run in the folder.
        LedgerError: The file is no Catena ledger, or is damaged, or it can't be read.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self.path = folder / FILE
        if not self.path.exists():
            if not write:
                raise InputError(
                    f"{folder} holds no run.", f"Start one with: catena run TASK DATA --out {folder}"
                )
            with self._said():
                _create(self.path)
        with self._said():
            if not self.path.stat().st_size or (write and wal.is_cut(self.path)):
                raise self.damaged("the file or its log was cut or overwritten")
            self._db = connect(self.path, "rw" if write else "ro")
            try:
                self._bring_up_to_date(write=write)
            except BaseException:
                self._db.close()
                raise

    def _bring_up_to_date(self, *, write: bool) -> None:
        if is_current(self._db, str(self.path)):
            return
        lock = None if write else RunLock(self.folder)
        try:
            with contextlib.closing(connect(self.path, "rw")) as connection:
                migrate(connection, str(self.path))
        finally:
            if lock:
                lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise self.explained(error) from error

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.explained(error) from error

    def explained(self, error: sqlite3.Error) -> LedgerError:
        """Return what SQLite raised as an error that says what to do."""
        said = one_line(error)
        full = "full" in str(error) or "disk I/O" in str(error) or "unable to open" in str(error)
        if full or "locked" in str(error):
            hint = "Everything committed is kept; make room and run the same command."
            return LedgerError(f"{self.path}: {said}.", hint)
        return self.damaged(said)

    def damaged(self, what: str) -> LedgerError:
        """Return the error that says that the ledger is not what was written, and the way on."""
        return LedgerError(
            f"{self.path} is damaged: {what}.",
            f"Save what is whole with: catena check --ledger {self.folder} --repair",
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def writer(self, committed: Callable[[list[tuple[int, bytes]]], None]) -> Writer:
        """Start the thread that commits votes; call within the event loop."""
        return Writer(lambda: connect(self.path, "rw"), committed)

    # -- what the run is ----------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return a stored fact of the run, None where there is none."""
        row = self._db.execute("SELECT key, value, crc FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if checksum(row[:2]) != row[2]:
            raise self.damaged(f"what it says about the run ({key})")
        return json.loads(row[1])

    def put(self, **facts: Any) -> None:
        """Store facts of the run, all at once."""
        with _transaction(self._db):
            self._put(facts)

    def _put(self, facts: Mapping[str, Any]) -> None:
        store(facts)(self._db)

    # -- items --------------------------------------------------------------------------------------------------

    def items_count(self) -> int:
        """Return how many items there are: they are numbered from 0 without a gap."""
        return int(self._db.execute("SELECT coalesce(max(row) + 1, 0) FROM items").fetchone()[0])

    def compare_items(self, blocks: Iterable[Sequence[Item]], ignore: Collection[str] = ()) -> RowChanges:
        """Lay given rows beside the run's own and return how they differ; nothing is changed.

        Args:
            blocks: The given rows; may be read twice.
            ignore: Other columns that don't count, since they are gold in one of the two.
        """
        with _transaction(self._db):
            return compare(self._db, blocks, self.all_items(), ignore)

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
                self._db.execute("UPDATE totals SET answered = 0, failed = 0")
            rows = 0
            for block in blocks:
                self._db.executemany(
                    f"INSERT INTO items ({ITEM_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    [item_row(each) for each in block],
                )
                rows += len(block)
            self._put(facts | {"rows": rows})

    def items(self, rows: Sequence[int]) -> list[Item]:
        """Return the items of these rows, in their order."""
        marks = ",".join("?" * len(rows))
        found = self._db.execute(
            f"SELECT {ITEM_COLUMNS} FROM items WHERE row IN ({marks})",  # noqa: S608
            list(rows),
        )
        by_row = {row[0]: self._item(row) for row in found}
        if len(by_row) < len(rows):
            raise self.damaged(f"{len(rows) - len(by_row):,} rows are missing")
        return [by_row[row] for row in rows]

    def all_items(self, block: int = BLOCK) -> Iterator[list[Item]]:
        """Yield all items in input order, in blocks."""
        cursor = self._db.execute(f"SELECT {ITEM_COLUMNS} FROM items ORDER BY row")  # noqa: S608
        at = 0
        while rows := cursor.fetchmany(block):
            items = [self._item(row) for row in rows]
            self._without_gap(items[-1].row, at := at + len(rows))
            yield items
        self._as_many_as_stored(at)

    def _item(self, values: Sequence[Any]) -> Item:
        try:
            return item(values)
        except Broken as broken:
            raise self.damaged(f"{broken} of its items") from None

    def names(self, block: int = BLOCK) -> Iterator[list[tuple[int, str, str | None]]]:
        """Yield (row, id, gold) of all items in input order, in blocks."""
        cursor = self._db.execute("SELECT row, id, gold, digest, crc FROM items ORDER BY row")
        at = 0
        while rows := cursor.fetchmany(block):
            if any(checksum(row[:4]) != row[4] for row in rows):
                raise self.damaged("a row of its items")
            self._without_gap(rows[-1][0], at := at + len(rows))
            yield [row[:3] for row in rows]
        self._as_many_as_stored(at)

    def _without_gap(self, row: int, count: int) -> None:
        if row != count - 1:
            raise self.damaged("rows are missing")

    def _as_many_as_stored(self, rows: int) -> None:
        stored = self.get("rows")
        if stored is not None and stored != rows:
            raise self.damaged(f"it holds {rows:,} of {stored:,} rows")

    def golds(self, rows: Sequence[int]) -> dict[int, str | None]:
        """Return the gold labels of some rows."""
        marks = ",".join("?" * len(rows))
        query = f"SELECT row, id, gold, digest, crc FROM items WHERE row IN ({marks})"  # noqa: S608
        found = self._db.execute(query, list(rows)).fetchall()
        if any(checksum(row[:4]) != row[4] for row in found):
            raise self.damaged("a row of its items")
        return {row[0]: row[2] for row in found}

    def stamp(self, start: int, stop: int) -> str:
        """Return what tells whether the items from row `start` up to `stop` are the same as before: it changes with them."""
        query = "SELECT count(*), total(crc), total(body_crc) FROM items WHERE row >= ? AND row < ?"
        return " ".join(map(str, self._db.execute(query, (start, stop)).fetchone()))

    def ids(self) -> Iterator[str]:
        """Yield all ids in input order."""
        for block in self.names():
            yield from (name for _, name, _ in block)

    def gold(self) -> Iterator[str | None]:
        """Yield all gold labels in input order."""
        for block in self.names():
            yield from (gold for _, _, gold in block)

    def lengths(self, n: int) -> NDArray[np.float64]:
        """Return how many characters each text has, [n]."""
        found = np.zeros(n)
        for row, length in self._db.execute("SELECT row, length(text) FROM items WHERE row < ?", (n,)):
            found[row] = length
        return found

    # -- links --------------------------------------------------------------------------------------------------

    def links(self) -> dict[str, tuple[int, bytes]]:
        """Return number and fingerprint of every link that this run knows, by name."""
        rows = self._db.execute("SELECT link, name, fingerprint, model, crc FROM links").fetchall()
        if any(checksum(row[:4]) != row[4] for row in rows):
            raise self.damaged("what it says about a link")
        return {name: (link, fingerprint) for link, name, fingerprint, _, _ in rows}

    def put_link(self, name: str, fingerprint: bytes, model: str) -> int:
        """Store a link and return its number. A link with a new fingerprint forgets which votes its items used."""
        known = self.links()
        number = known[name][0] if name in known else self._free_number(known)
        with _transaction(self._db):
            if name in known and known[name][1] != fingerprint:
                self._db.execute("DELETE FROM asked WHERE link = ?", (number,))
                self._db.execute("UPDATE totals SET answered = 0, failed = 0 WHERE link = ?", (number,))
                self._put({"finished": None})
            row = (number, name, fingerprint, model)
            self._db.execute(
                "INSERT INTO links (link, name, fingerprint, model, crc) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO "
                "UPDATE SET fingerprint = excluded.fingerprint, model = excluded.model, crc = excluded.crc",
                (*row, checksum(row)),
            )
            self._db.execute("INSERT OR IGNORE INTO totals VALUES (?, 0, 0, 0, 0, 0, 0, NULL)", (number,))
            self._put({LINK_FACT + name: [number, name, fingerprint.hex(), model]})
        return number

    def _free_number(self, known: Mapping[str, tuple[int, bytes]]) -> int:
        """Return a number that no link has, nor votes whose link was lost."""
        voted = self._db.execute("SELECT coalesce(max(link), 0) FROM votes").fetchone()[0]
        return 1 + max(int(voted), *(number for number, _ in known.values()), 0)

    def add_seconds(self, link: int, seconds: float) -> None:
        """Add to the time that a link has worked."""
        with _transaction(self._db):
            self._db.execute("UPDATE links SET seconds = seconds + ? WHERE link = ?", (seconds, link))

    def model(self, link: int) -> str:
        """Return what to show people as a link's model."""
        return str(self._db.execute("SELECT model FROM links WHERE link = ?", (link,)).fetchone()[0])

    # -- votes --------------------------------------------------------------------------------------------------

    def asked_count(self, link: int) -> tuple[int, int]:
        """Return how many rows have an answer of a link, and how many of those are failures."""
        row = self._db.execute("SELECT answered, failed FROM totals WHERE link = ?", (link,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def asked(self, link: int, n: int) -> NDArray[np.bool_]:
        """Return which rows have an answer of a link, bool [n]."""
        asked = np.zeros(n, bool)
        for (row,) in self._db.execute("SELECT row FROM asked WHERE link = ? AND row < ?", (link, n)):
            asked[row] = True
        return asked

    def votes_count(self, link: int) -> int:
        """Return how many votes and failures of a link are stored."""
        row = self._db.execute("SELECT votes FROM totals WHERE link = ?", (link,)).fetchone()
        return int(row[0]) if row else 0

    def spent(self, link: int) -> dict[str, Any]:
        """Return what all votes of a link used: calls, tokens, USD (None where unknown), seconds."""
        names = ("calls", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
        row = self._db.execute(
            f"SELECT {', '.join(names)} FROM links JOIN totals USING (link) WHERE link = ?",  # noqa: S608
            (link,),
        ).fetchone()
        return dict(zip(names, row or (0, 0, 0, None, 0.0), strict=True))

    def find(self, link: int, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers among these keys of a link."""
        with self._whole():
            return votes.find(self._db, link, keys)

    def decided(
        self, link: int, labels: Sequence[str], n: int, **more: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
        """Return, for one link: which rows have an answer, its label index (-1 for a failure), its confidence.

        Args:
            link: Its number.
            labels: The labels, in the order of the indices.
            n: Rows.
            more: `chance` and `cost` to be filled; see `votes.decided`.
        """
        with self._whole():
            return votes.decided(self._db, link, labels, n, **more)

    def scored(
        self, link: int, labels: int, n: int
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float64]]:
        """Return log-probabilities and costs of a link's votes; see `votes.scored`."""
        with self._whole():
            return votes.scored(self._db, link, labels, n)

    def answers(self, link: int, *, given: bool = False) -> Iterator[tuple[int, str, Answer, bool]]:
        """Yield (row, id, answer, whether it is the first row with this answer) of a link in row order.

        Votes are as they count in decisions, unless they are wanted as they were `given`.
        """
        with self._whole():
            yield from votes.answers(self._db, link, given=given)

    def mean(self, link: int) -> dict[str, float] | None:
        """Return what a link's label distributions are divided by in decisions; None where they count as they are."""
        with self._whole():
            return votes.mean(self._db, link)

    def said(self, link: int, rows: Sequence[int]) -> dict[int, Answer]:
        """Return what a link has said about some rows, as it counts, by row; those that it has not are left out."""
        with self._whole():
            return votes.of_rows(self._db, link, rows)

    def told(self, link: int, rows: Sequence[int]) -> list[tuple[int, str | None, float | None, str | None]]:
        """Return (row, label, confidence, reason of a failure) of those rows that a link has said something about."""
        with self._whole():
            return list(votes.told(self._db, link, rows))

    def counted(self, link: int, block: int) -> dict[int, int]:
        """Return how many rows of each block have an answer of a link; block i begins at row i * block."""
        found = self._db.execute(
            "SELECT row / ?, count(*) FROM asked WHERE link = ? GROUP BY 1", (block, link)
        )
        return dict(found)

    def asked_rows(self, link: int, start: int, stop: int) -> list[int]:
        """Return the rows from `start` up to `stop` that have an answer of a link, ascending."""
        query = "SELECT row FROM asked WHERE link = ? AND row >= ? AND row < ? ORDER BY row"
        return [row for (row,) in self._db.execute(query, (link, start, stop))]

    def failures(self, link: int, start: int, stop: int) -> Iterator[tuple[int, str]]:
        """Yield (row, message) of those rows from `start` up to `stop` that a link has no label for."""
        yield from self._db.execute(
            "SELECT row, message FROM asked JOIN votes USING (link, key) "
            "WHERE link = ? AND row >= ? AND row < ? AND label IS NULL",
            (link, start, stop),
        )

    def failed_by(self, link: int) -> list[sums.Failed]:
        """Return why rows have no label of a link, the most frequent reason first."""
        return sums.failed_by(self._db, link)

    def said_by(self) -> dict[int, dict[str, list[tuple[str, int]]]]:
        """Return which models answered for each link, and where confidences come from; see `sums.said_by`."""
        return sums.said_by(self._db)

    def course(self, steps: int) -> list[sums.Step]:
        """Return how votes and their cost came in; see `sums.course`."""
        return sums.course(self._db, steps)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except Broken as broken:
            raise self.damaged(str(broken)) from None

    def forget_transient(self, only: Collection[tuple[int, bytes]] | None = None) -> int:
        """Let rows whose failure may have passed ask again, but for settled ones; returns how many.

        Args:
            only: Which failures, as link and key; all of them unless said.
        """
        with _transaction(self._db):
            stay = self.settled()
            keys = [key for key in failing(self._db) if key not in stay and (only is None or key in only)]
            if not keys:
                return 0
            gone, freed, charged = forget_failing(self._db, keys)
            if gone or freed:
                for link, _ in self.links().values():
                    count(self._db, link)
                lost = self.get("lost") or (0.0, 0.0, 0.0)
                self._put({"finished": None, "lost": [a + b for a, b in zip(lost, charged, strict=True)]})
        return gone

    def transient(
        self, links: Collection[int], rows: Collection[int] | None = None
    ) -> list[tuple[int, bytes]]:
        """Return link and key of those failures of some links that may have passed and are not settled.

        Args:
            links: Their numbers.
            rows: Which rows use them; any, or none, unless said.
        """
        stay = self.settled()
        found = [key for key in failing(self._db) if key[0] in links and key not in stay]
        if rows is None or not found:
            return found
        used = {
            (link, key)
            for link in {link for link, _ in found}
            for row, key in self._db.execute("SELECT row, key FROM asked WHERE link = ?", (link,))
            if row in rows
        }
        return [key for key in found if key in used]

    def settle(self, links: Collection[int]) -> int:
        """Let the failures of some links stay as they are, since something counts on them; returns how many stay so now."""
        stay = sorted({*self.settled(), *self.transient(links)})
        if stay:
            self.put(settled=[[link, key.hex()] for link, key in stay])
        return len(stay)

    def settled(self) -> set[tuple[int, bytes]]:
        """Return link and key of the failures that stay as they are; see `settle`."""
        return {(link, bytes.fromhex(key)) for link, key in self.get("settled") or ()}

    def forget(self, link: int, keys: Sequence[bytes]) -> int:
        """Forget a link's answers to these keys, so that their rows ask again; returns how many there were."""
        with _transaction(self._db):
            at = [(link, key) for key in keys]
            gone = self._db.executemany("DELETE FROM votes WHERE link = ? AND key = ?", at).rowcount
            if gone:
                self._db.executemany(
                    "DELETE FROM asked WHERE link = ?1 AND row IN (SELECT row FROM asked WHERE link = ?1 AND key = ?2)",
                    at,
                )
                count(self._db, link)
                self._put({"finished": None})
        return max(gone, 0)

    def failed_keys(self, link: int, reason: str) -> list[bytes]:
        """Return the keys that a link has failed on for a reason."""
        query = "SELECT key FROM votes WHERE link = ? AND reason = ?"
        return [key for (key,) in self._db.execute(query, (link, reason))]

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


def _create(path: Path) -> None:
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
