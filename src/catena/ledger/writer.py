"""The one connection that writes: votes are committed in groups by a thread of its own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

from catena.errors import LedgerError
from catena.ledger.clock import Clock
from catena.ledger.rows import INSERT_VOTE, checksum, vote_row
from catena.ledger.transaction import Change, transaction
from catena.types import Answer, Failure

__all__ = ["Writer"]

GROUP = 64
LINGER_SECONDS = 0.01

ADD = (
    "UPDATE totals SET answered = answered + ?, failed = failed + ?, votes = votes + ?, calls = calls + ?, "
    "prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, "
    "cost_usd = CASE WHEN ?7 IS NULL THEN cost_usd ELSE coalesce(cost_usd, 0) + ?7 END WHERE link = ?8"
)

Entry = tuple[int, bytes, Sequence[int], Answer | None]


class Writer:
    """Takes votes in from the event loop and commits them in groups of at most 64.

    At most 64 votes are uncommitted at any time: `append` waits while they are. So a kill loses no more than those,
    besides the calls in flight.

    Args:
        connect: Opens the connection, in the thread that will use it.
        committed: Called in the event loop with the (link, key) pairs of the answers in each committed group.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], committed: Callable[[list[tuple[int, bytes]]], None]
    ) -> None:
        self._connect = connect
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._pending: list[Entry] = []
        self._changes: list[tuple[Change, asyncio.Future[None]]] = []
        self._waiting = set[asyncio.Future[None]]()
        self._uncommitted = 0
        self._room = asyncio.Event()
        self._room.set()
        self._wake = threading.Condition()
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def append(self, link: int, key: bytes, rows: Sequence[int], answer: Answer | None) -> None:
        """Store that these rows asked for `key` of a link, and its answer unless the ledger has it.

        Raises:
            LedgerError: An earlier group could not be written.
        """
        while self._uncommitted >= GROUP and not self._error:
            self._room.clear()
            await self._room.wait()
        self._check()
        self._uncommitted += 1
        with self._wake:
            self._pending.append((link, key, rows, answer))
            if len(self._pending) in {1, GROUP}:
                self._wake.notify()

    async def do(self, change: Change) -> None:
        """Make a change of other tables, and return when it is committed, with every vote that came before it.

        Raises:
            LedgerError: It, or an earlier group, could not be written.
        """
        self._check()
        done = self._loop.create_future()
        self._waiting.add(done)
        try:
            with self._wake:
                self._changes.append((change, done))
                self._wake.notify()
            await done
        finally:
            self._waiting.discard(done)
        self._check()

    async def close(self) -> None:
        """Commit what is pending and end the thread.

        Raises:
            LedgerError: A group could not be written.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        self._check()

    def _check(self) -> None:
        if self._error:
            raise LedgerError(
                f"the ledger can't be written: {self._error}.",
                "Everything committed is kept; make room and run the same command.",
            ) from self._error

    def _work(self) -> None:
        try:
            connection = self._connect()
            try:
                clock = Clock()
                while any(work := self._next_work()):
                    group, changes = work
                    _commit(connection, group, [*(change for change, _ in changes), clock.tick])
                    self._tell(group, [done for _, done in changes])
            finally:
                connection.close()
        except Exception as error:  # noqa: BLE001 - handed over to the event loop
            self._error = error
            self._tell([], None)

    def _next_work(self) -> tuple[list[Entry], list[tuple[Change, asyncio.Future[None]]]]:
        with self._wake:
            self._wake.wait_for(lambda: self._pending or self._changes or self._closing)
            if not self._closing:
                self._wake.wait_for(self._is_urgent, LINGER_SECONDS)
            group, self._pending = self._pending, []
            changes, self._changes = self._changes, []
            return group, changes

    def _is_urgent(self) -> bool:
        return len(self._pending) >= GROUP or bool(self._changes) or self._closing

    def _tell(self, group: list[Entry], changed: list[asyncio.Future[None]] | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done, group, changed)

    def _done(self, group: list[Entry], changed: list[asyncio.Future[None]] | None) -> None:
        self._uncommitted -= len(group)
        self._room.set()
        for done in self._waiting if changed is None else changed:  # None: the thread has ended with an error
            if not done.done():
                done.set_result(None)
        self._committed([(link, key) for link, key, _, answer in group if answer is not None])


def _commit(connection: sqlite3.Connection, group: list[Entry], changes: Sequence[Change] = ()) -> None:
    votes = [vote_row(link, key, answer) for link, key, _, answer in group if answer is not None]
    asked = [(link, row, key) for link, key, rows, _ in group for row in rows]
    with transaction(connection):
        connection.executemany(INSERT_VOTE, votes)
        connection.executemany(
            "INSERT OR REPLACE INTO asked (link, row, key, crc) VALUES (?, ?, ?, ?)",
            [(*row, checksum(row)) for row in asked],
        )
        for link in {link for link, *_ in group}:
            connection.execute(ADD, _added(connection, [entry for entry in group if entry[0] == link]))
        for change in changes:
            change(connection)


def _added(connection: sqlite3.Connection, group: list[Entry]) -> tuple[Any, ...]:
    """Return what a group adds to the totals of its link: answered, failed, votes, calls, tokens, USD."""
    answered = failed = 0
    for link, key, rows, answer in group:
        answered += len(rows)
        if answer is None:
            query = "SELECT label IS NULL FROM votes WHERE link = ? AND key = ?"
            stored = connection.execute(query, (link, key)).fetchone()
            failed += len(rows) if stored and stored[0] else 0
        elif isinstance(answer, Failure):
            failed += len(rows)
    used = [answer.usage for *_, answer in group if answer is not None]
    costs = [usage.cost_usd for usage in used if usage.cost_usd is not None]
    tokens = [sum(usage.prompt_tokens for usage in used), sum(usage.completion_tokens for usage in used)]
    calls = sum(usage.calls for usage in used)
    return (answered, failed, len(used), calls, *tokens, sum(costs) if costs else None, group[0][0])
