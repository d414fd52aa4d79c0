"""Asking a link through its provider's batch endpoint: at half the price, within a day, never the same batch twice.

A shard of questions is spooled to a file, its intent is written into the ledger, and only then it is sent. A later run
finds what is open: an intent is looked for at the provider before anything is sent again. A batch counts as harvested
once its answers are in the ledger, in the same commit that writes the intent for the questions it has left over.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import msgspec

from catena.engine.asker import Answered, Question, together
from catena.engine.budget import Budget
from catena.engine.harvest import Harvest
from catena.engine.inbox import Queue
from catena.engine.progress import LinkProgress
from catena.engine.spool import Spool, leftovers, sent, sweep
from catena.errors import CatenaError, LedgerError, LinkError
from catena.ledger import Ledger
from catena.ledger.batches import BatchRecord, at_once, intend, saw, settle, submitted
from catena.ledger.writer import Writer
from catena.links.batch import Batching, BatchProgress, custom_id
from catena.links.client import CallError
from catena.types import NOTHING_USED, Answer, Failure, Link, Usage

__all__ = ["BatchAsker"]

T = TypeVar("T")

AHEAD = 1024
BLOCK = 256
TRIES = 3
"""How often a question may be in a batch; then its failure is final for this run."""
FIRST_LOOK = 1.0
SLOWER = 1.5
SETTLE_SECONDS = 10.0
"""How long a batch may take to show up in the provider's list."""
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
        used: What the answers used that this run has taken in.
    """

    record: BatchRecord
    keys: frozenset[bytes]
    wanted: set[bytes]
    adopted: bool = False
    done: int = 0
    known_cancelled: bool = False
    has_place: bool = False
    used: Usage = NOTHING_USED


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


class BatchAsker:
    """Collects questions into shards, sends them, waits, and hands their answers on; see `asker.Asker`."""

    def __init__(self, desk: Desk) -> None:
        self.ahead = AHEAD
        self._desk = desk
        self._folder = desk.ledger.folder
        self._under_way: list[UnderWay] = []
        self._places = asyncio.Semaphore(desk.batching.most_open)
        self._idle = set[asyncio.Task[None]]()  # may be cancelled; the others harvest
        self._stopped = False
        self._random = random.Random()  # noqa: S311 - spreads calls over time, decides nothing
        self._group: asyncio.TaskGroup
        self._answered: Answered

    async def adopt(self) -> Collection[bytes]:
        """Return the keys whose answers are still to come from the batches of earlier runs."""
        desk = self._desk
        records = desk.ledger.batches(desk.number)
        sweep(self._folder, desk.number, [record for record in records if record.open])
        for record in records:
            if record.open and record.fingerprint == desk.link.fingerprint:
                keys = record.split_keys()
                wanted = set(keys) - desk.ledger.answered(desk.number, keys)
                self._under_way.append(UnderWay(record, frozenset(keys), wanted, adopted=True))
                if desk.budget.limited:
                    desk.budget.hold(record.most)
        return {key for batch in self._under_way for key in batch.wanted}

    async def work(self, questions: Queue[Question], answered: Answered) -> None:
        """Take questions until there will be no more, and hand each one's answer on, once."""
        if self._stopped:
            return
        self._answered = answered
        async with asyncio.TaskGroup() as self._group:
            for batch in list(self._under_way):
                self._begin(partial(self._see_through, batch))
            self._begin(partial(self._collect, questions))

    def stop(self) -> None:
        """Finish harvests under way and begin nothing; what is at the provider goes on there."""
        if self._stopped:
            return
        self._stopped = True
        if open_ := [batch.record.count for batch in self._under_way]:
            batches = f"{len(open_)} batch goes" if len(open_) == 1 else f"{len(open_)} batches go"
            self._desk.tell(
                f"link '{self._desk.link.name}': {batches} on at the provider, with {sum(open_):,} questions; "
                "the same command harvests what comes of them."
            )
        for task in self._idle:
            task.cancel()

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._stopped:
            return
        task = self._group.create_task(self._guarded(work))
        self._idle.add(task)
        task.add_done_callback(self._idle.discard)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LedgerError:
            raise
        except CatenaError as error:
            self._desk.fail(error)

    # -- collecting ---------------------------------------------------------------------------------------------

    async def _collect(self, questions: Queue[Question]) -> None:
        desk = self._desk
        spool: Spool | None = None
        try:
            while taken := await questions.take(BLOCK):
                for key, prompt in taken:
                    spool = spool or self._spool()
                    line = desk.batching.line(custom_id(spool.shard, key), prompt)
                    if not spool.has_room(line):
                        full, spool = spool, None
                        if not await self._launch(full):
                            return
                        spool = self._spool()
                        line = desk.batching.line(custom_id(spool.shard, key), prompt)
                    spool.add(key, line, desk.link.most(prompt))
            if spool:
                full, spool = spool, None
                await self._launch(full)
        finally:
            if spool:
                spool.discard()

    def _spool(self, tries: int = 1) -> Spool:
        desk = self._desk
        return Spool(self._folder, desk.link, desk.number, desk.batching.limits, tries)

    async def _launch(self, spool: Spool) -> bool:
        """Wait for a place, then begin the batch of a shard; False where the budget does not hold it."""
        launched = False
        try:
            await self._places.acquire()
            record = await asyncio.to_thread(spool.close)
            if launched := await self._reserve(record):
                await self._desk.writer.do(intend(record))
        finally:
            if not launched:
                spool.discard()
        if launched:
            self._expect(record, has_place=True)
        return launched

    def _expect(self, record: BatchRecord, *, has_place: bool) -> None:
        keys = record.split_keys()
        batch = UnderWay(record, frozenset(keys), set(keys), has_place=has_place)
        self._under_way.append(batch)
        self._begin(partial(self._see_through, batch))

    async def _reserve(self, record: BatchRecord) -> bool:
        """Reserve the upper bound of a whole shard; False where the budget does not hold it, and the run stops."""
        budget = self._desk.budget
        if not budget.limited or await budget.reserve(record.most):
            return True
        self._desk.fail(None)
        return False

    # -- a batch's life -----------------------------------------------------------------------------------------

    async def _see_through(self, batch: UnderWay) -> None:
        try:
            if batch.record.remote is None:
                await self._send(batch)
            seen = await self._wait(batch)
            self._under_way.remove(batch)
            self._idle -= {task for task in [asyncio.current_task()] if task}
            await self._settle(batch, seen)
            self._say()
        finally:
            if batch.has_place:
                self._places.release()

    async def _send(self, batch: UnderWay) -> None:
        """Have the batch made, unless it turns out that it has been."""
        desk, record = self._desk, batch.record
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
                    await self._refuse(batch, failure.message)
                failures += 1
                if not failure.retryable or failures > TRIES:
                    raise self._error(failure.message) from error
                await self._pause(failures, failure.retry_after)
                remote = await self._find(batch)
        batch.record = msgspec.structs.replace(record, remote=remote)
        await desk.writer.do(submitted(record.shard, remote))

    async def _find(self, batch: UnderWay) -> str | None:
        """Look for a batch twice, with a pause for the provider's list to settle."""
        desk = self._desk
        known = {record.remote for record in desk.ledger.batches() if record.remote}
        file = sent(batch.record, self._folder)
        for look in range(2):
            if look:
                await desk.sleep(min(SETTLE_SECONDS, 5 * desk.batching.poll))
            if remote := await self._persist(lambda: desk.batching.find(file, known)):
                return remote
        return None

    async def _wait(self, batch: UnderWay) -> BatchProgress:
        """Look at a batch, ever more rarely, until it has ended."""
        desk, record = self._desk, batch.record
        remote = record.remote or ""
        pause, said, first = min(FIRST_LOOK, desk.batching.poll), record.said, True
        while True:
            seen = await self._persist(lambda: desk.batching.progress(remote))
            if first:
                batch.known_cancelled, first = batch.adopted and seen.cancelled, False
            if (seen.said, seen.done) != (said, batch.done):
                said, batch.done = seen.said, seen.done
                await desk.writer.do(saw(record.shard, seen.said, seen.done))
            self._say()
            if seen.state != "working":
                return seen
            await desk.sleep(pause)
            pause = min(SLOWER * pause, desk.batching.poll)

    def _say(self) -> None:
        """Say what is waited for."""
        waiting = self._under_way
        done, count = sum(batch.done for batch in waiting), sum(batch.record.count for batch in waiting)
        batches = "1 batch" if len(waiting) == 1 else f"{len(waiting)} batches"
        self._desk.progress.waits_for = f"{batches}, {done:,} of {count:,} done" if waiting else ""

    # -- harvesting ---------------------------------------------------------------------------------------------

    async def _settle(self, batch: UnderWay, seen: BatchProgress) -> None:
        """Take in what a batch has brought; ask again about what it has left over, a bounded number of times."""
        desk, record = self._desk, batch.record
        if seen.state == "failed":
            await self._refuse(batch, seen.message or seen.said)
        harvest = await self._harvest(batch)
        harvest.end("cancelled" if seen.cancelled else "expired" if seen.said == "expired" else "missing")
        if desk.budget.limited:
            desk.budget.settle(record.most, batch.used)
        settled = settle(record.shard, harvest.counts, harvest.used.cost_usd or 0.0)
        stopped_by_cancel = bool(batch.wanted and seen.cancelled and not batch.known_cancelled)
        again = bool(batch.wanted) and not stopped_by_cancel and not self._stopped
        if again and record.tries >= TRIES and not seen.cancelled:
            await self._end_with(batch, harvest.unfinished)
            again = False
        if said := harvest.said():
            more = f"; {len(batch.wanted):,} are asked again" if again else ""
            desk.tell(f"link '{desk.link.name}': batch {record.remote}: {said}{more}.")
        if not again or not await self._ask_again(batch, settled, counts=not seen.cancelled):
            await desk.writer.do(settled)
        record.path(self._folder).unlink(missing_ok=True)
        if stopped_by_cancel:
            raise LinkError(
                f"link '{desk.link.name}': batch {record.remote} was cancelled; its {harvest.counts['answered']:,} "
                f"answers are kept, {len(batch.wanted):,} questions are open.",
                "The same command asks them again.",
            )

    async def _harvest(self, batch: UnderWay) -> Harvest:
        """Read all results, from the beginning again where the connection is lost."""

        async def read() -> Harvest:
            harvest = Harvest(batch.record.shard, batch.keys)
            async for result in self._desk.batching.results(batch.record.remote or ""):
                if found := harvest.take(result):
                    await self._hand_on(batch, *found)
            return harvest

        return await self._persist(read)

    async def _hand_on(self, batch: UnderWay, key: bytes, answer: Answer) -> None:
        if key in batch.wanted:
            batch.wanted.discard(key)
            usage = msgspec.structs.replace(answer.usage, calls=batch.record.tries)
            batch.used = together([batch.used, usage])
            await self._answered(key, msgspec.structs.replace(answer, usage=usage))

    async def _end_with(self, batch: UnderWay, failures: dict[bytes, Failure]) -> None:
        for key in sorted(batch.wanted):
            await self._hand_on(batch, key, failures[key])

    async def _ask_again(self, batch: UnderWay, settled: Callable[[Any], None], *, counts: bool) -> bool:
        """Begin a batch of what is left over, in the commit that settles the old one; False where none is begun."""
        spool = self._spool(batch.record.tries + counts)
        try:
            gone = leftovers(batch.record, self._folder, batch.wanted, spool)
            record = await asyncio.to_thread(spool.close)
            begun = record.count > 0 and await self._reserve(record)
        except BaseException:
            spool.discard()
            raise
        lost = Failure("transport", "the file of its question is gone", retryable=True)
        for key in sorted(gone):
            await self._hand_on(batch, key, lost)
        if not begun:
            spool.discard()
            return False
        await self._desk.writer.do(at_once([intend(record), settled]))
        has_place, batch.has_place = batch.has_place, False
        self._expect(record, has_place=has_place)
        return True

    # -- failing ------------------------------------------------------------------------------------------------

    async def _refuse(self, batch: UnderWay, message: str) -> None:
        """Write down that nothing comes of a batch, and say why."""
        desk, record = self._desk, batch.record
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
            f"link '{self._desk.link.name}': {batch.record.path(self._folder)} is gone before its batch was made.",
            "The same command asks its questions again.",
        )

    async def _write_off(self, batch: UnderWay) -> None:
        if batch in self._under_way:
            self._under_way.remove(batch)
        await self._desk.writer.do(settle(batch.record.shard, {}, 0.0, "failed"))

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works, for ten minutes at most."""
        failures, since = 0, monotonic()
        while True:
            try:
                return await call()
            except CallError as error:
                failure = error.failure
                failures += 1
                if not failure.retryable or self._stopped or monotonic() - since > OUTAGE_SECONDS:
                    raise self._error(failure.message) from error
                await self._pause(failures, failure.retry_after)

    async def _pause(self, failures: int, asked: float | None) -> None:
        grown = min(FIRST_PAUSE * 2.0 ** (failures - 1), LONGEST_PAUSE) * self._random.uniform(0.5, 1.0)
        await self._desk.sleep(max(asked or 0.0, min(grown, self._desk.batching.poll)))

    def _error(self, message: str) -> LinkError:
        return LinkError(
            f"link '{self._desk.link.name}': its batches can't be reached: {message.rstrip('.')}.",
            "What is under way goes on at the provider; the same command harvests it.",
        )
