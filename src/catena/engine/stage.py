"""One link at work: takes rows in, gets a vote for each, keeps or forwards it."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from catena.confidence.block import calibrated
from catena.engine.asker import Asker, Question
from catena.engine.health import Health
from catena.engine.inbox import Inbox, Queue
from catena.engine.progress import LinkProgress
from catena.engine.routes import Route, Said
from catena.errors import CatenaError, DataError, LedgerError, LinkError
from catena.ledger import Ledger
from catena.ledger.writer import Writer
from catena.links.identity import vote_key
from catena.types import Answer, Failure, Item, Link, Vote

__all__ = ["Board", "Stage"]

BLOCK = 128
LACKS = {
    "code_logprobs": "has answers that are no code, or come without log-probabilities",
    "verbalised": "names no probability beside some of its labels",
    "recorded": "has votes without a recorded confidence",
}
"""What is wrong where a link with such a source of confidence has a vote without one."""


@dataclass(frozen=True)
class Board:
    """What one link had said about n items before this run goes on; nothing is kept of what it says now.

    Args:
        answered: Whether there is a vote or a failure, bool [n].
        label: Label index, -1 for none, int16 [n]; None where more of a vote is needed: then it is looked up.
        confidence: NaN for none, float64 [n]; likewise.
    """

    answered: NDArray[np.bool_]
    label: NDArray[np.int16] | None = None
    confidence: NDArray[np.float64] | None = None


class Stage:
    """Runs one link over the rows that reach it. Every row is settled exactly once.

    Equal prompts are bought once: later rows wait for the answer on its way, or take the stored one.

    Args:
        link: The annotator.
        asker: Gets its answers.
        number: Its number in the ledger.
        labels: The task's labels.
        board: What is known already; None where nothing is.
        route: Decides which rows are forwarded.
        inbox: Where rows come from.
        forward: Takes a forwarded row.
        max_chars: Longer texts fail without a call.
        progress: Counts.
        warn: Takes a line for the user.
        fail: Takes an error that makes the link unusable as a whole; it stops the run.
        mean: What the link's label distributions are divided by; None where they count as they are.

    Attributes:
        waiting: The rows that wait for the answer to a key.
    """

    def __init__(
        self,
        link: Link,
        asker: Asker,
        number: int,
        labels: tuple[str, ...],
        board: Board | None,
        route: Route,
        inbox: Inbox,
        forward: Callable[[int], None],
        max_chars: int,
        progress: LinkProgress,
        warn: Callable[[str], None],
        fail: Callable[[CatenaError], None],
        mean: Mapping[str, float] | None = None,
    ) -> None:
        self._mean = mean
        self.inbox = inbox
        self.progress = progress
        self._link = link
        self._number = number
        self._labels = {label: at for at, label in enumerate(labels)}
        self._board = board
        self._route = route
        self._forward = forward
        self._max_chars = max_chars
        self._warn = warn
        self._fail = fail
        self._warned = False
        self._health = Health(link.name, link.capabilities.most_failed)
        self._asker = asker
        self._queue: Queue[Question] = Queue(asker.ahead)
        self.waiting: dict[bytes, list[int]] = {}
        self._uncommitted: dict[bytes, Answer] = {}
        self._feeder: asyncio.Task[None] | None = None
        self._stopped = False
        self._writer: Writer | None = None
        self._began: float | None = None
        self._voted = False
        self._held: list[int] = []

    async def run(self, ledger: Ledger, writer: Writer) -> None:
        """Work until every row of the inbox is settled, or `stop` is called.

        Raises:
            LedgerError: Votes can't be stored.
        """
        if self._stopped:
            return
        self.waiting.update((key, []) for key in await self._asker.adopt())
        self._writer = writer
        async with asyncio.TaskGroup() as group:
            self._feeder = group.create_task(self._feed(ledger, writer))
            group.create_task(self._asker.work(self._queue, self._take))
        if self._stopped:
            return
        try:
            self._health.end(voted=self._voted)
        except LinkError as error:
            self._fail(error)
        else:
            self._release()
            if self._health.worked and not self._voted:
                self._warn(
                    f"link '{self._link.name}' named no label in any of its answers; see the column 'reason'."
                )

    @property
    def seconds(self) -> float:
        """How long the link has worked, from its first question on."""
        return 0.0 if self._began is None else monotonic() - self._began

    def stop(self) -> None:
        """Finish the calls in flight and begin no other."""
        self._stopped = True
        self._asker.stop()
        if self._feeder:
            self._feeder.cancel()
        self._queue.close(drop=True)

    def committed(self, key: bytes) -> None:
        """Learn that the answer to a key is in the ledger."""
        self._uncommitted.pop(key, None)

    async def _feed(self, ledger: Ledger, writer: Writer) -> None:
        """Put the questions of all rows into the queue; where they can't be read, calls in flight are kept."""
        try:
            await self._feed_all(ledger, writer)
        except LedgerError as error:
            self._fail(error)
        except sqlite3.Error as error:
            self._fail(ledger.explained(error))

    async def _feed_all(self, ledger: Ledger, writer: Writer) -> None:
        while rows := await self.inbox.take(BLOCK):
            self.progress.received += len(rows)
            new = [row for row in rows if not self._settle_known(row)]
            if new:
                await self._look_up(new, ledger, writer)
            else:
                await asyncio.sleep(0)
        self._queue.close()

    async def _look_up(self, rows: list[int], ledger: Ledger, writer: Writer) -> None:
        """Settle rows whose answer is known; put the others' questions into the queue."""
        asked = [
            (item.row, prompt, self._key(item, prompt, failure), failure)
            for item in ledger.items(rows)
            for prompt, failure in [self._render(item)]
        ]
        stored = ledger.find(self._number, [key for _, _, key, _ in asked])
        answered: list[tuple[int, bytes, Answer, bool]] = []
        questions: list[Question] = []
        for row, prompt, key, failure in asked:  # without a pause, so that no answer comes in between
            answer = stored.get(key) or self._uncommitted.get(key)
            if answer is not None:
                answered.append((row, key, answer, False))
            elif key in self.waiting:
                self.waiting[key].append(row)
            elif failure is not None:
                self._uncommitted[key] = failure
                self.progress.note(row, failure)
                answered.append((row, key, failure, True))
            else:
                self.waiting[key] = [row]
                questions.append((key, prompt))
        for row, key, answer, new in answered:
            self.progress.reused += not new
            if new or self._board is None or not self._board.answered[row]:
                await writer.append(self._number, key, (row,), answer if new else None)
            self._settle(row, answer)
        for question in questions:
            self._began = self._began or monotonic()
            await self._queue.put(question)

    def _render(self, item: Item) -> tuple[str, Failure | None]:
        """Return the question about an item, or why there is none."""
        if not item.text.strip():
            return item.text, Failure("empty", "the text is empty")
        length = len(item.text)
        if length > self._max_chars:
            return item.id, Failure(
                "too_long", f"the text has {length:,} characters, more than max_chars: {self._max_chars:,}"
            )
        try:
            return self._link.render(item), None
        except DataError as error:
            return item.id, Failure("template", error.message)

    def _key(self, item: Item, prompt: str, failure: Failure | None) -> bytes:
        if failure is not None:  # another item may have the same prompt with a text that can be asked
            prompt = f"{failure.message}\0{prompt}"
        return vote_key(
            self._link.fingerprint, f"{item.id}\0{prompt}" if self._link.capabilities.per_item else prompt
        )

    async def _take(self, key: bytes, answer: Answer) -> None:
        assert self._writer is not None
        rows = self.waiting.pop(key)
        self._uncommitted[key] = answer
        self.progress.calls += answer.usage.calls
        self.progress.cost_usd += answer.usage.cost_usd or 0.0
        self.progress.reused += max(len(rows) - 1, 0)
        if isinstance(answer, Failure) and rows:
            self.progress.note(rows[0], answer)
        if line := self._health.renamed(answer):
            self._warn(line)
        await self._writer.append(self._number, key, rows, answer)
        for row in rows:
            self._settle(row, answer)
        try:
            self._health.see(answer)
        except LinkError as error:
            self._fail(error)

    def _settle(self, row: int, answer: Answer) -> None:
        usd = answer.usage.cost_usd or 0.0
        if not isinstance(answer, Vote):
            self._decide(row, Said(-1, usd=usd))
            return
        if answer.confidence is None and not self._warned:
            self._warned = True
            self._warn(_without_confidence(self._link))
        if self._mean:
            answer = calibrated(answer, self._mean)
        label = self._labels.get(answer.label, -1)
        self._decide(row, Said(label, answer.confidence, answer.logprobs, usd))

    def _settle_known(self, row: int) -> bool:
        """Settle a row whose answer was there when the run began; tells whether it was."""
        board = self._board
        if board is None or board.label is None or board.confidence is None or not board.answered[row]:
            return False
        self.progress.reused += 1
        self._decide(row, Said(int(board.label[row]), float(board.confidence[row])))
        return True

    def _decide(self, row: int, said: Said) -> None:
        voted = said.label >= 0
        self.progress.answered += 1
        self.progress.failed += not voted
        self._voted = self._voted or voted
        forwarded = self._route.take(row, said)
        if forwarded is not None:
            self.forward(forwarded)
        elif self._held and (self._voted or self._health.worked):
            self._release()

    def forward(self, row: int) -> None:
        """Send a row that this link has voted on to the next one, as soon as the link has shown that it works."""
        self.progress.forwarded += 1
        self._held.append(row)
        if self._voted or self._health.worked:
            self._release()

    def _release(self) -> None:
        """Forward what is held: nothing is, before the link has shown that it works."""
        for row in self._held:
            self._forward(row)
        self._held.clear()


def _without_confidence(link: Link) -> str:
    """Say why votes of a link have no confidence, and where a task can have one from."""
    source = link.capabilities.confidence
    lacks = LACKS.get(source, "gives no log-probabilities")
    way = (
        "; `confidence: auto` finds a way to one"
        if link.capabilities.endpoint and source not in {"verbalised", "recorded"}
        else ""
    )
    return f"link '{link.name}' {lacks}: such votes have no confidence and rank lowest{way}."
