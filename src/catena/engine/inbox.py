"""Rows on their way to a link, and questions on their way to its workers."""

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

__all__ = ["Inbox", "Queue"]

T = TypeVar("T")


class Inbox:
    """Rows that wait for a link: those it starts with, then those that are forwarded to it, until it is closed.

    Args:
        first: The rows that it starts with, and no other; None for those that will be put.

    Attributes:
        turn: Waits until the link may have rows; None where it may at once.
    """

    def __init__(self, first: Iterable[int] | None = None) -> None:
        self.turn: Callable[[], Awaitable[None]] | None = None
        self._first: Iterator[int] = iter(first or ())
        self._rows = array("q")  # 8 bytes for a row that waits, where an int in a deque takes 40
        self._taken = 0
        self._closed = first is not None
        self._news = asyncio.Event()

    def put(self, row: int) -> None:
        """Add a row."""
        self._rows.append(row)
        self._news.set()

    def close(self) -> None:
        """Say that no row will follow."""
        self._closed = True
        self._news.set()

    async def take(self, most: int) -> list[int]:
        """Return up to `most` rows as soon as there are any; none when all have been taken."""
        while True:
            rows = list(islice(self._first, most))
            rows += self._next(most - len(rows))
            if rows and self.turn:
                await self.turn()
            if rows or self._closed:
                return rows
            self._news.clear()
            await self._news.wait()

    def _next(self, most: int) -> list[int]:
        """Take up to `most` of the rows that were put, in their order."""
        rows = self._rows[self._taken : self._taken + most].tolist()
        self._taken += len(rows)
        if (
            self._taken > len(self._rows) // 2
        ):  # forget what was taken, at a cost that its taking has paid for
            del self._rows[: self._taken]
            self._taken = 0
        return rows


class Queue(Generic[T]):
    """A bounded queue that many workers take batches from, and that can be closed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: deque[T] = deque()
        self._takers: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._closed = False

    async def put(self, thing: T) -> None:
        """Add a thing, as soon as there is room."""
        while len(self._things) >= self._size:
            self._room.clear()
            await self._room.wait()
        self._things.append(thing)
        self._wake(1)

    def grow(self, size: int) -> None:
        """Hold so many things, where it held fewer."""
        if size > self._size:
            self._size = size
            self._room.set()

    def close(self, *, drop: bool = False) -> None:
        """Say that nothing will follow; with `drop`, also forget what waits."""
        self._closed = True
        if drop:
            self._things.clear()
        self._wake(len(self._takers))

    async def take(self, most: int) -> list[T]:
        """Return up to `most` things as soon as there are any; none when it is closed and empty."""
        while not self._things and not self._closed:
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            await taker
        things = [self._things.popleft() for _ in range(min(most, len(self._things)))]
        self._room.set()
        return things

    def _wake(self, count: int) -> None:
        while count and self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                count -= 1
