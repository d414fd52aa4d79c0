"""The fake provider's own ledger: what was asked of it and what it answered, whatever became of the client."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["Call", "CallLedger", "answered", "batches", "calls", "too_early"]

FLUSH_BYTES = 1 << 16


class Entry(msgspec.Struct, omit_defaults=True, gc=False):
    """One line: a request that came, an answer that was sent, or a client that left before its answer.

    Or a batch that was made: then `n` is how many requests it has, and `key` its id.
    """

    event: Literal["request", "answer", "left", "batch"]
    n: int
    time: float
    key: str
    model: str
    attempt: int
    in_flight: int
    status: int = 0
    fault: str = ""
    usable: bool = False
    retry_after: float | None = None


class Call(msgspec.Struct, gc=False):
    """One request and what became of it.

    Args:
        n: Number of the request, from 1.
        time: When it came, seconds since 1970.
        key: Hash of the model and the messages.
        model: The model asked for.
        attempt: How often this key had been asked for, this time included, from 1.
        in_flight: Requests being worked on when it came, this one included.
        status: HTTP status of the answer; 0 where none was sent.
        fault: Name of the fault played, `rate` or `concurrency` for a limit, `down`; empty for none.
        usable: Whether a complete chat completion with a choice was sent.
        retry_after: Seconds that the answer asked the client to wait.
        ended: When the answer was sent or the client left; None while it is open.
    """

    n: int
    time: float
    key: str
    model: str
    attempt: int
    in_flight: int
    status: int = 0
    fault: str = ""
    usable: bool = False
    retry_after: float | None = None
    ended: float | None = None


class CallLedger:
    """Appends entries to a JSONL file in batches; without a file it keeps them in memory."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.path = path
        self._file = None if path is None else os.open(path, flags, 0o600)
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._size = 0
        if self._file is not None and os.lseek(self._file, 0, os.SEEK_END):
            os.write(self._file, b"\n")  # the last line may have been cut in half

    @property
    def waiting(self) -> bool:
        """Whether there are entries that a flush would write."""
        return self._size > 0

    def append(self, entry: Entry) -> None:
        """Take one entry; it is on disk after the next `flush` or 64 KiB more, whichever comes first."""
        line = self._encoder.encode(entry)
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand every entry to the operating system."""
        if self._file is None or not self._lines:
            return
        batch = memoryview(b"\n".join(self._lines) + b"\n")
        self._lines, self._size = [], 0
        while batch:
            batch = batch[os.write(self._file, batch) :]

    def close(self) -> None:
        """Flush and close; closing twice is allowed."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def calls(self) -> list[Call]:
        """Return all calls so far, from the file where there is one."""
        if self.path is None:
            return merge(self._lines)
        self.flush()
        return calls(self.path)


def merge(lines: Iterable[bytes]) -> list[Call]:
    """Join each request with its answer; a line cut in half by a kill is skipped."""
    decode: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode
    found: list[Call] = []
    latest: dict[int, Call] = {}  # a provider that is started again counts from 1 again
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            entry = decode(line)
            if entry.event == "request":
                call = Call(entry.n, entry.time, entry.key, entry.model, entry.attempt, entry.in_flight)
                latest[entry.n] = call
                found.append(call)
            elif entry.event == "batch":
                continue
            elif entry.n in latest:
                call = latest[entry.n]
                call.status, call.fault, call.usable = entry.status, entry.fault, entry.usable
                call.retry_after, call.ended = entry.retry_after, entry.time
    return found


def calls(path: str | os.PathLike[str]) -> list[Call]:
    """Read a ledger file: one `Call` per request, in order of arrival."""
    with Path(path).open("rb") as file:
        return merge(file)


def batches(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read from a ledger file which batches were made, and how many requests each has."""
    made = {}
    with Path(path).open("rb") as file:
        for line in file:
            with contextlib.suppress(msgspec.DecodeError):
                entry = msgspec.json.decode(line, type=Entry)
                if entry.event == "batch":
                    made[entry.key] = entry.n
    return made


def answered(path: str | os.PathLike[str]) -> Counter[str]:
    """Count the usable answers that were sent, per key."""
    return Counter(call.key for call in calls(path) if call.usable)


def too_early(found: Iterable[Call], slack: float = 0.01) -> list[Call]:
    """Return the calls that came before the wait which an earlier answer for the same key had asked for."""
    wait_until: dict[str, float] = {}
    early = []
    for call in found:
        if call.time < wait_until.get(call.key, 0.0) - slack:
            early.append(call)
        if call.retry_after is not None and call.ended is not None:
            wait_until[call.key] = call.ended + call.retry_after
    return early
