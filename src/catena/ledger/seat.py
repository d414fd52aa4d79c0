"""One person at the desk: takes the next item, labels it, passes it over, takes an answer back."""

import sqlite3
import time
from collections.abc import Callable, Iterator

import msgspec

from catena.errors import InputError
from catena.ledger.desk import Desk
from catena.ledger.desk_schema import WHERE
from catena.ledger.marks import Mark, put_mark, take_back

__all__ = ["CLAIM_SECONDS", "LONGEST_NOTE", "Claim", "Seat", "annotator_name"]

CLAIM_SECONDS = 900.0
"""How long an item is kept for a person who says nothing."""
LONGEST_NAME, LONGEST_NOTE = 64, 4000


class Claim(msgspec.Struct, frozen=True):
    """An item that a person looks at.

    Args:
        item: Its number at the desk.
        row: Its row in the run.
        id: Its id, as text.
        needs: How many people shall label it.
        since: Seconds since 1970, when the person got it.
        again: Whether the person has passed it over before.
        before: What the person said of it before and has taken back; None where that is nothing.
    """

    item: int
    row: int
    id: str
    needs: int
    since: float
    again: bool = False
    before: Mark | None = None


def annotator_name(given: str) -> str:
    """Return a person's name without spaces around it.

    Raises:
        InputError: It is empty, too long, or has signs that can't be seen.
    """
    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"a name has 1 to {LONGEST_NAME} characters that can be seen.", "Write another name."
        )
    return name


class Seat:
    """A person at a queue. Two people never get the same item, unless it needs several and both are among them.

    Args:
        desk: The desk.
        queue: The queue's number.
        annotator: The person's name.
        clock: Seconds since 1970.
    """

    def __init__(
        self, desk: Desk, queue: int, annotator: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._desk = desk
        self._queue = queue
        self.annotator = annotator_name(annotator)
        self._clock = clock

    def current(self) -> Claim | None:
        """Return the item that the person has, if any; nothing is changed."""
        with self._desk.reading() as db:
            return self._held(db)

    def next(self) -> Claim | None:
        """Return the item that the person has, or else give them the next one; None where none waits for them."""
        with self._desk.changing() as db:
            return self._held(db) or self._claim(db)

    def label(self, item: int, label: str, note: str = "", labels: tuple[str, ...] = ()) -> Claim | None:
        """Keep a label, and return the next item.

        Raises:
            InputError: The label is none of `labels`, the note is too long, or there is no such item.
        """
        if label not in labels:
            raise InputError(f"'{label}' is none of the labels: {', '.join(labels)}.")
        return self._say(item, label, note)

    def skip(self, item: int, note: str = "") -> Claim | None:
        """Pass an item over: it comes again to this person when nothing else waits, and at once to others."""
        return self._say(item, None, note)

    def _say(self, item: int, label: str | None, note: str) -> Claim | None:
        if len(note) > LONGEST_NOTE:
            raise InputError(f"a note has at most {LONGEST_NOTE:,} characters, not {len(note):,}.")
        with self._desk.changing() as db:
            if not db.execute(
                "SELECT 1 FROM items WHERE item = ? AND queue = ?", (item, self._queue)
            ).fetchone():
                raise InputError(f"there is no item {item} in this queue.", "Take the next one.")
            now, since = self._clock(), self._since(db, item)
            put_mark(db, item, Mark(self.annotator, label, note, now, max(0.0, now - since)))
            return self._held(db) or self._claim(db)

    def undo(self) -> Claim | None:
        """Take back what the person said last, and return that item to them; None where there is nothing.

        Where they had passed it over and somebody else has it by now, they get the next one instead.
        """
        with self._desk.changing() as db:
            found = db.execute(
                "SELECT item FROM marks CROSS JOIN items USING (item) "
                "WHERE annotator = ? AND live AND how = 'page' AND queue = ? ORDER BY mark DESC LIMIT 1",
                (self.annotator, self._queue),
            ).fetchone()
            if found is None:
                return None
            take_back(db, found[0], self.annotator)
            db.execute(
                "DELETE FROM claims WHERE annotator = ? OR until <= ?", (self.annotator, self._clock())
            )
            room, others = db.execute(
                "SELECT needs - got, (SELECT count(*) FROM claims WHERE claims.item = items.item) FROM items WHERE item = ?",
                (found[0],),
            ).fetchone()
            return self._take(db, found[0]) if others < room else self._claim(db)

    def given(self) -> int:
        """Return how many items the person has labelled."""
        return self._desk.annotators(self._queue).get(self.annotator, 0)

    # -- which item is next -------------------------------------------------------------------------------------

    def _held(self, db: sqlite3.Connection) -> Claim | None:
        """Return the item that the person has a claim to, where it still waits for them."""
        found = db.execute(
            "SELECT item FROM claims CROSS JOIN items USING (item) WHERE claims.annotator = ? AND until > ? AND queue = ? "
            "AND open AND got < needs LIMIT 1",
            (self.annotator, self._clock(), self._queue),
        ).fetchone()
        return self._as_claim(db, found[0]) if found else None

    def _claim(self, db: sqlite3.Connection) -> Claim | None:
        """Give the person the next item: first what others have begun, then what nobody has, then what they passed over."""
        now = self._clock()
        db.execute("DELETE FROM claims WHERE annotator = ? OR until <= ?", (self.annotator, now))
        for item, room in self._candidates(db):
            others = db.execute("SELECT count(*) FROM claims WHERE item = ?", (item,)).fetchone()[0]
            if others < room:
                return self._take(db, item)
        return None

    def _candidates(self, db: sqlite3.Connection) -> Iterator[tuple[int, int]]:
        """Yield (item, how many people it lacks) of what may be given to the person, best first."""
        unseen = "NOT EXISTS (SELECT 1 FROM marks WHERE marks.item = items.item AND annotator = ? AND live)"
        mine = (self._queue, self.annotator)
        for than in (
            "<",
            ">",
        ):  # what the person has begun needs no look: so it is quick, however much that is
            yield from db.execute(
                f"SELECT item, needs - got FROM items {WHERE['begun']} AND queue = ? AND first {than} ? AND {unseen} "  # noqa: S608
                "ORDER BY first, item",
                (*mine, self.annotator),
            )
        yield from db.execute(
            f"SELECT item, needs FROM items {WHERE['fresh']} AND queue = ? AND {unseen} ORDER BY item",  # noqa: S608
            mine,
        )
        yield from db.execute(
            "SELECT item, needs - got FROM marks CROSS JOIN items USING (item) WHERE annotator = ? AND live AND label IS NULL "
            "AND queue = ? AND open AND got < needs ORDER BY mark",
            mine[::-1],
        )

    def _take(self, db: sqlite3.Connection, item: int) -> Claim:
        now = self._clock()
        db.execute(
            "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)",
            (item, self.annotator, now, now + CLAIM_SECONDS),
        )
        return self._as_claim(db, item)

    def _as_claim(self, db: sqlite3.Connection, item: int) -> Claim:
        row, name, needs = db.execute("SELECT row, id, needs FROM items WHERE item = ?", (item,)).fetchone()
        last = db.execute(
            "SELECT annotator, label, note, at, seconds, how, live FROM marks WHERE item = ? AND annotator = ? "
            "ORDER BY mark DESC LIMIT 1",
            (item, self.annotator),
        ).fetchone()
        passed = last is not None and last[1] is None and bool(last[-1])
        before = None if last is None or last[1] is None else Mark(*last[:-1])
        return Claim(item, row, name, needs, self._since(db, item), again=passed, before=before)

    def _since(self, db: sqlite3.Connection, item: int) -> float:
        found = db.execute(
            "SELECT since FROM claims WHERE item = ? AND annotator = ?", (item, self.annotator)
        ).fetchone()
        return float(found[0]) if found else self._clock()
