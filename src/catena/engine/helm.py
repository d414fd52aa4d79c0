"""Beside a run at work: says about once a second how far it is, and does what is asked of it meanwhile."""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from catena.engine.budget import Budget
from catena.engine.endpoint import Gate
from catena.engine.pause import Pause
from catena.engine.progress import LinkProgress, Progress
from catena.engine.steering import Control, LinkSeen, RunSeen, read_control, write_progress
from catena.errors import TaskError
from catena.ledger.lock import here
from catena.links.batch import batching_of
from catena.task import BudgetSpec
from catena.types import Link

__all__ = ["Helm"]

EVERY_SECONDS = 1.0
SAMPLES = 180
"""How many seconds of the past are told."""
MOST_WARNINGS = 50


class Helm:
    """Steers one run by the files of `steering`.

    Args:
        folder: The run's.
        progress: Its counts.
        links: In the order of the chain.
        gates: What their calls pass.
        budget: What calls are reserved from.
        own: The task's budget.
        pause: Holds back batches.
        pilot: Whether only a pilot is asked about.
        finish_without_people: Called once when that is asked for.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        links: Sequence[Link],
        gates: Sequence[Gate],
        budget: Budget,
        own: BudgetSpec | None,
        pause: Pause,
        *,
        pilot: bool,
        finish_without_people: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._links = links
        self._gates = gates
        self._budget = budget
        self._own = own
        self._pause = pause
        self._pilot = pilot
        self._finish = finish_without_people
        self._control = Control(secrets.token_hex(8))
        self._began = time.time()
        self._rates: deque[list[float]] = deque(maxlen=SAMPLES)

    @contextlib.asynccontextmanager
    async def steering(self) -> AsyncIterator[None]:
        """Do so while the context lasts, and say at its end how far the run came."""
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.wait([work])
            write_progress(self._folder, self._seen(over=True))

    async def _work(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self) -> None:
        control = await asyncio.to_thread(read_control, self._folder)
        if control and control.process == self._control.process and control != self._control:
            self._obey(control)
        now = time.time() - self._began
        self._rates.append([round(now, 2), *[link.answered - link.reused for link in self._progress.links]])
        await asyncio.to_thread(write_progress, self._folder, self._seen(over=False))

    def _obey(self, control: Control) -> None:
        before, self._control = self._control, control
        if control.paused != self._pause.on:
            (self._pause.begin if control.paused else self._pause.end)()
            for endpoint in {gate.endpoint for gate in self._gates}:
                endpoint.hold(on=control.paused)
        for link, gate in zip(self._links, self._gates, strict=True):
            wanted = control.concurrency.get(link.name)
            if wanted is not None and wanted != gate.ceiling:
                gate.limit(wanted)
        if control.budget != before.budget:
            self._cap(control.budget)
        if control.finish_without_people and not before.finish_without_people:
            self._finish()

    def _cap(self, spec: BudgetSpec | None) -> None:
        try:
            self._budget.cap(self._own if spec is None else spec, self._links, steered=spec is not None)
        except TaskError as error:
            self._progress.warnings.append(f"{error.message} The budget stays as it was.")

    def _seen(self, *, over: bool) -> RunSeen:
        return RunSeen(
            process=self._control.process,
            holder=here(),
            began=self._began,
            at=time.time(),
            over=over,
            pilot=self._pilot,
            items=self._progress.items,
            links=[
                _seen_link(link, progress, gate)
                for link, progress, gate in zip(self._links, self._progress.links, self._gates, strict=True)
            ],
            spent=[*self._budget.spent],
            caps=self._budget.caps,
            steered=self._budget.steered,
            paused=self._pause.on,
            number=self._control.number,
            warnings=self._progress.warnings[-MOST_WARNINGS:],
            rates=[*self._rates],
        )


def _seen_link(link: Link, progress: LinkProgress, gate: Gate) -> LinkSeen:
    return LinkSeen(
        name=progress.name,
        model=progress.model,
        expected=progress.expected,
        received=progress.received,
        answered=progress.answered,
        forwarded=progress.forwarded,
        failed=progress.failed,
        reused=progress.reused,
        calls=progress.calls,
        cost_usd=progress.cost_usd,
        in_flight=progress.in_flight,
        most=gate.ceiling,
        allowed=0 if batching_of(link) else gate.allowed,
        waits_for=progress.waits_for,
        tries_failed=dict(gate.failures),
        troubles=sorted([*progress.troubles, *gate.troubles], key=lambda trouble: trouble.at),
    )
