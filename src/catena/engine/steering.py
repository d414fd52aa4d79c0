"""A run that is watched and steered while it works: two small files beside its ledger.

The process that works on a run writes `progress.json` about once a second, and reads `control.json` as often; whoever shows
the run (`catena serve`) does the opposite. Each file is replaced as a whole, by a new one that is renamed, so that no reader
ever sees half of one, and belongs to its owner alone (0600).

Files, since both sides may come, be killed and come again in any order: there is no connection to lose, the ledger keeps its
only writer, and what a killed run last said can still be read. A second is soon enough for a person. What is asked for
names the process that it is for: what lies about from an earlier one steers nobody, so a run that is begun again begins
as its task says.
"""

import contextlib
import os
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from catena.task import BudgetSpec

__all__ = [
    "CONTROL_FILE",
    "PROGRESS_FILE",
    "Control",
    "LinkSeen",
    "RunSeen",
    "Trouble",
    "read_control",
    "read_progress",
    "write_control",
    "write_progress",
]

PROGRESS_FILE, CONTROL_FILE = "progress.json", "control.json"
MOST_BYTES = 1 << 20

T = TypeVar("T")


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of a process that works on a run.

    Args:
        process: Which one: `RunSeen.process`.
        number: Grows with each change, so that one can see whether it has arrived.
        paused: Finish the calls in flight and begin no others.
        concurrency: Most calls at a time, by link; those that are not named stay as they are.
        budget: In the place of the task's; None for that.
        finish_without_people: End the run without the votes that people have not given yet.
    """

    process: str
    number: int = 0
    paused: bool = False
    concurrency: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}
    budget: BudgetSpec | None = None
    finish_without_people: bool = False


class Trouble(msgspec.Struct, frozen=True):
    """A failure that came up: when (seconds since 1970), about which row (None where the call is tried again), and why."""

    at: float
    row: int | None
    reason: str
    message: str


class LinkSeen(msgspec.Struct, frozen=True):
    """What one link has done since its process began; see `progress.LinkProgress`.

    Args:
        most: How many calls at a time it may have.
        allowed: The largest number that it can be given; 0 where it is asked otherwise than call by call.
        tries_failed: Calls that failed and were tried again, or not, by reason.
        troubles: The latest failures, oldest first.
    """

    name: str
    model: str
    expected: int
    received: int
    answered: int
    forwarded: int
    failed: int
    reused: int
    calls: int
    cost_usd: float
    in_flight: int
    most: int
    allowed: int
    waits_for: str
    tries_failed: dict[str, int]
    troubles: list[Trouble]


class RunSeen(msgspec.Struct, frozen=True):
    """What a run has done so far, as its process says it.

    Args:
        process: Names the process; a new one each time that somebody works on the run.
        holder: As the run's lock names it.
        began: When it began, in seconds since 1970.
        at: When this was written.
        over: Whether the process has ended its work.
        pilot: Whether only a pilot is asked about.
        items: Rows of the run, or of the pilot.
        links: In the order of the chain.
        spent: USD, tokens and calls of the whole run, earlier processes included.
        caps: Most of each; None for no cap.
        steered: Whether the caps are not the task's own.
        paused: Whether no calls are begun.
        number: Of the latest `Control` that has arrived.
        warnings: Lines for a person.
        rates: Seconds since it began, then how many answers each link has bought, about each second of the last minutes.
    """

    process: str
    holder: str
    began: float
    at: float
    over: bool
    pilot: bool
    items: int
    links: list[LinkSeen]
    spent: list[float]
    caps: list[float | None]
    steered: bool
    paused: bool
    number: int
    warnings: list[str]
    rates: list[list[float]]


def read_progress(folder: Path) -> RunSeen | None:
    """Return what a run's process last said; None where nothing is known or it can't be read."""
    return _read(folder / PROGRESS_FILE, RunSeen)


def read_control(folder: Path) -> Control | None:
    """Return what is asked of a run's process; None where nothing is, or it can't be read."""
    return _read(folder / CONTROL_FILE, Control)


def write_progress(folder: Path, seen: RunSeen) -> None:
    """Say what a run has done so far; without an error where that can't be written: a run does not stop for it."""
    with contextlib.suppress(OSError):
        _replace(folder / PROGRESS_FILE, msgspec.json.encode(seen))


def write_control(folder: Path, control: Control) -> None:
    """Ask something of a run's process.

    Raises:
        OSError: It can't be written.
    """
    _replace(folder / CONTROL_FILE, msgspec.json.encode(control))


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MOST_BYTES), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _replace(path: Path, content: bytes) -> None:
    """Put a file in its place whole. What is in it may be lost with the machine, so nothing waits for the disk."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
