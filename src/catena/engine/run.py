"""A run: a folder that a task and its rows become, that any later command goes on from."""

import asyncio
import contextlib
import gc
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec

from catena.confidence.block import block_mean
from catena.data.rows import Rows, read_rows
from catena.engine.admission import admit, changed_links, refuse
from catena.engine.budget import Budget, BudgetError
from catena.engine.folder import make_folder, move_aside
from catena.engine.loop import run_async
from catena.engine.people import finish_without, outranked, revise
from catena.engine.pipeline import Pipeline, spent_of
from catena.engine.progress import Progress
from catena.engine.resolve import (
    Inquirer,
    Resolution,
    find_out,
    items_to_ask,
    known_of,
    resolved_task,
    stored,
)
from catena.engine.results import LABELS_FILE, labels_digest, write_labels
from catena.engine.routes import check_links
from catena.engine.templates import check_templates
from catena.errors import InputError, LinkError
from catena.ledger import Ledger, RunLock, WritableLedger
from catena.links import open_link
from catena.prompts import with_examples
from catena.task import LinkSpec, TaskSpec
from catena.types import Vote

__all__ = ["Outcome", "Run", "go_on", "task_of"]

Watch = Callable[[Progress], Any]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        folder: The run's folder.
        did_nothing: It was finished already and nothing had changed.
        reused: Votes that were in the ledger.
    """

    folder: Path
    did_nothing: bool = False
    reused: int = 0


class Run:
    """One task over one input, in one folder. Building it validates everything; nothing is paid before `execute`.

    Args:
        task: What to do; its examples are drawn, unless they are chosen for each row.
        data: A file, or a DataFrame or Arrow table; None for the rows that the run has.
        folder: Where the run lives; made if it is not there.

    Raises:
        TaskError: The task does not fit the links or the columns.
        DataError: The rows have structural faults.
    """

    def __init__(self, task: TaskSpec, data: Any, folder: Path) -> None:
        task = with_examples(task)
        self.task = self._given = task
        self.folder = folder
        self._told: list[str] = []
        self._judge = task.judge()
        self.links = [open_link(spec, task) for spec in task.chain]
        check_links(self._judge, self.links)
        self._rows: Rows | None = None
        if data is not None:
            self._rows = read_rows(data, task.data, task.labels.keys())
            check_templates(task, self.links, self._rows)

    @property
    def rows(self) -> Rows:
        """The rows that it was given."""
        assert self._rows is not None
        return self._rows

    def execute(
        self,
        *,
        update: bool = False,
        fresh: bool = False,
        retry_failed: bool = False,
        without_people: bool = False,
        watch: Watch | None = None,
    ) -> Outcome:
        """Get every vote that is missing, then write the labels.

        Args:
            update: Go on although rows, prompts or link settings changed; only new questions are bought.
            fresh: Move the folder aside first.
            retry_failed: Ask again where a link failed for a reason that may have passed, people too.
            without_people: Don't wait for people: what they have not labelled, they fail to.
            watch: Called with the counts when the work begins.

        Raises:
            ChangedError: The folder holds a run of other rows, prompts or settings, and `update` is not given.
            StoppedError: The run stopped before its end and can be resumed.
        """
        if fresh:
            move_aside(self.folder)
        with self._opened() as ledger:
            self._enter(ledger, update=update)
            return self._execute(
                ledger, retry_failed=retry_failed, without_people=without_people, watch=watch
            )

    def ask(self, rows: Sequence[int], links: Sequence[str], *, watch: Watch | None = None) -> None:
        """Get the votes of some links on some rows, as for a pilot; those that are there are not bought again.

        Args:
            rows: Ascending.
            links: Their names.
            watch: Called with the counts when the work begins.

        Raises:
            ChangedError: The folder holds a run of other rows, prompts or settings.
            StoppedError: It stopped before its end; the same call goes on.
        """
        with self._opened() as ledger:
            self._enter(ledger, update=False)
            asked = [link for link in self.links if link.name in links]
            numbers = [
                ledger.put_link(link.name, link.fingerprint, link.capabilities.model) for link in asked
            ]
            if ledger.get("task") is None:
                ledger.put(task=msgspec.to_builtins(self.task))
            for link in asked:
                link.ready()
            self._calibrate(ledger, links, watch)
            asked = [link for link in self.links if link.name in links]
            pipeline = Pipeline(self.task, self._judge, asked, numbers, ledger, pilot=rows)
            pipeline.progress.warnings += self._told
            if watch:
                watch(pipeline.progress)
            try:
                run_async(pipeline.run())
            finally:
                self.links = [open_link(spec, self.task) for spec in self.task.chain]  # those were closed

    def _calibrate(self, ledger: WritableLedger, links: Sequence[str], watch: Watch | None) -> None:
        """Get the votes on the first rows from links that are calibrated by them, and keep their mean distributions."""
        known, means = ledger.links(), {}
        for at, spec in enumerate(self.task.chain):
            size = spec.options.get("calibrate")
            if not size or spec.name not in links:
                continue
            number, n = known[spec.name][0], ledger.items_count()
            rows = range(min(size, n))
            if not ledger.asked(number, n)[: len(rows)].all():
                block = Pipeline(self.task, self._judge, [self.links[at]], [number], ledger, pilot=rows)
                if watch:
                    watch(block.progress)
                run_async(block.run())
                self.links[at] = open_link(spec, self.task)  # it was closed
            means[str(number)] = self._mean(ledger, number, len(rows), spec.name)
        if means != (ledger.get("means") or {}):
            ledger.put(means=means)

    def _mean(self, ledger: WritableLedger, number: int, rows: int, name: str) -> dict[str, float]:
        answers = takewhile(lambda each: each[0] < rows, ledger.answers(number, given=True))
        votes = [answer for _, _, answer, _ in answers if isinstance(answer, Vote)]
        mean = block_mean(votes, list(self.task.labels))
        if not mean:
            raise LinkError(
                f"link '{name}': calibrate: none of its votes on the first {rows:,} rows has log-probabilities.",
                "Leave out calibrate, or give the link another confidence.",
            )
        return mean

    @contextlib.contextmanager
    def _opened(self) -> Iterator[WritableLedger]:
        """Open the run's ledger for writing, as the only process that does."""
        make_folder(self.folder)
        lock = RunLock(self.folder)
        try:
            with WritableLedger(self.folder) as ledger:
                yield ledger
        finally:
            lock.release()

    def _execute(
        self, ledger: WritableLedger, *, retry_failed: bool, without_people: bool, watch: Watch | None
    ) -> Outcome:
        numbers = [
            ledger.put_link(link.name, link.fingerprint, link.capabilities.model) for link in self.links
        ]
        decision = self._decision_key()
        labels = labels_digest(self.folder / LABELS_FILE)
        done = ledger.get("finished") == decision and labels is not None and not ledger.get("stale")
        done = done and ledger.get("labels") in (labels, None)
        if retry_failed or not ledger.get("finished"):
            done = not ledger.forget_transient() and done
        done = not revise(ledger, self.links, again=retry_failed) and done
        if done:
            return Outcome(self.folder, did_nothing=True)
        for link in self.links:
            link.ready()
        if ledger.get("finished") != decision:
            ledger.put(finished=None)
        ledger.put(task=msgspec.to_builtins(self.task), stopped=None)
        if without_people:
            finish_without(self.folder, self.links)
        try:
            self._calibrate(ledger, [link.name for link in self.links], watch)
            reused = self._get_votes(ledger, numbers, watch)
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):  # as on a full disk, which is what the error is about
                ledger.put(stopped=str(error) or type(error).__name__)
            if isinstance(error, BudgetError):
                write_labels(ledger, self.task, self.folder / LABELS_FILE, provisional=True)
            raise
        gc.collect()  # a pipeline and its stages refer to each other, and the labels need the room
        write_labels(ledger, self.task, self.folder / LABELS_FILE)
        labels = labels_digest(self.folder / LABELS_FILE)
        ledger.put(finished=decision, stale=None, labels=labels)
        return Outcome(self.folder, reused=reused)

    def _get_votes(self, ledger: WritableLedger, numbers: Sequence[int], watch: Watch | None) -> int:
        """Get all votes, again where people have changed their minds meanwhile; returns how many were there before."""
        while True:
            pipeline = Pipeline(self.task, self._judge, self.links, numbers, ledger)
            pipeline.progress.warnings += [*self._told, *outranked(self.task, self.links)]
            if watch:
                watch(pipeline.progress)
            run_async(pipeline.run())
            if not revise(ledger, self.links):
                return sum(link.reused for link in pipeline.progress.links)
            self.links = [open_link(spec, self.task) for spec in self.task.chain]  # those were closed

    def _enter(self, ledger: WritableLedger, *, update: bool) -> None:
        """Take the rows in, and see that all is known of the links that the task leaves open."""
        before = stored(ledger.get("resolved"))
        self._stand_on(before)
        if self._rows is not None:
            admit(ledger, self._rows, self.task, self.links, update=update)
        known, left = known_of(self._given, self.links, before)
        if left:
            known |= self._find_out(ledger, [self._given.chain[at] for at in left])
        if known != before:
            ledger.put(resolved=msgspec.to_builtins(before | known))
        if left:
            self._stand_on(known)
            refuse(ledger, changed_links(ledger, self.links), update=update)

    def _stand_on(self, known: Mapping[str, Resolution]) -> None:
        """Open the links that the task leaves open as what they were found to be."""
        before, self.task = self.task.chain, resolved_task(self._given, known)
        for at, spec in enumerate(self.task.chain):
            if spec != before[at]:
                self.links[at] = open_link(spec, self.task)

    def _find_out(self, ledger: WritableLedger, specs: Sequence[LinkSpec]) -> dict[str, Resolution]:
        """Try the ladder of these links on the first rows; what that costs counts, and is no vote's."""
        budget = Budget(self.task.budget, spent_of(ledger), ledger.get("lost") or (0.0, 0.0, 0.0))
        inquirer = Inquirer(budget, items_to_ask(self.rows, self.task.max_chars))
        try:
            found = asyncio.run(find_out(specs, self._given, inquirer))
        finally:
            ledger.put(lost=budget.lost)
        self._told = [f"link '{name}': {each.told}" for name, each in found.items()]
        return found

    def _decision_key(self) -> str:
        task = self.task
        said = [
            [(link.name, link.fingerprint) for link in self.links],
            msgspec.to_builtins(task.policy),
            task.aggregate,
            msgspec.to_builtins(task.calibrated),
            task.seed,
            msgspec.to_builtins(task.data),
            *[[spec.name, size] for spec in task.chain if (size := spec.options.get("calibrate"))],
        ]
        return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()


def go_on(folder: Path, *, without_people: bool = False, watch: Watch | None = None) -> Outcome:
    """Go on with a run from what it knows itself: its task and its rows.

    Args:
        folder: The run's.
        without_people: See `Run.execute`.
        watch: Likewise.

    Raises:
        InputError: The run never began, or a file that its task names is not there any more.
        StoppedError: It stopped before its end.
    """
    with Ledger(folder) as ledger:
        task = task_of(ledger)
    return Run(task, None, folder).execute(without_people=without_people, watch=watch)


def task_of(ledger: Ledger) -> TaskSpec:
    """Return the task that a run was last given.

    Raises:
        InputError: The run never began.
    """
    stored = ledger.get("task")
    if stored is None:
        raise InputError(f"{ledger.folder}: the run has not begun.", "Run the same catena run command again.")
    if "share" in stored:  # as version 0.1 wrote it
        share = stored.pop("share")
        stored["policy"] = {"share": share} if share else {}
    return msgspec.convert(stored, TaskSpec)
