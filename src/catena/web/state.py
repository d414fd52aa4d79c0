"""What is known of a run now: from its ledger, from the process that works on it, and from the lock that tells whether one does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catena.engine.results import LABELS_FILE
from catena.engine.run import task_of
from catena.engine.steering import Control, LinkSeen, RunSeen, read_control, read_progress
from catena.errors import InputError
from catena.ledger import FILE, Ledger
from catena.ledger.lock import holder
from catena.task import TaskSpec

__all__ = ["LinkState", "State", "state_of"]

RATE_SECONDS = 10.0
QUIET_SECONDS = 10.0


@dataclass(frozen=True)
class LinkState:
    """One link of a run.

    Args:
        name: Its name.
        model: What it calls.
        answered: Items that it has voted on or failed at.
        failed: Items that it failed at.
        calls: All calls for its votes, of earlier processes too.
        cost_usd: What they cost; None where that is unknown.
        seconds: How long it has worked, before the process that is at work now.
        seen: What its process says of it, where that tells of the whole run.
        rate: Answers bought per second of late; None where nothing is known.
    """

    name: str
    model: str
    answered: int
    failed: int
    calls: int
    cost_usd: float | None
    seconds: float
    seen: LinkSeen | None = None
    rate: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until it is done at this speed, as far as is known."""
        if self.seen is None or self.seen.answered >= self.seen.expected:
            return 0.0
        if self.seen.waits_for:  # people and batches keep no pace
            return None
        return (self.seen.expected - self.seen.answered) / self.rate if self.rate else None


@dataclass(frozen=True)
class State:
    """How a run stands.

    Args:
        word: `starting`, `running`, `paused`, `ending`, `finished`, `stopped` or `killed`.
        holder: The process that works on it, None where none does.
        task: What it does; None where it has not begun.
        n: Rows.
        links: In the order of the chain.
        cost_usd: Of all votes; None where that is unknown.
        stopped: Why it stopped, where it did.
        seen: What its process says, or the last one said; None where nothing is known.
        asked: What this page has asked of the process at work.
        source: What its data is called.
        finished: Whether its labels are final.
    """

    word: str
    holder: str | None
    task: TaskSpec | None
    n: int
    links: list[LinkState]
    cost_usd: float | None
    stopped: str | None
    seen: RunSeen | None
    asked: Control | None
    source: str
    finished: bool
    labels: bool

    @property
    def working(self) -> bool:
        """Whether a process works on it that can be steered."""
        return self.word in {"running", "paused"}

    @property
    def pending(self) -> bool:
        """Whether something was asked that has not arrived yet."""
        return bool(self.working and self.asked and self.seen and self.asked.number > self.seen.number)

    @property
    def quiet(self) -> float:
        """For how many seconds its process has said nothing, where that is odd; otherwise 0."""
        silent = time.time() - self.seen.at if self.seen and self.working else 0.0
        return silent if silent >= QUIET_SECONDS else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the last link is done, as far as is known: they work at the same time."""
        left = [link.left for link in self.links] if self.word == "running" else [None]
        known = [each for each in left if each is not None]
        return max(known, default=None) if len(known) == len(left) else None


def state_of(folder: Path) -> State:
    """Return how a run stands; reads a few rows of the ledger, whatever its size."""
    at_work = holder(folder)
    seen = read_progress(folder)
    if not (folder / FILE).exists():
        return State(
            "starting", at_work, None, 0, [], None, None, None, None, "", finished=False, labels=False
        )
    with Ledger(folder) as ledger:
        facts = {key: ledger.get(key) for key in ("finished", "stopped", "source")}
        try:
            task = task_of(ledger)
        except InputError:
            task = None
        ours = seen is not None and (seen.holder == at_work if at_work else not seen.pilot)
        links = _links(ledger, task, seen if ours else None)
        n = ledger.items_count()
    finished = facts["finished"] is not None
    asked = read_control(folder)
    costs = [link.cost_usd for link in links if link.cost_usd is not None]
    return State(
        _word(at_work, seen, finished=finished, stopped=bool(facts["stopped"])),
        at_work,
        task,
        n,
        links,
        sum(costs) if costs else None,
        facts["stopped"],
        seen,
        asked if asked and seen and asked.process == seen.process else None,
        facts["source"] or "",
        finished=finished,
        labels=(folder / LABELS_FILE).exists(),
    )


def _word(at_work: str | None, seen: RunSeen | None, *, finished: bool, stopped: bool) -> str:
    if at_work is None:
        return "finished" if finished else "stopped" if stopped else "killed"
    if seen is None or seen.holder != at_work:
        return "starting"
    if seen.over:
        return "ending"
    return "paused" if seen.paused else "running"


def _links(ledger: Ledger, task: TaskSpec | None, seen: RunSeen | None) -> list[LinkState]:
    numbers = ledger.links()
    said = {link.name: (at, link) for at, link in enumerate(seen.links)} if seen else {}
    found = []
    for spec in task.chain if task else ():
        if spec.name not in numbers:
            continue
        number = numbers[spec.name][0]
        answered, failed = ledger.asked_count(number)
        used: dict[str, Any] = ledger.spent(number)
        at, link = said.get(spec.name, (0, None))
        rate = _rate(seen.rates, at) if seen and link and not seen.over else None
        found.append(
            LinkState(
                spec.name,
                ledger.model(number),
                answered,
                failed,
                used["calls"],
                used["cost_usd"],
                used["seconds"],
                link,
                rate,
            )
        )
    return found


def _rate(rates: Sequence[Sequence[float]], at: int) -> float | None:
    """Return the answers per second that a link bought lately."""
    if len(rates) < 2:
        return None
    last = rates[-1]
    first = next(each for each in rates if last[0] - each[0] <= RATE_SECONDS or each is rates[-2])
    seconds = last[0] - first[0]
    return (last[at + 1] - first[at + 1]) / seconds if seconds > 0 else None
