"""Votes are committed in groups of at most 64, and a failing ledger stops the run in one line."""

import asyncio
import sqlite3
import threading

import pytest

from catena.errors import LedgerError
from catena.ledger import WritableLedger
from catena.ledger.file import connect
from catena.ledger.writer import GROUP, Writer
from catena.types import Item, Vote


class Slow:
    """A connection that commits only when it is let."""

    def __init__(self, connection, gate):
        self.connection, self.gate = connection, gate

    def execute(self, sql, *rest):
        """Wait before a commit."""
        if sql == "COMMIT":
            self.gate.wait(10)
        return self.connection.execute(sql, *rest)

    def __getattr__(self, name):
        return getattr(self.connection, name)


@pytest.fixture
def ledger(tmp_path):
    """A ledger of nine items and one link, number 1, that may be written."""
    opened = WritableLedger(tmp_path)
    opened.replace_items([[Item(row, f"i{row}", "text") for row in range(9)]])
    opened.put_link("a", b"f" * 16, "m")
    yield opened
    opened.close()


def test_at_most_a_group_is_uncommitted(ledger):
    """While nothing can be committed, 64 votes are taken and the next one waits."""
    gate, groups = threading.Event(), []

    async def work():
        writer = Writer(lambda: Slow(connect(ledger.path, "rw"), gate), groups.append)
        taken = 0
        for at in range(GROUP):
            await writer.append(1, b"%d" % at, (at,), Vote("x"))
            taken += 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.append(1, b"one more", (99,), Vote("x")), 0.05)
        gate.set()
        await writer.close()
        return taken

    assert asyncio.run(work()) == GROUP
    assert ledger.votes_count(1) == GROUP


def test_groups(ledger):
    """Every vote is reported as committed once, in groups of at most 64, and is in the ledger by then."""
    groups = []

    def committed(group):
        groups.append(group)
        assert ledger.votes_count(1) >= sum(map(len, groups))

    async def work():
        writer = ledger.writer(committed)
        for at in range(500):
            await writer.append(1, b"%d" % at, (at,), Vote("x"))
        await writer.close()
        await asyncio.sleep(0)

    asyncio.run(work())
    assert max(map(len, groups)) <= GROUP
    assert sorted(key for group in groups for _, key in group) == sorted(b"%d" % at for at in range(500))


def test_shared_answer(ledger):
    """Rows that ask for a key without an answer use the stored one; it is stored once."""

    async def work():
        writer = ledger.writer(lambda _: None)
        await writer.append(1, b"k", (0, 2), Vote("x", 0.5))
        await writer.append(1, b"k", (5,), None)
        await writer.close()

    asyncio.run(work())
    assert [(row, first) for row, _, _, first in ledger.answers(1)] == [(0, True), (2, False), (5, False)]


def test_error_is_one_line(ledger):
    """When a group can't be written, waiting and later votes and closing raise a LedgerError that says why."""

    def broken():
        raise sqlite3.OperationalError("database or disk is full")

    async def work():
        writer = Writer(broken, lambda _: None)
        await asyncio.sleep(0.05)
        with pytest.raises(LedgerError, match="disk is full"):
            await writer.append(1, b"k", (0,), Vote("x"))
        with pytest.raises(LedgerError, match="disk is full"):
            await writer.close()

    asyncio.run(work())
