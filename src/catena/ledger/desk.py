"""The desk of a run: which items wait for people, and what people have said, before the ledger has taken it in.

What a person has said is never overwritten: another answer of the same person, or taking one back, is another row.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from catena.errors import InputError
from catena.ledger.desk_file import FILE, DeskFile
from catena.ledger.desk_schema import WHERE
from catena.ledger.marks import Mark, marks_of, put_newer

__all__ = ["FILE", "Counts", "Desk", "Queue", "Ready", "desk_of"]

BLOCK = 500  # items in one statement


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


class Desk(DeskFile):
    """Reads and writes the desk; several processes and threads may at the same time.

    As a context manager it closes itself.

    Args:
        folder: The run's folder; the desk is made where there is none.

    Raises:
        LedgerError: The file is no desk, is damaged, or can't be read or written. Every method may raise it.
    """

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

    def retire(self, names: Collection[str]) -> None:
        """Take away what waits in the queues of links that are no longer in the chain. Answers stay.

        Args:
            names: The links that are. Queues that no run has begun are none of its concern.
        """
        with self.changing() as db:
            for queue, name in db.execute("SELECT queue, name FROM queues WHERE round > 0").fetchall():
                if name not in names:
                    db.execute("UPDATE items SET open = 0 WHERE queue = ? AND open", (queue,))

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
        """Take away what has not been put down in this round: another decision needs it no more. Answers stay.

        What was taken in before, and taken back by its author since, waits all the same.
        """
        with self.changing() as db:
            db.execute(
                "UPDATE items SET open = 0 WHERE queue = ?1 AND open AND taken IS NULL "
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
            marks = marks_of(self.db, [row[0] for row in rows])
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
            return Counts(
                *db.execute("SELECT waiting, labelled FROM queues WHERE queue = ?", (queue,)).fetchone()
            )

    # -- what people said ---------------------------------------------------------------------------------------

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
                marks = marks_of(self.db, [row[0] for row in rows])
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
                marks = marks_of(self.db, [row[1] for row in rows])
                found.update((name, (bool(waits), marks.get(item, []))) for name, item, waits in rows)
        return found

    def answer_all(self, marks: Sequence[tuple[int, Mark]]) -> int:
        """Keep all of these marks (item, mark) or none; returns how many said something new.

        What says no more than the person's mark in force, or is older than it, changes nothing.
        """
        with self.changing() as db:
            return sum(put_newer(db, item, mark) for item, mark in marks)
