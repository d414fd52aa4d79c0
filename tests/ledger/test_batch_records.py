"""Batches in the ledger: written down before they are sent, settled after their votes; an older ledger learns them."""

import asyncio
import sqlite3

import pytest

from catena.errors import LedgerError
from catena.ledger import FILE, Ledger, WritableLedger
from catena.ledger.audit import audit
from catena.ledger.batches import BatchRecord, at_once, intend, saw, settle, submitted
from catena.ledger.repair import repair
from catena.types import Vote

RECORD = BatchRecord("0a" * 12, 1, b"f" * 16, 5.0, 1, 2, b"a" * 16 + b"b" * 16, 0.5, 40)


def write(folder, *changes, votes=()):
    """Make changes through the writer, after some votes."""

    async def work():
        ledger = WritableLedger(folder)
        writer = ledger.writer(lambda group: None)
        try:
            for key in votes:
                await writer.append(1, key, (), Vote("x"))
            for change in changes:
                await writer.do(change)
        finally:
            await writer.close()
            ledger.close()

    asyncio.run(work())


def batches_of(folder):
    """Return the batches of a ledger."""
    ledger = Ledger(folder)
    try:
        return ledger.batches()
    finally:
        ledger.close()


def test_life_of_a_batch(tmp_path):
    """Every step can be read, also by a process that does not write."""
    write(tmp_path, intend(RECORD))
    assert batches_of(tmp_path) == [RECORD]
    write(tmp_path, submitted(RECORD.shard, "batch_1"), saw(RECORD.shard, "in_progress", 1))
    (seen,) = batches_of(tmp_path)
    assert (seen.state, seen.remote, seen.said, seen.done, seen.open) == (
        "sent",
        "batch_1",
        "in_progress",
        1,
        True,
    )
    write(tmp_path, settle(RECORD.shard, {"answered": 2}, 0.25))
    (seen,) = batches_of(tmp_path)
    assert (seen.state, seen.counts, seen.cost_usd, seen.open) == ("harvested", {"answered": 2}, 0.25, False)


def test_a_change_comes_after_the_votes_before_it(tmp_path):
    """When a change is there, so are all votes that were handed in before it."""

    async def work():
        ledger = WritableLedger(tmp_path)
        assert ledger.put_link("x", b"f" * 16, "m") == 1
        writer = ledger.writer(lambda group: None)
        try:
            for at in range(40):
                await writer.append(1, bytes([at]) * 16, (), Vote("x"))
            await writer.do(intend(RECORD))
            return ledger.votes_count(1), len(ledger.batches())
        finally:
            await writer.close()
            ledger.close()

    assert asyncio.run(work()) == (40, 1)


def test_all_or_nothing(tmp_path):
    """Of changes made at once none is made where one can't be, and the error says so."""
    write(tmp_path, intend(RECORD))
    other = BatchRecord("0c" * 12, 1, b"f" * 16, 6.0, 2, 1, b"b" * 16, None, 0)
    with pytest.raises(LedgerError, match="can't be written"):
        write(tmp_path, at_once([settle(RECORD.shard, {}, 0.0), intend(other), intend(RECORD)]))
    assert batches_of(tmp_path) == [RECORD]


def test_answered(tmp_path):
    """Of many keys those with an answer are told, of this link only."""
    keys = [at.to_bytes(16, "big") for at in range(1200)]
    write(tmp_path, intend(RECORD), votes=keys[::2])
    ledger = Ledger(tmp_path)
    try:
        assert ledger.answered(1, keys) == set(keys[::2])
        assert ledger.answered(2, keys) == set()
    finally:
        ledger.close()


def test_damage_is_seen(tmp_path):
    """A batch whose keys are damaged is not believed."""
    write(tmp_path, intend(RECORD))
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("UPDATE batches SET keys = ?", (b"z" * 32,))
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match=f"batch {RECORD.shard} in the ledger is damaged"):
        batches_of(tmp_path)


def test_an_older_ledger_learns_batches(tmp_path):
    """A ledger made before there were batches gets the table when it is next written."""
    WritableLedger(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("DROP TABLE batches")
    connection.execute("ALTER TABLE votes DROP COLUMN bounds")
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()
    write(tmp_path, intend(RECORD))
    assert batches_of(tmp_path) == [RECORD]


def test_a_repair_keeps_batches_under_way(tmp_path):
    """A repaired ledger still knows the batches that are at the provider, so that none is made twice."""
    write(tmp_path, intend(RECORD), submitted(RECORD.shard, "batch_1"), votes=[b"k" * 16])
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("UPDATE votes SET label = 'y'")
    connection.commit()
    connection.close()
    before = audit(tmp_path)
    assert (before.well, before.damaged["batches"]) == (False, 0)
    assert sum(repair(tmp_path, before).after.votes.values()) == 0
    (kept,) = batches_of(tmp_path)
    assert (kept.state, kept.remote, kept.keys) == ("sent", "batch_1", RECORD.keys)
