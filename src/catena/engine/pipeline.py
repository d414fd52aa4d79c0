"""All links of a chain at work at the same time: what one surely forwards, the next one gets at once.

With `schedule: sequential` a link gets what is forwarded to it when the one before has finished and is freed. Decisions
are the same: none depends on the order in which votes arrive.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from catena.aggregate import Judge
from catena.engine.asker import Asker, CallAsker
from catena.engine.batches import BatchAsker, Desk
from catena.engine.budget import Budget, BudgetError
from catena.engine.endpoint import Gate, endpoints
from catena.engine.helm import Helm
from catena.engine.inbox import Inbox
from catena.engine.loop import first_error, signals
from catena.engine.pause import Pause
from catena.engine.people import PeopleAsker, finish_without
from catena.engine.progress import LinkProgress, Progress
from catena.engine.results import LABELS_FILE
from catena.engine.routes import KeepAll, Route, keeps_boards, open_routes
from catena.engine.stage import Board, Stage
from catena.engine.turns import Turns
from catena.errors import CatenaError, StoppedError
from catena.ledger import Ledger, WritableLedger
from catena.ledger.batches import BatchRecord
from catena.ledger.facts import note
from catena.ledger.writer import Writer
from catena.links.batch import batching_of
from catena.links.human import HumanLink
from catena.routing import ties
from catena.task import TaskSpec
from catena.types import Link, Usage

__all__ = ["Pipeline", "spent_of"]


class Pipeline:
    """The chain over the items of a ledger.

    Args:
        task: Labels and limits.
        judge: Its policy, and what that ranks by.
        links: The links in the order of the chain.
        numbers: Their numbers in the ledger.
        ledger: Items and votes.
        pilot: Rows that every link is asked about, and no other; None for the chain over all rows.
    """

    def __init__(
        self,
        task: TaskSpec,
        judge: Judge,
        links: Sequence[Link],
        numbers: Sequence[int],
        ledger: WritableLedger,
        pilot: Sequence[int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._numbers = numbers
        self._task = task
        n = ledger.items_count()
        self.progress = Progress(n if pilot is None else len(pilot))
        reach = judge.policy.expects(n, len(links)) if pilot is None else [len(pilot)] * len(links)
        for link, expected in zip(links, reach, strict=True):
            before = self.progress.links[-1] if self.progress.links else None
            self.progress.links.append(LinkProgress(link.name, link.capabilities.model, expected, before))
        labels = tuple(task.labels)
        self._boards = [
            None
            if not ledger.asked_count(number)[0]
            else Board(*ledger.decided(number, labels, n))
            if keeps_boards(judge)
            else Board(ledger.asked(number, n))
            for number in numbers
        ]
        self._alone = pilot is not None
        self._routes: Sequence[Route]
        if pilot is None:
            self._routes, self._spending = open_routes(judge, ties(ledger.ids(), task.seed))
            self._inboxes = [Inbox(range(n))] + [Inbox() for _ in links[1:]]
        else:
            self._routes, self._spending = [KeepAll()] * len(links), None
            self._inboxes = [Inbox(pilot) for _ in links]
        self._turns = Turns(links, steered=self._spending is not None)
        if task.schedule == "sequential":
            for at, inbox in enumerate(self._inboxes):
                inbox.turn = partial(self._turns.wait, at)
        self._stages: list[Stage] = []
        self._gates: list[Gate] = []
        self._pause = Pause()
        self._budget = Budget(task.budget, spent_of(ledger), ledger.get("lost") or (0.0, 0.0, 0.0))
        self._seconds: list[float] = []
        self._stopping = ""
        self._failed = self._winding_up = False
        self._error: CatenaError | None = None

    async def run(self) -> None:
        """Get every vote that the chain needs; all of them are committed when this returns.

        Raises:
            StoppedError: A signal, a link or the ledger stopped the run; all votes so far are committed.
        """
        for link in self._links:
            self._budget.check(link, "")
        for record in self._ledger.batches():
            if record.open and not self._adopts(record):
                self._budget.charge(record.most)
        self._gates = endpoints(self._links)
        for progress, gate in zip(self.progress.links, self._gates, strict=True):
            progress.gate = gate
        self.progress.budget = self._budget
        helm = Helm(
            self._ledger.folder,
            self.progress,
            self._links,
            self._gates,
            self._budget,
            self._task.budget,
            self._pause,
            pilot=self._alone,
            finish_without_people=lambda: finish_without(self._ledger.folder, self._links),
        )
        async with helm.steering():
            with signals(self.stop):
                await self._work()
        if self._error:
            raise self._error
        if self._stopping:
            raise StoppedError(
                f"stopped by {self._stopping}; every vote so far is kept.", "The same command goes on."
            )
        if self._failed:
            raise self._budget_error()

    async def _work(self) -> None:
        """Run all links, then commit what they have said and free what they hold, however they ended."""
        writer = self._ledger.writer(self._committed)
        self._seconds = [0.0] * len(self._links)
        try:
            self._stages = self._build(writer)
            if self._spending:
                self._spending.begin(lambda at, row: self._stages[at].forward(row), self._close)
            async with asyncio.TaskGroup() as group:
                for at, stage in enumerate(self._stages):
                    group.create_task(self._run_stage(at, stage, writer))
        except BaseExceptionGroup as several:
            raise first_error(several) from None
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._winding_up = True
            try:
                await writer.close()
            finally:
                for link in self._links:
                    await link.close()
            for number, seconds in zip(self._numbers, self._seconds, strict=True):
                self._ledger.add_seconds(number, seconds)
            self._ledger.put(lost=self._budget.lost)

    def stop(self, why: str) -> None:
        """Finish the calls in flight, begin no other; a second time, stop at once."""
        if self._winding_up:  # all that is left is to commit what is known
            self._stopping = self._stopping or why
            return
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = why
        self._end()

    def _fail(self, error: CatenaError | None) -> None:
        """Stop because a link is unusable, or for None the budget reached; calls in flight are paid for and finished."""
        self._error = self._error or error
        if not self._failed:
            self._failed = True
            self._end()

    def _end(self) -> None:
        for stage in self._stages:
            stage.stop()
        self._budget.stop()
        self._pause.end()
        for gate in self._gates:
            gate.endpoint.stop()

    def _budget_error(self) -> BudgetError:
        """Say what is spent, and about what the rest would cost."""
        rest, calls, about = 0.0, 0, "about"
        for link, number, progress in zip(self._links, self._numbers, self.progress.links, strict=True):
            lacking = max(progress.expected - progress.answered, 0)
            spent = self._ledger.spent(number)
            votes = self._ledger.votes_count(number)
            known = bool(votes and spent["cost_usd"] is not None)
            each = spent["cost_usd"] / votes if known else self._bound(link)
            about = "at most" if lacking and each and not known else about
            rest += lacking * each
            calls += 0 if isinstance(link, HumanLink) else lacking * link.capabilities.calls
        return BudgetError(
            f"the budget is reached: {self._budget.said()} are used. Finishing takes about {calls:,} more calls"
            + (
                f", for {about} ${rest:,.2f}."
                if rest >= 0.01
                else f", for {about} ${rest:.6f}."
                if rest
                else "."
            ),
            (
                "It was set while the run worked: the same command goes on with the task's own"
                if self._budget.steered
                else "Raise budget in the task and run the same command to go on"
            )
            + ("." if self._alone else f"; provisional labels: {self._ledger.folder / LABELS_FILE}."),
        )

    def _bound(self, link: Link) -> float:
        """Return the most that a call of a link can cost, from its first item, where nothing is known of it yet."""
        most = link.most(link.render(self._ledger.items([0])[0]))
        return (most.cost_usd or 0.0) if most else 0.0

    def _asker(self, at: int, writer: Writer) -> Asker:
        link, progress = self._links[at], self.progress.links[at]
        if isinstance(link, HumanLink):
            return PeopleAsker(
                link, self._ledger.folder, writer, self._budget, progress, self._fail, blind=self._alone
            )
        batching = batching_of(link)
        if batching is None:
            self._tell_open_batches(link, self._numbers[at])

            async def remember() -> None:
                await writer.do(note({"lost": self._budget.lost}))

            return CallAsker(link, self._gates[at], self._budget, remember, self._fail)
        tell = self.progress.warnings.append
        return BatchAsker(
            Desk(
                link,
                batching,
                self._numbers[at],
                self._ledger,
                writer,
                self._budget,
                progress,
                tell,
                self._fail,
                pause=self._pause,
            )
        )

    def _adopts(self, record: BatchRecord) -> bool:
        """Tell whether a link of the chain will harvest a batch."""
        return any(
            number == record.link and link.fingerprint == record.fingerprint and batching_of(link)
            for number, link in zip(self._numbers, self._links, strict=True)
        )

    def _tell_open_batches(self, link: Link, number: int) -> None:
        if count := sum(record.open for record in self._ledger.batches(number)):
            self.progress.warnings.append(
                f"link '{link.name}' has {count:,} open batches and asks call by call now: give it mode: batch to "
                "harvest them, or what they bring is bought again."
            )

    def _build(self, writer: Writer) -> list[Stage]:
        last = len(self._links) - 1
        askers = [self._asker(at, writer) for at in range(len(self._links))]
        stages = [
            Stage(
                link=link,
                asker=askers[at],
                number=self._numbers[at],
                labels=tuple(self._task.labels),
                board=self._boards[at],
                route=self._routes[at],
                inbox=self._inboxes[at],
                forward=self._inboxes[min(at + 1, last)].put,
                max_chars=self._task.max_chars,
                progress=self.progress.links[at],
                warn=self.progress.warnings.append,
                fail=self._fail,
                mean=None if self._alone else self._ledger.mean(self._numbers[at]),
            )
            for at, link in enumerate(self._links)
        ]
        for asker, stage in zip(askers, stages, strict=True):
            if isinstance(asker, PeopleAsker):
                asker.rows = stage.waiting
        return stages

    def _committed(self, group: list[tuple[int, bytes]]) -> None:
        for number, key in group:
            self._stages[self._numbers.index(number)].committed(key)

    async def _run_stage(self, at: int, stage: Stage, writer: Writer) -> None:
        try:
            await stage.run(self._ledger, writer)
        finally:
            self._seconds[at] = stage.seconds
        self._turns.finish(at)
        if not self._alone and self._spending is None and at + 1 < len(self._stages):
            self._inboxes[at + 1].close()

    def _close(self) -> None:
        """No row will be forwarded any more."""
        for inbox in self._inboxes[1:]:
            inbox.close()


def spent_of(ledger: Ledger) -> Usage:
    """Return what the votes of a run have used so far, with links that are no longer in its chain."""
    used = [ledger.spent(number) for number, _ in ledger.links().values()]
    return Usage(
        sum(each["prompt_tokens"] for each in used),
        sum(each["completion_tokens"] for each in used),
        sum(each["cost_usd"] or 0.0 for each in used),
        calls=sum(each["calls"] for each in used),
    )
