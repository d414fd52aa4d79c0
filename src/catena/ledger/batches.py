"""Batches in the ledger: what is about to be sent, what is under way, what has come back.

A batch is written down before anything is sent, so that none can be made twice: whoever finds it open looks for it at
the provider first.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from catena.errors import LedgerError
from catena.ledger.rows import digest
from catena.ledger.transaction import Change
from catena.types import Usage

__all__ = [
    "BATCHES_TABLE",
    "BatchRecord",
    "answered_keys",
    "at_once",
    "intend",
    "read_batches",
    "saw",
    "settle",
    "submitted",
]

KEY_BYTES = 16
BLOCK = 500  # keys in one statement
FOLDER = "batches"
"""Where in a run's folder the files of questions are; each name begins with the link's number."""

BATCHES_TABLE = """
CREATE TABLE batches (
    shard TEXT PRIMARY KEY, link INTEGER NOT NULL, fingerprint BLOB NOT NULL, began REAL NOT NULL,
    tries INTEGER NOT NULL, count INTEGER NOT NULL, keys BLOB NOT NULL, most_usd REAL, most_tokens INTEGER NOT NULL,
    digest BLOB NOT NULL, state TEXT NOT NULL, remote TEXT, said TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0, counts TEXT NOT NULL DEFAULT '{}', cost_usd REAL, ended REAL) WITHOUT ROWID
"""

_COLUMNS = "shard, link, fingerprint, began, tries, count, keys, most_usd, most_tokens"
_INSERT = f"INSERT INTO batches ({_COLUMNS}, digest, state) VALUES ({', '.join('?' * 11)})"  # noqa: S608
_STATE = "state, remote, said, done, counts, cost_usd, ended"
_NAMES = f"{_COLUMNS}, {_STATE}".split(", ")


class BatchRecord(msgspec.Struct, frozen=True):
    """One batch.

    Args:
        shard: Its name.
        link: The link's number.
        fingerprint: The link's, when it was asked.
        began: Seconds since 1970, when its questions began to be collected.
        tries: How often its questions have been in a batch, this one included.
        count: How many questions there are.
        keys: Their vote keys, one after the other.
        most_usd: Upper bound of its cost; None where none is known.
        most_tokens: Upper bound of its tokens.
        state: `intent`: about to be sent, perhaps sent; `sent`; `harvested`: its answers are in the ledger; `failed`:
            the provider refused it and nothing was paid; `lost`: the provider no longer has it or its answers.
        remote: The provider's id of it.
        said: The provider's word for how it is, or why it is lost.
        done: How many of its requests the provider has worked on.
        counts: What came back, by outcome.
        cost_usd: What it cost; None where that is not known.
        ended: Seconds since 1970, when it was settled.
    """

    shard: str
    link: int
    fingerprint: bytes
    began: float
    tries: int
    count: int
    keys: bytes
    most_usd: float | None
    most_tokens: int
    state: Literal["intent", "sent", "harvested", "failed", "lost"] = "intent"
    remote: str | None = None
    said: str = ""
    done: int = 0
    counts: Mapping[str, int] = {}
    cost_usd: float | None = None
    ended: float | None = None

    @property
    def open(self) -> bool:
        """Whether answers may still come."""
        return self.state in {"intent", "sent"}

    @property
    def most(self) -> Usage:
        """Upper bound of what it uses."""
        return Usage(self.most_tokens, 0, self.most_usd, calls=self.count)

    def split_keys(self) -> list[bytes]:
        """Return its vote keys."""
        return [self.keys[at : at + KEY_BYTES] for at in range(0, len(self.keys), KEY_BYTES)]

    def path(self, folder: Path) -> Path:
        """Return where the file of its questions is in a run's folder."""
        return folder / FOLDER / f"{self.link}-{self.shard}.jsonl"


def read_batches(db: sqlite3.Connection, link: int | None = None) -> list[BatchRecord]:
    """Return all batches, or those of a link, oldest first.

    Raises:
        LedgerError: One is damaged.
    """
    found = db.execute(
        f"SELECT {_COLUMNS}, {_STATE}, digest FROM batches WHERE ? IS NULL OR link = ? ORDER BY began, shard",  # noqa: S608
        (link, link),
    )
    records = []
    for row in found:
        known = dict(zip(_NAMES, row, strict=False))
        if digest(row[:9]) != row[-1]:
            raise LedgerError(f"batch {row[0]} in the ledger is damaged.", "Restore the ledger from a copy.")
        records.append(BatchRecord(**known | {"counts": json.loads(known["counts"])}))
    return records


def answered_keys(db: sqlite3.Connection, link: int, keys: Sequence[bytes]) -> set[bytes]:
    """Return which of these keys of a link have an answer."""
    found = set[bytes]()
    for at in range(0, len(keys), BLOCK):
        block = keys[at : at + BLOCK]
        marks = ",".join("?" * len(block))
        found.update(
            key
            for (key,) in db.execute(
                f"SELECT key FROM votes WHERE link = ? AND key IN ({marks})",  # noqa: S608
                [link, *block],
            )
        )
    return found


def intend(record: BatchRecord) -> Change:
    """Write down that a batch is about to be sent."""
    values = _values(record)

    def change(db: sqlite3.Connection) -> None:
        db.execute(_INSERT, (*values, digest(values), "intent"))

    return change


def submitted(shard: str, remote: str) -> Change:
    """Write down that the provider has a batch, and its id of it."""
    return _update(shard, state="sent", remote=remote)


def saw(shard: str, said: str, done: int) -> Change:
    """Write down what the provider says of a batch."""
    return _update(shard, said=said, done=done)


def settle(
    shard: str,
    counts: Mapping[str, int],
    cost_usd: float | None,
    state: Literal["harvested", "failed", "lost"] = "harvested",
) -> Change:
    """Write down that nothing more comes of a batch."""
    said = json.dumps(dict(counts))
    return _update(shard, state=state, counts=said, cost_usd=cost_usd, ended=time.time())


def at_once(changes: Iterable[Change]) -> Change:
    """Make several changes at once, such as to settle a batch and to begin the one for what it left over."""
    changes = list(changes)

    def change(db: sqlite3.Connection) -> None:
        for each in changes:
            each(db)

    return change


def _values(record: BatchRecord) -> tuple[Any, ...]:
    return (
        record.shard,
        record.link,
        record.fingerprint,
        float(record.began),
        record.tries,
        record.count,
        record.keys,
        None if record.most_usd is None else float(record.most_usd),
        record.most_tokens,
    )


def _update(shard: str, **values: Any) -> Change:
    names = ", ".join(f"{name} = ?" for name in values)

    def change(db: sqlite3.Connection) -> None:
        db.execute(f"UPDATE batches SET {names} WHERE shard = ?", (*values.values(), shard))  # noqa: S608

    return change
