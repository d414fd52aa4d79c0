"""Between a run and a provider's batch endpoint: has batches made, never twice, and watches them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

import msgspec

from catena.engine.budget import Budget
from catena.engine.pause import Pause
from catena.engine.progress import LinkProgress
from catena.engine.spool import sent
from catena.errors import CatenaError, LinkError
from catena.ledger import Ledger
from catena.ledger.batches import BatchRecord, saw, settle, submitted
from catena.ledger.writer import Writer
from catena.links.batch import Batching, BatchProgress
from catena.links.client import CallError
from catena.types import NOTHING_USED, Link, Usage

__all__ = ["TRIES", "Courier", "Desk", "UnderWay"]

T = TypeVar("T")

TRIES = 3
"""How often a question may be in a batch; then its failure is final for this run."""
FIRST_LOOK = 1.0
SLOWER = 1.5
SETTLE_SECONDS = 10.0
"""How long a batch may take to show up at the provider."""
OUTAGE_SECONDS = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0


@dataclass(eq=False)
class UnderWay:
    """A batch that answers are expected of.

    Args:
        record: What the ledger knows of it.
        keys: All its questions.
        wanted: Those that have no answer yet.
        adopted: Whether an earlier run has begun it.
        done: How many the provider has worked on.
        known_cancelled: Whether it was cancelled before this run looked at it.
        has_place: Whether it counts among the batches that may be open at a time.
        over: Whether nothing of it is at the provider any more.
        used: What the answers used that this run has taken in.
    """

    record: BatchRecord
    keys: frozenset[bytes]
    wanted: set[bytes]
    adopted: bool = False
    done: int = 0
    known_cancelled: bool = False
    has_place: bool = False
    over: bool = False
    used: Usage = NOTHING_USED

    def may_have_cost(self) -> Usage:
        """Return the most that its answers may have cost which nobody will see."""
        most, used = self.record.most, self.used
        tokens = most.prompt_tokens - used.prompt_tokens - used.completion_tokens
        cost = None if most.cost_usd is None else max(0.0, most.cost_usd - (used.cost_usd or 0.0))
        return Usage(max(0, tokens), 0, cost, calls=len(self.wanted))


@dataclass
class Desk:
    """What a batch asker works with.

    Args:
        link: The link.
        batching: Its batch endpoint.
        number: Its number in the ledger.
        ledger: Knows the batches.
        writer: Writes them down.
        budget: Each shard's upper bound is reserved from it before the intent is written.
        progress: Counts, and the line that says what is waited for.
        tell: Takes a line for the user.
        fail: Takes an error that makes the link unusable as a whole, or None for the budget's end.
        sleep: Waits that many seconds.
        pause: Holds new batches back.
    """

    link: Link
    batching: Batching
    number: int
    ledger: Ledger
    writer: Writer
    budget: Budget
    progress: LinkProgress
    tell: Callable[[str], None]
    fail: Callable[[CatenaError | None], None]
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)
    pause: Pause = field(default_factory=Pause)


class Courier:
    """Makes and watches the batches of one link; what fails on the way is tried again.

    Args:
        desk: What it works with.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stopped = False
        self._folder = desk.ledger.folder
        self._random = random.Random()  # noqa: S311 - spreads calls over time, decides nothing

    async def send(self, batch: UnderWay) -> None:
        """Have the batch made, unless it turns out that it has been."""
        desk, record = self.desk, batch.record
        file = sent(record, self._folder)
        remote = await self._find(batch) if batch.adopted else None
        failures = 0
        while remote is None:
            if not file.path.exists():
                await self._give_up(batch)
            try:
                remote = await desk.batching.submit(file)
            except CallError as error:
                failure = error.failure
                if not failure.retryable and not failures:
                    await self.refuse(batch, failure.message)
                failures += 1
                if not failure.retryable or failures > TRIES:
                    raise self._error(failure.message) from error
                await self._pause(failures, failure.retry_after)
                remote = await self._find(batch)
        batch.record = msgspec.structs.replace(record, remote=remote)
        await desk.writer.do(submitted(record.shard, remote))

    async def _find(self, batch: UnderWay) -> str | None:
        """Look for a batch twice, with a pause for the provider's list to settle."""
        desk = self.desk
        known = {record.remote for record in desk.ledger.batches() if record.remote}
        file = sent(batch.record, self._folder)
        for look in range(2):
            if look:
                await self._let_settle()
            if remote := await self.persist(lambda: desk.batching.find(file, known)):
                return remote
        return None

    async def watch(self, batch: UnderWay, say: Callable[[], None]) -> BatchProgress:
        """Look at a batch, ever more rarely, until it has ended."""
        desk, record = self.desk, batch.record
        remote = record.remote or ""
        pause, said, first = min(FIRST_LOOK, desk.batching.poll), record.said, True
        while True:
            seen = await self._look(remote)
            if first:
                batch.known_cancelled, first = batch.adopted and seen.cancelled, False
            if (seen.said, seen.done) != (said, batch.done):
                said, batch.done = seen.said, seen.done
                await desk.writer.do(saw(record.shard, seen.said, seen.done))
            say()
            if seen.state != "working":
                return seen
            await desk.sleep(pause)
            pause = min(SLOWER * pause, desk.batching.poll)

    async def _look(self, remote: str) -> BatchProgress:
        """Look at a batch; a second time where the provider does not know it, which it may have to learn."""
        seen = await self.persist(lambda: self.desk.batching.progress(remote))
        if seen.state != "lost":
            return seen
        await self._let_settle()
        return await self.persist(lambda: self.desk.batching.progress(remote))

    async def _let_settle(self) -> None:
        await self.desk.sleep(min(SETTLE_SECONDS, 5 * self.desk.batching.poll))

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works, for ten minutes at most."""
        failures, since = 0, monotonic()
        while True:
            try:
                return await call()
            except CallError as error:
                failure = error.failure
                failures += 1
                if not failure.retryable or self.stopped or monotonic() - since > OUTAGE_SECONDS:
                    raise self._error(failure.message) from error
                await self._pause(failures, failure.retry_after)

    async def _pause(self, failures: int, asked: float | None) -> None:
        grown = min(FIRST_PAUSE * 2.0 ** (failures - 1), LONGEST_PAUSE) * self._random.uniform(0.5, 1.0)
        await self.desk.sleep(max(asked or 0.0, min(grown, self.desk.batching.poll)))

    def _error(self, message: str) -> LinkError:
        return LinkError(
            f"link '{self.desk.link.name}': its batches can't be reached: {message.rstrip('.')}.",
            "What is under way goes on at the provider; the same command harvests it.",
        )

    async def refuse(self, batch: UnderWay, message: str) -> None:
        """Write down that nothing comes of a batch, and say why."""
        desk, record = self.desk, batch.record
        await self._write_off(batch)
        record.path(self._folder).unlink(missing_ok=True)
        raise LinkError(
            f"link '{desk.link.name}': the provider refuses a batch of {record.count:,} questions: "
            f"{message.rstrip('.')}.",
            "Nothing was paid for it. Put it right (`shard: N` makes smaller ones), then run the same command.",
        )

    async def _give_up(self, batch: UnderWay) -> None:
        """Forget a batch that was never made and whose file is gone; a later run asks anew."""
        await self._write_off(batch)
        raise LinkError(
            f"link '{self.desk.link.name}': {batch.record.path(self._folder)} is gone before its batch was made.",
            "The same command asks its questions again.",
        )

    async def _write_off(self, batch: UnderWay) -> None:
        batch.over = True
        await self.desk.writer.do(settle(batch.record.shard, {}, 0.0, "failed"))
