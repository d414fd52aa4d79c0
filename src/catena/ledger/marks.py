"""What people say about items at the desk. Nothing of it is overwritten: what is in force is a row, what was is one too."""

import sqlite3
from collections.abc import Sequence

import msgspec

from catena.errors import LedgerError
from catena.ledger.rows import checksum

__all__ = ["Mark", "marks_of", "put_mark", "put_newer", "take_back"]

BLOCK = 500  # items in one statement


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


def marks_of(db: sqlite3.Connection, items: Sequence[int]) -> dict[int, list[Mark]]:
    """Return what people say of items now, earliest first; who passed one over says nothing.

    Raises:
        LedgerError: A mark is not what was stored.
    """
    found: dict[int, list[Mark]] = {}
    for at in range(0, len(items), BLOCK):
        block = items[at : at + BLOCK]
        signs = ",".join("?" * len(block))
        for item, *values, crc in db.execute(
            f"SELECT item, annotator, label, note, at, seconds, how, crc FROM marks WHERE item IN ({signs}) "  # noqa: S608
            "AND live AND label IS NOT NULL ORDER BY mark",
            block,
        ):
            if checksum((item, *values)) != crc:
                raise LedgerError(
                    "the desk is damaged: an answer is not what was stored.", "Restore it from a copy."
                )
            found.setdefault(item, []).append(Mark(*values))
    return found


def put_newer(db: sqlite3.Connection, item: int, mark: Mark) -> bool:
    """Store a mark unless it says no more than the person's mark in force, or is older; returns whether it was."""
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
    """Set what an item says of its marks; one that was taken in and lacks labels again lies open again."""
    db.execute(
        "UPDATE items SET changed = changed + 1, "
        "got = (SELECT count(*) FROM marks WHERE item = ?1 AND live AND label IS NOT NULL), "
        "first = coalesce((SELECT annotator FROM marks WHERE item = ?1 AND live AND label IS NOT NULL "
        "ORDER BY mark LIMIT 1), '') WHERE item = ?1",
        (item,),
    )
    db.execute("UPDATE items SET open = 1 WHERE item = ? AND got < needs AND taken IS NOT NULL", (item,))
    db.execute(
        "INSERT INTO annotators SELECT queue, ?2, ?3 FROM items WHERE item = ?1 "
        "ON CONFLICT (queue, annotator) DO UPDATE SET given = given + excluded.given",
        (item, annotator, more),
    )
