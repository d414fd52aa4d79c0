"""Asking people: items wait on the desk, however many; what people say there is taken into the ledger about once a second.

An item is put on the desk before anybody sees it, and an answer counts as taken in only when its vote is in the ledger.
So a process may die at any point: the desk has every answer, and nobody is asked again for one that it has.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from catena.engine.asker import Answered, Question
from catena.engine.budget import Budget
from catena.engine.inbox import Queue
from catena.engine.progress import LinkProgress
from catena.errors import CatenaError
from catena.ledger import WritableLedger
from catena.ledger.desk import FILE, Desk, Ready
from catena.ledger.writer import Writer
from catena.links.human import HumanLink
from catena.task import TaskSpec
from catena.types import Link

__all__ = ["PeopleAsker", "finish_without", "outranked", "revise"]

T = TypeVar("T")

POLL_SECONDS = 0.5
AHEAD = 4096
BLOCK = 256


class PeopleAsker:
    """Puts questions on the desk and hands on what people say there; see `asker.Asker`.

    Args:
        link: The link.
        folder: The run's.
        writer: Of the ledger.
        budget: What labels of people are counted against; it does not hold people up.
        progress: Says how many items wait.
        fail: Takes an error of the desk: it stops the run.
        blind: Whether people don't see what links said, whatever the task says: so it is in a pilot.

    Attributes:
        rows: The rows that wait for the answer to a key: taken out while the item is on the desk, so that a million
            items that wait for people are nowhere in memory.
    """

    ahead = AHEAD

    def __init__(
        self,
        link: HumanLink,
        folder: Path,
        writer: Writer,
        budget: Budget,
        progress: LinkProgress,
        fail: Callable[[CatenaError | None], None],
        *,
        blind: bool = False,
    ) -> None:
        self.rows: dict[bytes, list[int]] = {}
        self._link = link
        self._folder = folder
        self._writer = writer
        self._budget = budget
        self._progress = progress
        self._fail = fail
        self._settings = link.desk_settings | ({"blind": True} if blind else {})
        self._desk: Desk
        self._number = 0
        self._all_put = False
        self._stopped = asyncio.Event()

    async def adopt(self) -> Collection[bytes]:
        """Begin a round at the desk; what lies there is found when its row comes."""
        self._desk = await asyncio.to_thread(Desk, self._folder)
        self._number = await self._do(self._desk.begin, self._link.name, self._settings)
        return ()

    async def work(self, questions: Queue[Question], answered: Answered) -> None:
        """Put all questions down, and hand each one's answer on, once."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._guarded(self._put(questions)))
                group.create_task(self._guarded(self._take_in(answered)))
        finally:
            self._desk.close()
            self._progress.waits_for = ""

    def stop(self) -> None:
        """Leave all that waits on the desk."""
        self._stopped.set()

    async def _guarded(self, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except CatenaError as error:
            self._fail(error)
            self._stopped.set()

    async def _do(self, call: Callable[..., T], *given: object) -> T:
        return await asyncio.to_thread(call, *given)

    async def _put(self, questions: Queue[Question]) -> None:
        while taken := await questions.take(AHEAD):
            items = []
            for key, prompt in taken:
                (row,) = self.rows.pop(key)
                items.append((key, row, self._link.id_of(prompt), self._link.needs(key)))
            await self._do(self._desk.put, self._number, items)
        if not self._stopped.is_set():
            await self._do(self._desk.close_others, self._number)
            self._all_put = True

    async def _take_in(self, answered: Answered) -> None:
        while not self._stopped.is_set():
            all_put = self._all_put
            finishing = await self._do(self._desk.finishing, self._number)
            ready = await self._ready(whole=not finishing)
            if ready:
                await self._hand_on(ready, answered)
            elif all_put and not await self._do(self._desk.waits, self._number):
                if finishing:
                    await self._do(lambda: self._desk.finish(self._link.name, wanted=False))
                return
            else:
                await self._say()
                await self._pause()

    async def _ready(self, *, whole: bool) -> list[Ready]:
        return await self._do(lambda: self._desk.ready(self._number, BLOCK, whole=whole))

    async def _hand_on(self, ready: Sequence[Ready], answered: Answered) -> None:
        """Take answers into the ledger; the desk learns of it when they are committed."""
        for each in ready:
            answer = self._link.vote(each.marks)
            self._budget.charge(answer.usage)
            self.rows[each.key] = [each.row]
            await answered(each.key, answer)
        await self._writer.do(lambda _: None)  # when this is committed, so is what came before
        await self._do(self._desk.take, ready)

    async def _say(self) -> None:
        waiting = (await self._do(self._desk.counts, self._number)).waiting
        what = "1 item" if waiting == 1 else f"{waiting:,} items"
        self._progress.waits_for = (
            f"waits for people: {what}; open: catena serve {self._folder}" if waiting else ""
        )

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), POLL_SECONDS)
        except TimeoutError:
            return


def finish_without(folder: Path, links: Sequence[Link]) -> None:
    """Let a run go on without people at all of its links that have some; also while it works."""
    people = [link for link in links if isinstance(link, HumanLink)]
    if people:
        with Desk(folder) as desk:
            known = {queue.name for queue in desk.queues()}
            for link in people:
                if link.name not in known:
                    desk.begin(link.name, link.desk_settings)
                desk.finish(link.name)


def outranked(task: TaskSpec, links: Sequence[Link]) -> list[str]:
    """Return a line for a person where a rule of aggregation may put an earlier vote above that of people."""
    if task.aggregate not in {"rank", "minmax"}:
        return []
    return [
        f"link '{link.name}': with aggregate: {task.aggregate} an earlier vote can outrank that of people; "
        "aggregate: last lets them have the last word."
        for link in links
        if isinstance(link, HumanLink)
    ]


def revise(ledger: WritableLedger, links: Sequence[Link], *, again: bool = False) -> int:
    """Forget those votes of people that are no longer what people say; returns how many.

    A person may take a label back, or give another one, at any time; and a process may have died after it took an
    answer in and before the desk learned of it.

    Args:
        ledger: Of the run.
        links: Its links.
        again: Whether items that were finished without people shall wait for them again.
    """
    if not (ledger.folder / FILE).exists():
        return 0
    forgotten = 0
    with Desk(ledger.folder) as desk:
        desk.retire([link.name for link in links])
        queues, numbers = {queue.name: queue for queue in desk.queues()}, ledger.links()
        for link in links:
            if isinstance(link, HumanLink) and link.name in queues and link.name in numbers:
                queue, number = queues[link.name], numbers[link.name][0]
                forgotten += _forget_revised(ledger, desk, queue.number, number)
                forgotten += _settle_untaken(ledger, desk, queue.number, number, link)
                if again:
                    forgotten += ledger.forget(number, ledger.failed_keys(number, "missing"))
    return forgotten


def _forget_revised(ledger: WritableLedger, desk: Desk, queue: int, number: int) -> int:
    forgotten = 0
    while items := desk.revised(queue, BLOCK):
        forgotten += ledger.forget(number, [each.key for each in items])
        desk.put_back(items)
    return forgotten


def _settle_untaken(ledger: WritableLedger, desk: Desk, queue: int, number: int, link: HumanLink) -> int:
    """Look up what the desk does not know to be in the ledger."""
    forgotten, last = 0, -1
    while items := desk.ready(queue, BLOCK, whole=False, after=last):
        last = items[-1].item
        known = ledger.find(number, [each.key for each in items])
        desk.take([each for each in items if known.get(each.key) == link.vote(each.marks)])
        others = [
            each.key for each in items if each.key in known and known[each.key] != link.vote(each.marks)
        ]
        forgotten += ledger.forget(number, others)
    return forgotten
