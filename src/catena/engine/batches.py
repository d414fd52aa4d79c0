"""Asking a link through its provider's batch endpoint: at half the price, within a day, never the same batch twice.

A shard of questions is spooled to a file, its intent is written into the ledger, and only then it is sent. A later run
finds what is open: an intent is looked for at the provider before anything is sent again. A batch counts as harvested
once its answers are in the ledger, in the same commit that writes the intent for the questions it has left over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

from catena.engine.asker import Answered, Question
from catena.engine.courier import TRIES, Courier, Desk, UnderWay
from catena.engine.harvest import Harvest
from catena.engine.inbox import Queue
from catena.engine.spool import Spool, leftovers, sweep
from catena.errors import CatenaError, LedgerError, LinkError
from catena.ledger.batches import BatchRecord, at_once, intend, saw, settle
from catena.ledger.facts import note
from catena.ledger.transaction import Change
from catena.links.batch import BatchProgress, custom_id
from catena.links.client import GoneError
from catena.types import Answer, Failure, together

__all__ = ["BatchAsker", "Desk"]

AHEAD = 1024
BLOCK = 256


class BatchAsker:
    """Collects questions into shards, sends them, waits, and hands their answers on; see `asker.Asker`."""

    def __init__(self, desk: Desk) -> None:
        self.ahead = AHEAD
        self._desk = desk
        self._folder = desk.ledger.folder
        self._courier = Courier(desk)
        self._under_way: list[UnderWay] = []
        self._places = asyncio.Semaphore(desk.batching.most_open)
        self._idle = set[asyncio.Task[None]]()  # may be cancelled; the others harvest
        self._stopped = False
        self._group: asyncio.TaskGroup
        self._answered: Answered

    async def adopt(self) -> Collection[bytes]:
        """Return the keys whose answers are still to come from the batches of earlier runs."""
        desk = self._desk
        records = desk.ledger.batches(desk.number)
        open_ = [record for record in records if record.open]
        sweep(self._folder, desk.number, open_)
        others = [record for record in open_ if record.fingerprint != desk.link.fingerprint]
        if others:
            desk.tell(
                f"link '{desk.link.name}' had other settings when {len(others):,} of its batches were sent: "
                "they are of no use now. `catena batch list` shows them."
            )
        for record in open_:
            if record.fingerprint == desk.link.fingerprint:
                keys = record.split_keys()
                wanted = set(keys) - desk.ledger.answered(desk.number, keys)
                self._under_way.append(UnderWay(record, frozenset(keys), wanted, adopted=True))
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
        self._stopped = self._courier.stopped = True
        if open_ := [batch.record.count for batch in self._under_way if not batch.over]:
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
        """Reserve the upper bound of a whole shard, after a pause; False where the budget does not hold it: the run stops."""
        await self._desk.pause.over()
        if self._stopped:
            return False
        if await self._desk.budget.reserve(record.most):
            return True
        self._desk.fail(None)
        return False

    # -- a batch's life -----------------------------------------------------------------------------------------

    async def _see_through(self, batch: UnderWay) -> None:
        try:
            if batch.record.remote is None:
                await self._courier.send(batch)
            seen = await self._courier.watch(batch, self._say)
            self._under_way.remove(batch)
            self._idle -= {task for task in [asyncio.current_task()] if task}
            await self._settle(batch, seen)
            self._say()
        finally:
            if batch.has_place:
                self._places.release()

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
            await self._courier.refuse(batch, seen.message or seen.said)
        harvest = await self._harvest(batch, seen)
        settled = self._settled(batch, harvest)
        stopped_by_cancel = bool(batch.wanted and seen.cancelled and not batch.known_cancelled)
        again = bool(batch.wanted) and not stopped_by_cancel and not self._stopped
        if again and record.tries >= TRIES and not seen.cancelled:
            await self._end_with(batch, harvest.unfinished)
            again = False
        if said := harvest.said():
            gone = f" is gone at the provider ({harvest.lost.rstrip('.')})" if harvest.lost else ""
            more = f"; {len(batch.wanted):,} are asked again" if again else ""
            desk.tell(f"link '{desk.link.name}': batch {record.remote}{gone}: {said}{more}.")
        if not again or not await self._ask_again(batch, settled, counts=not seen.cancelled):
            await desk.writer.do(settled)
        record.path(self._folder).unlink(missing_ok=True)
        if stopped_by_cancel:
            raise LinkError(
                f"link '{desk.link.name}': batch {record.remote} was cancelled; its {harvest.counts['answered']:,} "
                f"answers are kept, {len(batch.wanted):,} questions are open.",
                "The same command asks them again.",
            )

    def _settled(self, batch: UnderWay, harvest: Harvest) -> Change:
        """Settle a batch with the budget, and return the change that settles it in the ledger."""
        record, budget = batch.record, self._desk.budget
        budget.settle(record.most, batch.used)
        if not harvest.lost:
            return settle(record.shard, harvest.counts, harvest.used.cost_usd or 0.0)
        if batch.wanted:
            budget.lose(batch.may_have_cost())
        why = saw(record.shard, harvest.lost, batch.done)
        return at_once([why, settle(record.shard, harvest.counts, None, "lost"), note({"lost": budget.lost})])

    async def _harvest(self, batch: UnderWay, seen: BatchProgress) -> Harvest:
        """Read all results that there are, from the beginning again where the connection is lost."""

        async def read() -> Harvest:
            harvest = Harvest(batch.record.shard, batch.keys)
            if seen.state == "lost":
                harvest.lost = seen.said
                return harvest
            try:
                async with aclosing(self._desk.batching.results(batch.record.remote or "")) as results:
                    async for result in results:
                        if found := harvest.take(result):
                            await self._hand_on(batch, *found)
            except GoneError as gone:
                harvest.lost = str(gone)
            return harvest

        harvest = await self._courier.persist(read)
        rest = "cancelled" if seen.cancelled else "expired" if seen.said == "expired" else "missing"
        harvest.end("lost" if harvest.lost else rest)
        return harvest

    async def _hand_on(self, batch: UnderWay, key: bytes, answer: Answer) -> None:
        if key in batch.wanted:
            batch.wanted.discard(key)
            usage = msgspec.structs.replace(answer.usage, calls=1)
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
