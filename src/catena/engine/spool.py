"""Questions on their way into a batch: written to a file of the run as they come, never held in memory."""

import os
import secrets
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from catena.ledger.batches import FOLDER, BatchRecord
from catena.links.batch import Limits, Sent, renamed
from catena.types import Link, Usage, together

__all__ = ["Spool", "leftovers", "sent", "sweep"]

NAME_BYTES = 12


class Spool:
    """One shard being collected. Its file (mode 0600) is on disk after `close`, and gone after `discard`.

    Args:
        folder: The run's.
        link: The link.
        number: Its number in the ledger.
        limits: What a batch may hold.
        tries: How often these questions will have been in a batch with this one.
    """

    def __init__(self, folder: Path, link: Link, number: int, limits: Limits, tries: int = 1) -> None:
        self.count = 0
        self.most: Usage | None = Usage(calls=0)
        self._limits = limits
        self._size = 0
        self._keys = bytearray()
        self._record = BatchRecord(
            shard=secrets.token_hex(NAME_BYTES),
            link=number,
            fingerprint=link.fingerprint,
            began=time.time(),
            tries=tries,
            count=0,
            keys=b"",
            most_usd=None,
            most_tokens=0,
        )
        self.shard = self._record.shard
        self.path = self._record.path(folder)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb", 1 << 16)

    def has_room(self, line: bytes) -> bool:
        """Whether a line fits in; the first one always does."""
        size = self._size + len(line) + 1
        return not self.count or (self.count < self._limits.requests and size <= self._limits.bytes)

    def add(self, key: bytes, line: bytes, most: Usage | None) -> None:
        """Put in a question: its key, its line, and the upper bound of what it uses, where there is one."""
        self._file.write(line + b"\n")
        self._size += len(line) + 1
        self._keys += key
        self.count += 1
        self.most = together([self.most, most]) if self.most and most else None

    def close(self) -> BatchRecord:
        """Write the file through to the disk and return what the ledger shall know of the batch."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        most = self.most
        return msgspec.structs.replace(
            self._record,
            count=self.count,
            keys=bytes(self._keys),
            most_usd=most.cost_usd if most else None,
            most_tokens=most.prompt_tokens + most.completion_tokens if most else 0,
        )

    def discard(self) -> None:
        """Forget the questions: no batch is made of them."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def sent(record: BatchRecord, folder: Path) -> Sent:
    """Return the file of a batch."""
    return Sent(record.shard, record.path(folder), record.count, record.began)


def leftovers(record: BatchRecord, folder: Path, wanted: Collection[bytes], spool: Spool) -> set[bytes]:
    """Collect the questions of a batch that are still wanted into a new shard.

    Args:
        record: The batch.
        folder: The run's.
        wanted: Keys of those that are.
        spool: The new shard; the bound of the whole batch is its bound.

    Returns:
        The keys whose questions are no longer to be found.
    """
    missing = set(wanted)
    for key, line in _renamed(record, folder, spool.shard):
        if key in missing:
            missing.discard(key)
            spool.add(key, line, None)
    spool.most = msgspec.structs.replace(record.most, calls=spool.count)
    return missing


def _renamed(record: BatchRecord, folder: Path, shard: str) -> Iterator[tuple[bytes, bytes]]:
    try:
        with record.path(folder).open("rb") as file:
            for line in file:
                if found := renamed(line, record.shard, shard):
                    yield found
    except FileNotFoundError:
        return


def sweep(folder: Path, number: int, open_batches: Collection[BatchRecord]) -> None:
    """Remove the files of a link that belong to no open batch: those of a process that was killed while it collected."""
    kept = {record.path(folder) for record in open_batches}
    for path in (folder / FOLDER).glob(f"{number}-*.jsonl"):
        if path not in kept:
            path.unlink(missing_ok=True)
