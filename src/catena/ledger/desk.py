"""The desk of a run: which items wait for people, and what people have said, before the ledger has taken it in.

Several processes write here: the run puts items down and takes answers in, the page and imports write answers. So the
file has a rollback journal and no write-ahead log: before SQLite 3.51.3 two writers could lose the end of such a log.
What a person has said is never overwritten: another answer of the same person, or taking one back, is another row.
"""

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from catena.errors import InputError, LedgerError
from catena.ledger.rows import checksum
from catena.ledger.store import one_line

__all__ = ["FILE", "WHERE", "Counts", "Desk", "Mark", "Queue", "Ready", "desk_of", "put_mark", "take_back"]

FILE = "desk.sqlite"
APPLICATION_ID = 0x4361746B  # "Catk"
VERSION = 1
BLOCK = 500  # items in one statement
CACHE_KIB = 16_384

TABLES = """
CREATE TABLE queues (
    queue INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, round INTEGER NOT NULL,
    finish INTEGER NOT NULL DEFAULT 0);
CREATE TABLE items (
    item INTEGER PRIMARY KEY, queue INTEGER NOT NULL, key BLOB NOT NULL, row INTEGER NOT NULL, id TEXT NOT NULL,
    needs INTEGER NOT NULL, round INTEGER NOT NULL, open INTEGER NOT NULL DEFAULT 1, got INTEGER NOT NULL DEFAULT 0,
    first TEXT NOT NULL DEFAULT '', changed INTEGER NOT NULL DEFAULT 0, taken INTEGER);
CREATE UNIQUE INDEX items_by_key ON items (queue, key);
CREATE INDEX items_by_id ON items (queue, id);
CREATE INDEX fresh ON items (queue, item, open, got) WHERE open AND got = 0;
CREATE INDEX begun ON items (queue, first, item, open, got, needs) WHERE open AND got > 0 AND got < needs;
CREATE INDEX ready ON items (queue, item) WHERE open AND taken IS NULL AND got >= needs;
CREATE INDEX untaken ON items (queue, item) WHERE open AND taken IS NULL;
CREATE INDEX labelled ON items (queue, item, got, needs) WHERE got >= needs;
CREATE INDEX several ON items (queue, item) WHERE got > 1;
CREATE INDEX revised ON items (queue, item) WHERE taken IS NOT NULL AND changed > taken;
CREATE TABLE marks (
    mark INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, annotator TEXT NOT NULL, label TEXT,
    note TEXT NOT NULL, at REAL NOT NULL, seconds REAL NOT NULL, how TEXT NOT NULL, live INTEGER NOT NULL DEFAULT 1,
    crc INTEGER NOT NULL);
CREATE UNIQUE INDEX live_marks ON marks (item, annotator) WHERE live;
CREATE INDEX marks_by_item ON marks (item, annotator, mark);
CREATE INDEX marks_by_annotator ON marks (annotator, mark) WHERE live;
CREATE TABLE claims (
    item INTEGER NOT NULL, annotator TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (item, annotator)) WITHOUT ROWID;
CREATE TABLE annotators (
    queue INTEGER NOT NULL, annotator TEXT NOT NULL, given INTEGER NOT NULL, PRIMARY KEY (queue, annotator)
    ) WITHOUT ROWID;
CREATE INDEX claims_by_annotator ON claims (annotator);
"""


WHERE = {
    "fresh": "INDEXED BY fresh WHERE open AND got = 0",
    "begun": "INDEXED BY begun WHERE open AND got > 0 AND got < needs",
    "ready": "INDEXED BY ready WHERE open AND taken IS NULL AND got >= needs",
    "untaken": "INDEXED BY untaken WHERE open AND taken IS NULL",
    "labelled": "INDEXED BY labelled WHERE got >= needs",
    "several": "INDEXED BY several WHERE got > 1",
    "revised": "INDEXED BY revised WHERE taken IS NOT NULL AND changed > taken",
}
"""Items in each state, found by their own index however many others there are."""


class Mark(msgspec.Struct, frozen=True):
    """What one person said about one item.

    Args:
        annotator: The person's name.
        label: A label; None where the person passed the item over.
        note: A remark; empty for none.
        at: Seconds since 1970.
        seconds: How long the person looked at it; 0 where that is not known.
        how: `page`, or the format of the file that it came in.
    """

    annotator: str
    label: str | None
    note: str = ""
    at: float = 0.0
    seconds: float = 0.0
    how: str = "page"


class Queue(msgspec.Struct, frozen=True):
    """One link's queue of items for people.

    Args:
        number: Its number at this desk.
        name: The link's name.
        labels: What may be said, in order: the task's labels, and the word for none where the task has one.
        question: The task's instruction, as the task file has it.
        guidelines: What people are told, in plain text or Markdown.
        blind: Whether people don't see what earlier links said.
        show: The other columns that people see; None for all.
        finish: Whether the run shall go on without people.
    """

    number: int
    name: str
    labels: tuple[str, ...] = ()
    question: str = ""
    guidelines: str = ""
    blind: bool = False
    show: tuple[str, ...] | None = None
    finish: bool = False


class Counts(msgspec.Struct, frozen=True):
    """How many items of a queue there are.

    Args:
        waiting: They wait for a person, or for another one.
        labelled: They have all the labels that they need.
    """

    waiting: int
    labelled: int


class Ready(msgspec.Struct, frozen=True):
    """An item that the run can take in.

    Args:
        item: Its number at this desk.
        key: Its vote's key.
        row: Its row.
        changed: How often its answers had changed when it was read.
        marks: What people say of it now, earliest first.
    """

    item: int
    key: bytes
    row: int
    changed: int
    marks: tuple[Mark, ...]


def desk_of(folder: Path) -> "Desk | None":
    """Return the desk of a run that has one."""
    return Desk(folder) if (folder / FILE).exists() else None


class Desk:
    """Reads and writes the desk; several processes and threads may at the same time.

    As a context manager it closes itself.

    Args:
        folder: The run's folder; the desk is made where there is none.

    Raises:
        LedgerError: The file is no desk, is damaged, or can't be read or written. Every method may raise it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        with self._said():
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            except OSError as error:
                raise sqlite3.OperationalError(error.strerror) from error
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=30, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self.db.close()
                raise

    def _prepare(self) -> None:
        self.db.execute("PRAGMA journal_mode = TRUNCATE")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if self.db.execute("PRAGMA application_id").fetchone()[0] == 0:
            with self.changing():
                if self.db.execute("PRAGMA application_id").fetchone()[0] == 0:
                    for statement in filter(str.strip, TABLES.split(";")):
                        self.db.execute(statement)
                    self.db.execute(f"PRAGMA user_version = {VERSION}")
                    self.db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        found = [
            self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        if found[0] != APPLICATION_ID:
            raise LedgerError(
                f"{self.path} is not a desk of Catena.", "Move it away, then run the same command."
            )
        if found[1] > VERSION:
            raise LedgerError(
                f"{self.path} has version {found[1]} and this Catena knows up to {VERSION}.",
                "Upgrade Catena.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Let one thread in at a time, and say what SQLite raises in one line."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerError(
                    f"{self.path}: {one_line(error)}.",
                    "What people said before is kept; put it right and run the same command.",
                ) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread."""
        with self._said():
            yield self.db

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread, for changes that are made all or none."""
        with self._said():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    # -- queues -------------------------------------------------------------------------------------------------

    def begin(self, name: str, settings: dict[str, Any]) -> int:
        """Begin a run's round over a link's queue, and return the queue's number.

        Args:
            name: The link's name.
            settings: What `Queue` has beside its number, name and finish.
        """
        said = json.dumps(settings)
        with self.changing() as db:
            db.execute(
                "INSERT INTO queues (name, settings, round) VALUES (?, ?, 1) ON CONFLICT (name) DO UPDATE "
                "SET settings = excluded.settings, round = round + 1",
                (name, said),
            )
            return int(db.execute("SELECT queue FROM queues WHERE name = ?", (name,)).fetchone()[0])

    def lay_out(self, name: str, settings: dict[str, Any]) -> int:
        """Return the number of a link's queue, which is made where there is none; no round begins.

        Args:
            name: The link's name.
            settings: As in `begin`.
        """
        with self.changing() as db:
            db.execute(
                "INSERT OR IGNORE INTO queues (name, settings, round) VALUES (?, ?, 0)",
                (name, json.dumps(settings)),
            )
            return int(db.execute("SELECT queue FROM queues WHERE name = ?", (name,)).fetchone()[0])

    def queues(self) -> list[Queue]:
        """Return all queues, oldest first."""
        with self.reading() as db:
            rows = db.execute("SELECT queue, name, settings, finish FROM queues ORDER BY queue").fetchall()
        return [
            msgspec.convert(
                {**json.loads(said), "number": number, "name": name, "finish": bool(finish)}, Queue
            )
            for number, name, said, finish in rows
        ]

    def finish(self, name: str, *, wanted: bool = True) -> None:
        """Let the run go on without people at a link, or let it wait for them again.

        Raises:
            InputError: No such queue.
        """
        with self.changing() as db:
            found = db.execute("UPDATE queues SET finish = ? WHERE name = ?", (int(wanted), name)).rowcount
        if not found:
            raise InputError(
                f"{self.path.parent}: no link '{name}' has people.", "Name a link of kind: human."
            )

    def finishing(self, queue: int) -> bool:
        """Tell whether the run shall go on without people."""
        with self.reading() as db:
            return bool(db.execute("SELECT finish FROM queues WHERE queue = ?", (queue,)).fetchone()[0])

    # -- the run's side -----------------------------------------------------------------------------------------

    def put(self, queue: int, items: Sequence[tuple[bytes, int, str, int]]) -> None:
        """Put items down that have reached a link and that the ledger has no vote on.

        Args:
            queue: The link's.
            items: Key, row, id and how many people shall label it, of each. One that is there stays, with its answers.
        """
        with self.changing() as db:
            (turn,) = db.execute("SELECT round FROM queues WHERE queue = ?", (queue,)).fetchone()
            db.executemany(
                "INSERT INTO items (queue, key, row, id, needs, round) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (queue, key) DO UPDATE SET row = excluded.row, needs = excluded.needs, "
                "round = excluded.round, open = 1, taken = NULL",
                [(queue, *item, turn) for item in items],
            )

    def keep(self, queue: int, items: Sequence[tuple[bytes, int, str, int]]) -> None:
        """Make items known that have not reached the link, so that what is said about them is there if they do; see `put`."""
        with self.changing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO items (queue, key, row, id, needs, round, open) VALUES (?, ?, ?, ?, ?, -1, 0)",
                [(queue, *item) for item in items],
            )

    def close_others(self, queue: int) -> None:
        """Take away what has not been put down in this round: another decision needs it no more. Answers stay."""
        with self.changing() as db:
            db.execute(
                "UPDATE items SET open = 0 WHERE queue = ?1 AND open "
                "AND round < (SELECT round FROM queues WHERE queue = ?1)",
                (queue,),
            )

    def ready(self, queue: int, most: int, *, whole: bool = True, after: int = -1) -> list[Ready]:
        """Return items whose answers the ledger lacks, in the order in which they were put down.

        Args:
            queue: The link's.
            most: Most items.
            whole: Only those with all the labels that they need; otherwise all that lie there, without any too.
            after: The number of the last item that is known already.
        """
        return self._ready(queue, "ready" if whole else "untaken", most, after)

    def take(self, items: Sequence[Ready]) -> None:
        """Learn that the ledger has what these items' answers were when they were read."""
        with self.changing() as db:
            db.executemany(
                "UPDATE items SET taken = ?2, open = (changed > ?2 AND got < needs) WHERE item = ?1",
                [(each.item, each.changed) for each in items],
            )

    def revised(self, queue: int, most: int) -> list[Ready]:
        """Return items whose answers have changed since the ledger took them in."""
        return self._ready(queue, "revised", most)

    def _ready(self, queue: int, which: str, most: int, after: int = -1) -> list[Ready]:
        with self.reading() as db:
            rows = db.execute(
                f"SELECT item, key, row, changed FROM items {WHERE[which]} AND queue = ? AND item > ? "  # noqa: S608
                "ORDER BY item LIMIT ?",
                (queue, after, most),
            ).fetchall()
            marks = self._marks([row[0] for row in rows])
        return [
            Ready(item, key, row, changed, tuple(marks.get(item, ()))) for item, key, row, changed in rows
        ]

    def put_back(self, items: Sequence[Ready]) -> None:
        """Learn that the ledger has forgotten what it had of these items."""
        with self.changing() as db:
            db.executemany("UPDATE items SET taken = NULL WHERE item = ?", [(each.item,) for each in items])

    def waits(self, queue: int) -> bool:
        """Tell whether any item waits for a person, or for the run."""
        with self.reading() as db:
            return any(
                db.execute(f"SELECT 1 FROM items {WHERE[which]} AND queue = ? LIMIT 1", (queue,)).fetchone()  # noqa: S608
                for which in ("fresh", "begun", "ready")
            )

    def counts(self, queue: int) -> Counts:
        """Return how many items wait, and how many are labelled."""
        with self.reading() as db:
            fresh, begun, labelled = (
                db.execute(f"SELECT count(*) FROM items {WHERE[which]} AND queue = ?", (queue,)).fetchone()[0]  # noqa: S608
                for which in ("fresh", "begun", "labelled")
            )
        return Counts(fresh + begun, labelled)

    # -- what people said ---------------------------------------------------------------------------------------

    def marks_of(self, item: int) -> list[Mark]:
        """Return what people say of an item now, earliest first; who passed it over says nothing."""
        with self.reading():
            return self._marks([item]).get(item, [])

    def _marks(self, items: Sequence[int]) -> dict[int, list[Mark]]:
        found: dict[int, list[Mark]] = {}
        for at in range(0, len(items), BLOCK):
            block = items[at : at + BLOCK]
            marks = ",".join("?" * len(block))
            for item, *values, crc in self.db.execute(
                f"SELECT item, annotator, label, note, at, seconds, how, crc FROM marks WHERE item IN ({marks}) "  # noqa: S608
                "AND live AND label IS NOT NULL ORDER BY mark",
                block,
            ):
                if checksum((item, *values)) != crc:
                    raise LedgerError(
                        f"{self.path} is damaged: an answer is not what was stored.",
                        "Restore it from a copy.",
                    )
                found.setdefault(item, []).append(Mark(*values))
        return found

    def all_marks(self, queue: int, *, several: bool = False) -> Iterator[tuple[int, str, Mark]]:
        """Yield (row, item id, mark) of a queue's labels in the order in which items were put down.

        Args:
            queue: Its number.
            several: Only of items that several people have labelled.
        """
        last, which = -1, WHERE["several"] if several else "WHERE got > 0"
        while True:
            with self.reading() as db:
                rows = db.execute(
                    f"SELECT item, row, id FROM items {which} AND queue = ? AND item > ? ORDER BY item LIMIT ?",  # noqa: S608
                    (queue, last, BLOCK),
                ).fetchall()
                marks = self._marks([row[0] for row in rows])
            if not rows:
                return
            for item, row, name in rows:
                for mark in marks.get(item, ()):
                    yield row, name, mark
            last = rows[-1][0]

    def annotators(self, queue: int) -> dict[str, int]:
        """Return how many labels each person has given, by name."""
        with self.reading() as db:
            query = "SELECT annotator, given FROM annotators WHERE queue = ? AND given > 0 ORDER BY annotator"
            return dict(db.execute(query, (queue,)).fetchall())

    def find(self, queue: int, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the numbers of the items with these keys, of those that are there."""
        found: dict[bytes, int] = {}
        with self.reading() as db:
            for at in range(0, len(keys), BLOCK):
                block = keys[at : at + BLOCK]
                marks = ",".join("?" * len(block))
                query = f"SELECT key, item FROM items WHERE queue = ? AND key IN ({marks})"  # noqa: S608
                found.update(db.execute(query, [queue, *block]).fetchall())
        return found

    def seen(self, queue: int, names: Sequence[str]) -> dict[str, tuple[bool, list[Mark]]]:
        """Return of these item ids whether they wait for people, and what people say of them, as last put down."""
        found: dict[str, tuple[bool, list[Mark]]] = {}
        with self.reading() as db:
            for at in range(0, len(names), BLOCK):
                block = names[at : at + BLOCK]
                signs = ",".join("?" * len(block))
                what = f"queue = ? AND id IN ({signs}) ORDER BY round, item"
                query = f"SELECT id, item, open AND got < needs FROM items WHERE {what}"  # noqa: S608
                rows = db.execute(query, [queue, *block]).fetchall()
                marks = self._marks([row[1] for row in rows])
                found.update((name, (bool(waits), marks.get(item, []))) for name, item, waits in rows)
        return found

    def answer_all(self, marks: Sequence[tuple[int, Mark]]) -> int:
        """Keep all of these marks (item, mark) or none; returns how many said something new.

        What says no more than the person's mark in force, or is older than it, changes nothing.
        """
        with self.changing() as db:
            return sum(_put_newer(db, item, mark) for item, mark in marks)


def _put_newer(db: sqlite3.Connection, item: int, mark: Mark) -> bool:
    found = db.execute(
        "SELECT label, note, at FROM marks WHERE item = ? AND annotator = ? AND live", (item, mark.annotator)
    ).fetchone()
    if found and (found[:2] == (mark.label, mark.note) or found[2] > mark.at):
        return False
    put_mark(db, item, mark)
    return True


def put_mark(db: sqlite3.Connection, item: int, mark: Mark) -> None:
    """Store a mark within a transaction, in the place of the person's earlier one; the item is theirs no more."""
    said = (item, mark.annotator, mark.label, mark.note, float(mark.at), float(mark.seconds), mark.how)
    take_back(db, item, mark.annotator)
    db.execute(
        "INSERT INTO marks (item, annotator, label, note, at, seconds, how, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*said, checksum(said)),
    )
    db.execute("DELETE FROM claims WHERE item = ? AND annotator = ?", (item, mark.annotator))
    _recount(db, item, mark.annotator, int(mark.label is not None))


def take_back(db: sqlite3.Connection, item: int, annotator: str) -> None:
    """Take a person's mark out of force within a transaction; it stays on record."""
    mine = "item = ? AND annotator = ? AND live"
    gone = db.execute(f"SELECT label IS NOT NULL FROM marks WHERE {mine}", (item, annotator)).fetchone()  # noqa: S608
    if gone:
        db.execute(f"UPDATE marks SET live = 0 WHERE {mine}", (item, annotator))  # noqa: S608
        _recount(db, item, annotator, -int(gone[0]))


def _recount(db: sqlite3.Connection, item: int, annotator: str, more: int) -> None:
    """Set what an item says of its marks; one that lacks labels again lies open again, if it is part of the run."""
    db.execute(
        "UPDATE items SET changed = changed + 1, "
        "got = (SELECT count(*) FROM marks WHERE item = ?1 AND live AND label IS NOT NULL), "
        "first = coalesce((SELECT annotator FROM marks WHERE item = ?1 AND live AND label IS NOT NULL "
        "ORDER BY mark LIMIT 1), '') WHERE item = ?1",
        (item,),
    )
    db.execute(
        "UPDATE items SET open = 1 WHERE item = ? AND got < needs AND taken IS NOT NULL "
        "AND round = (SELECT round FROM queues WHERE queues.queue = items.queue)",
        (item,),
    )
    db.execute(
        "INSERT INTO annotators SELECT queue, ?2, ?3 FROM items WHERE item = ?1 "
        "ON CONFLICT (queue, annotator) DO UPDATE SET given = given + excluded.given",
        (item, annotator, more),
    )
