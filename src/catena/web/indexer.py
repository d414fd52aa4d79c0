"""Makes and renews the index of a run's items, in a thread beside the page: a little at a time, while the run goes on."""

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catena.engine.results import LABELS_FILE, labels_digest
from catena.engine.run import task_of
from catena.engine.steering import read_progress
from catena.errors import CatenaError
from catena.ledger import FILE, Ledger
from catena.ledger.file import one_line
from catena.ledger.lock import holder
from catena.ledger.transaction import transaction
from catena.task import TaskSpec
from catena.web.filing import Exported, Told, exported, filed
from catena.web.index import (
    INDEX_FILE,
    SHARD,
    Cell,
    cells_of,
    forget_shard,
    get,
    make_index,
    put,
    recount,
    texts_table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IndexState", "Indexer"]

BLOCK = 4096
TEXTS_AT_ONCE = 512
LOOK_SECONDS = 2.0
REST = 5.0
"""A look is followed by a rest of so many times its length at least: the run has the machine."""
LEAST_FREE = 1 << 29
"""Bytes that stay free on the disk: a run must not stop because somebody looks at it."""


@dataclass(frozen=True)
class IndexState:
    """How far the index is.

    Args:
        n: Rows.
        filed: How many can be filtered.
        read: How many can be searched by their text.
        trouble: Why it does not go on, where it does not.
    """

    n: int = 0
    filed: int = 0
    read: int = 0
    trouble: str = ""

    @property
    def whole(self) -> bool:
        """Whether all rows are in it."""
        return self.filed >= self.n and self.read >= self.n

    @property
    def share(self) -> float:
        """How much of the work is done: texts take most of it."""
        return (0.2 * self.filed + 0.8 * self.read) / self.n if self.n else 0.0


class Indexer:
    """Keeps the index of one run up to date from `start` to `stop`.

    Attributes:
        state: How far it is.
    """

    def __init__(self, folder: Path) -> None:
        self.state = IndexState()
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="index", daemon=True)
        self._basis = ""
        self._known: dict[str, NDArray[np.bool_]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._unread: deque[int] = deque()
        self._cells: dict[Cell, int] = {}
        self._labels: tuple[tuple[int, int, int] | None, str | None] = (None, None)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is half done is done again some other time."""
        self._ended.set()
        self._thread.join(timeout=30)

    def once(self) -> None:
        """Take in all that there is now, in this thread."""
        with contextlib.closing(make_index(self._folder)) as index, Ledger(self._folder) as ledger:
            self._cells = {cell: number for number, (cell, _) in cells_of(index).items()}
            self._look(index, ledger)
            while self._unread:
                self._read_shard(index, ledger, self._unread.popleft())

    # -- the loop -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self._session()
                trouble = ""
            except Exception as error:  # noqa: BLE001 - the page goes on without an index, and says why
                trouble = error.message if isinstance(error, CatenaError) else one_line(error)
            self._say(trouble=trouble)
            self._basis = ""
            self._ended.wait(max(LOOK_SECONDS, REST * (time.monotonic() - began) if trouble else 0.0))

    def _session(self) -> None:
        """Work on one index file until it is gone or the page ends."""
        if not (self._folder / FILE).exists():
            return
        with contextlib.closing(make_index(self._folder)) as index:
            self._cells = {cell: number for number, (cell, _) in cells_of(index).items()}
            ours = _inode(self._folder)
            while not self._ended.is_set() and _inode(self._folder) == ours:
                began = time.monotonic()
                with Ledger(self._folder) as ledger:
                    self._look(index, ledger)
                    if self._unread and self._has_room():
                        self._read_shard(index, ledger, self._unread.popleft())
                if not self._unread:
                    self._ended.wait(max(LOOK_SECONDS, REST * (time.monotonic() - began)))

    def _look(self, index: sqlite3.Connection, ledger: Ledger) -> None:
        """Take in what has changed since the last look."""
        if ledger.get("task") is None:
            return
        task, n = task_of(ledger), ledger.items_count()
        seen, works = read_progress(self._folder), holder(self._folder) is not None
        finished = ledger.get("finished") if not works else None
        digest = self._digest() if finished else None
        final = digest is not None and ledger.get("labels") in {digest, None}
        basis = json.dumps(
            [
                seen.process if seen else None,
                finished,
                digest,
                n,
                [link.name for link in task.chain],
                list(task.labels),
            ]
        )
        if basis == self._basis:
            if works:
                self._file_new(index, ledger, task, n)
            return
        self._begin(task, n)
        if works or get(index, "basis") != basis:
            if not self._file_all(index, ledger, task, n, final=final):
                return
            put(index, "basis", basis)
            self._unread = deque(range(-(-n // SHARD)))
            self._say(filed=n, read=0)
        else:
            stored = {shard for (shard,) in index.execute("SELECT shard FROM shards")}
            self._unread = deque(shard for shard in range(-(-n // SHARD)) if shard not in stored)
            self._say(filed=n, read=max(0, n - SHARD * len(self._unread)))
        self._basis = basis

    def _digest(self) -> str | None:
        """Return the digest of the labels, read anew where the file has changed; None where there is none."""
        path = self._folder / LABELS_FILE
        try:
            stands = path.stat()
        except FileNotFoundError:
            return None
        now = (stands.st_ino, stands.st_mtime_ns, stands.st_size)
        if now != self._labels[0]:
            self._labels = now, labels_digest(path)
        return self._labels[1]

    def _begin(self, task: TaskSpec, n: int) -> None:
        self._known = {link.name: np.zeros(n, bool) for link in task.chain}
        self._counts = {link.name: {} for link in task.chain}
        self.state = IndexState(n)

    def _say(self, **what: Any) -> None:
        self.state = IndexState(**{**vars(self.state), **what})

    def _has_room(self) -> bool:
        free = shutil.disk_usage(self._folder).free >= LEAST_FREE
        self._say(
            trouble="" if free else "less than 512 MiB are free on the disk, so texts are not indexed now"
        )
        if not free:
            self._ended.wait(LOOK_SECONDS)
        return free

    # -- by label, link, confidence ... -------------------------------------------------------------------------

    def _file_all(
        self, index: sqlite3.Connection, ledger: Ledger, task: TaskSpec, n: int, *, final: bool
    ) -> bool:
        """File every row; those that stand as they stood are not written. Tells whether it came to the end."""
        finals = exported(self._folder / LABELS_FILE, BLOCK) if final else None
        for start in range(0, n, BLOCK):
            if self._ended.is_set():
                return False
            rows = range(start, min(start + BLOCK, n))
            self._file(index, ledger, task, rows, next(finals, None) if finals else None)
            self._say(filed=rows.stop)
        with transaction(index):
            gone = Counter(cell for (cell,) in index.execute("SELECT cell FROM rows WHERE row >= ?", (n,)))
            index.execute("DELETE FROM rows WHERE row >= ?", (n,))
            recount(index, Counter({cell: -count for cell, count in gone.items()}))
            for (shard,) in index.execute(
                "SELECT shard FROM shards WHERE shard * ? >= ?", (SHARD, n)
            ).fetchall():
                forget_shard(index, shard)
        return True

    def _file_new(self, index: sqlite3.Connection, ledger: Ledger, task: TaskSpec, n: int) -> None:
        """File the rows that links have said something new about: found by how many answers each block of rows has."""
        numbers = ledger.links()
        touched: dict[int, set[int]] = {}
        for spec in task.chain:
            if spec.name not in numbers:
                continue
            number, known = numbers[spec.name][0], self._known[spec.name]
            before = self._counts[spec.name]
            if ledger.asked_count(number)[0] == sum(before.values()):
                continue
            now = ledger.counted(number, BLOCK)
            for block in (block for block, count in now.items() if before.get(block) != count):
                rows = np.array(
                    ledger.asked_rows(number, block * BLOCK, min((block + 1) * BLOCK, n)), np.int64
                )
                touched.setdefault(block, set()).update(rows[~known[rows]].tolist())
        for _, new in sorted(touched.items()):
            if new and not self._ended.is_set():
                self._file(index, ledger, task, sorted(new), None)

    def _file(
        self,
        index: sqlite3.Connection,
        ledger: Ledger,
        task: TaskSpec,
        rows: Sequence[int],
        finals: list[Exported] | None,
    ) -> None:
        said = self._said(ledger, task, rows)
        gold = ledger.golds(rows) if task.data.gold else {}
        placed = [
            (row, *filed(said[at], gold.get(row), finals[at] if finals and at < len(finals) else None))
            for at, row in enumerate(rows)
        ]
        marks = ",".join("?" * len(rows))
        with transaction(index):
            found = index.execute(f"SELECT row, cell, sure FROM rows WHERE row IN ({marks})", list(rows))  # noqa: S608
            before = {row: (cell, sure) for row, cell, sure in found}
            wanted = [(row, self._number(index, cell), sure) for row, cell, sure in placed]
            changed = [each for each in wanted if before.get(each[0]) != each[1:]]
            index.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", changed)
            more = Counter(cell for _, cell, _ in changed)
            more.subtract(before[row][0] for row, _, _ in changed if row in before)
            recount(index, more)

    def _said(self, ledger: Ledger, task: TaskSpec, rows: Sequence[int]) -> list[list[Told]]:
        """Return (link, label, confidence, reason) of what the links of the chain have said about each row, in its order."""
        place = {row: at for at, row in enumerate(rows)}
        said: list[list[Told]] = [[] for _ in rows]
        numbers = ledger.links()
        for spec in task.chain:
            if spec.name not in numbers:
                continue
            known, counts = self._known[spec.name], self._counts[spec.name]
            for row, label, confidence, reason in ledger.told(numbers[spec.name][0], rows):
                said[place[row]].append((spec.name, label, confidence, reason))
                counts[row // BLOCK] = counts.get(row // BLOCK, 0) + (not known[row])
                known[row] = True
        return said

    def _number(self, index: sqlite3.Connection, cell: Cell) -> int:
        if cell not in self._cells:
            columns = "status, label, link, reason, disagree, gold"
            new = index.execute(f"INSERT INTO cells ({columns}) VALUES (?, ?, ?, ?, ?, ?)", cell.values())  # noqa: S608
            self._cells[cell] = int(new.lastrowid or 0)
        return self._cells[cell]

    # -- by text ------------------------------------------------------------------------------------------------

    def _read_shard(self, index: sqlite3.Connection, ledger: Ledger, shard: int) -> None:
        """Make the table of a shard's texts, unless it is that of these texts already."""
        start, stop = shard * SHARD, min((shard + 1) * SHARD, self.state.n)
        blocks = [range(at, min(at + BLOCK, stop)) for at in range(start, stop, BLOCK)]
        stamp = " ".join(ledger.stamp(block.start, block.stop) for block in blocks)
        stored = index.execute("SELECT stamp FROM shards WHERE shard = ?", (shard,)).fetchone()
        if stored is None or stored[0] != stamp:
            table = texts_table(shard)
            with transaction(index):
                forget_shard(index, shard)
                index.execute(
                    f"CREATE VIRTUAL TABLE {table} USING fts5 "
                    "(text, tokenize = 'trigram', detail = none, columnsize = 0, content = '')"
                )
                for block in blocks:
                    self._read_block(index, ledger, table, block)
                index.execute("INSERT INTO shards VALUES (?, ?)", (shard, stamp))
            index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._say(read=min(stop, self.state.n) if not self._unread else self.state.read + stop - start)

    def _read_block(self, index: sqlite3.Connection, ledger: Ledger, table: str, block: range) -> None:
        for at in range(block.start, block.stop, TEXTS_AT_ONCE):
            if self._ended.is_set():
                raise sqlite3.OperationalError("the page ends")
            rows = range(at, min(at + TEXTS_AT_ONCE, block.stop))
            found = [(item.row, f"{item.id}\n{item.text}") for item in ledger.items(rows)]
            index.executemany(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", found)  # noqa: S608 - our own name


def _inode(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / INDEX_FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
