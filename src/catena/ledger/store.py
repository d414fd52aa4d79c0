"""The ledger of a run: its items, and every vote that was ever paid for them. What changes it is in `writable`."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from catena.errors import InputError, LedgerError
from catena.ledger import items, sums, votes
from catena.ledger.batches import BatchRecord, answered_keys, read_batches
from catena.ledger.facts import fact
from catena.ledger.file import FILE, connect, one_line
from catena.ledger.items import BLOCK
from catena.ledger.lock import RunLock
from catena.ledger.rows import Broken, checksum
from catena.ledger.schema import is_current, migrate
from catena.types import Answer, Item

__all__ = ["CUT", "Ledger"]

CUT = "the file or its log was cut or overwritten"


class Ledger:
    """Reads one ledger file, also while another process writes it.

    Every row that is read is checked against its checksum. A damaged one is never used: what meets it raises. As a
    context manager, a ledger closes itself and turns what SQLite raises into a LedgerError.

    Args:
        folder: The run's folder.

    Raises:
        InputError: There is no run in the folder.
        LedgerError: The file is no Catena ledger, or is damaged, or it can't be read.
    """

    _mode = "ro"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        with self._said():
            self._find()
            self._db = connect(self.path, self._mode)
            try:
                self._bring_up_to_date()
            except BaseException:
                self._db.close()
                raise

    def _find(self) -> None:
        """See that there is a file to open."""
        if not self.path.exists():
            raise InputError(
                f"{self.folder} holds no run.", f"Start one with: catena run TASK DATA --out {self.folder}"
            )
        if not self.path.stat().st_size:
            raise self.damaged(CUT)

    def _bring_up_to_date(self) -> None:
        """Bring an older ledger to the newest version, which only one process may."""
        if is_current(self._db, str(self.path)):
            return
        lock = RunLock(self.folder)
        try:
            with contextlib.closing(connect(self.path, "rw")) as connection:
                migrate(connection, str(self.path))
        finally:
            lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise self.explained(error) from error

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.explained(error) from error

    def explained(self, error: sqlite3.Error) -> LedgerError:
        """Return what SQLite raised as an error that says what to do."""
        said = one_line(error)
        full = "full" in str(error) or "disk I/O" in str(error) or "unable to open" in str(error)
        if full or "locked" in str(error):
            hint = "Everything committed is kept; make room and run the same command."
            return LedgerError(f"{self.path}: {said}.", hint)
        return self.damaged(said)

    def damaged(self, what: str) -> LedgerError:
        """Return the error that says that the ledger is not what was written, and the way on."""
        return LedgerError(
            f"{self.path} is damaged: {what}.",
            f"Save what is whole with: catena check --ledger {self.folder} --repair",
        )

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Say what to do where a row is not what was stored."""
        try:
            yield
        except Broken as broken:
            raise self.damaged(str(broken)) from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- what the run is ----------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return a stored fact of the run, None where there is none."""
        with self._whole():
            return fact(self._db, key)

    # -- items --------------------------------------------------------------------------------------------------

    def items_count(self) -> int:
        """Return how many items there are: they are numbered from 0 without a gap."""
        return int(self._db.execute("SELECT coalesce(max(row) + 1, 0) FROM items").fetchone()[0])

    def items(self, rows: Sequence[int]) -> list[Item]:
        """Return the items of these rows, in their order."""
        with self._whole():
            return items.of_rows(self._db, rows)

    def all_items(self, block: int = BLOCK) -> Iterator[list[Item]]:
        """Yield all items in input order, in blocks."""
        with self._whole():
            yield from items.blocks(self._db, block)

    def names(self, block: int = BLOCK) -> Iterator[list[tuple[int, str, str | None]]]:
        """Yield (row, id, gold) of all items in input order, in blocks."""
        with self._whole():
            yield from items.names(self._db, block)

    def golds(self, rows: Sequence[int]) -> dict[int, str | None]:
        """Return the gold labels of some rows."""
        with self._whole():
            return items.golds(self._db, rows)

    def stamp(self, start: int, stop: int) -> str:
        """Return what tells whether the items from row `start` up to `stop` are the same as before: it changes with them."""
        query = "SELECT count(*), total(crc), total(body_crc) FROM items WHERE row >= ? AND row < ?"
        return " ".join(map(str, self._db.execute(query, (start, stop)).fetchone()))

    def ids(self) -> Iterator[str]:
        """Yield all ids in input order."""
        for block in self.names():
            yield from (name for _, name, _ in block)

    def gold(self) -> Iterator[str | None]:
        """Yield all gold labels in input order."""
        for block in self.names():
            yield from (gold for _, _, gold in block)

    def lengths(self, n: int) -> NDArray[np.float64]:
        """Return how many characters each text has, [n]."""
        found = np.zeros(n)
        for row, length in self._db.execute("SELECT row, length(text) FROM items WHERE row < ?", (n,)):
            found[row] = length
        return found

    # -- links --------------------------------------------------------------------------------------------------

    def links(self) -> dict[str, tuple[int, bytes]]:
        """Return number and fingerprint of every link that this run knows, by name."""
        rows = self._db.execute("SELECT link, name, fingerprint, model, crc FROM links").fetchall()
        if any(checksum(row[:4]) != row[4] for row in rows):
            raise self.damaged("what it says about a link")
        return {name: (link, fingerprint) for link, name, fingerprint, _, _ in rows}

    def model(self, link: int) -> str:
        """Return what to show people as a link's model."""
        return str(self._db.execute("SELECT model FROM links WHERE link = ?", (link,)).fetchone()[0])

    # -- votes --------------------------------------------------------------------------------------------------

    def asked_count(self, link: int) -> tuple[int, int]:
        """Return how many rows have an answer of a link, and how many of those are failures."""
        row = self._db.execute("SELECT answered, failed FROM totals WHERE link = ?", (link,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def asked(self, link: int, n: int) -> NDArray[np.bool_]:
        """Return which rows have an answer of a link, bool [n]."""
        asked = np.zeros(n, bool)
        for (row,) in self._db.execute("SELECT row FROM asked WHERE link = ? AND row < ?", (link, n)):
            asked[row] = True
        return asked

    def votes_count(self, link: int) -> int:
        """Return how many votes and failures of a link are stored."""
        row = self._db.execute("SELECT votes FROM totals WHERE link = ?", (link,)).fetchone()
        return int(row[0]) if row else 0

    def spent(self, link: int) -> dict[str, Any]:
        """Return what all votes of a link used: calls, tokens, USD (None where unknown), seconds."""
        names = ("calls", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
        row = self._db.execute(
            f"SELECT {', '.join(names)} FROM links JOIN totals USING (link) WHERE link = ?",  # noqa: S608
            (link,),
        ).fetchone()
        return dict(zip(names, row or (0, 0, 0, None, 0.0), strict=True))

    def find(self, link: int, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the stored answers among these keys of a link."""
        with self._whole():
            return votes.find(self._db, link, keys)

    def decided(
        self, link: int, labels: Sequence[str], n: int, **more: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
        """Return, for one link: which rows have an answer, its label index (-1 for a failure), its confidence.

        Args:
            link: Its number.
            labels: The labels, in the order of the indices.
            n: Rows.
            more: `chance` and `cost` to be filled; see `votes.decided`.
        """
        with self._whole():
            return votes.decided(self._db, link, labels, n, **more)

    def scored(
        self, link: int, labels: int, n: int
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float64]]:
        """Return log-probabilities and costs of a link's votes; see `votes.scored`."""
        with self._whole():
            return votes.scored(self._db, link, labels, n)

    def answers(self, link: int, *, given: bool = False) -> Iterator[tuple[int, str, Answer, bool]]:
        """Yield (row, id, answer, whether it is the first row with this answer) of a link in row order.

        Votes are as they count in decisions, unless they are wanted as they were `given`.
        """
        with self._whole():
            yield from votes.answers(self._db, link, given=given)

    def mean(self, link: int) -> dict[str, float] | None:
        """Return what a link's label distributions are divided by in decisions; None where they count as they are."""
        with self._whole():
            return votes.mean(self._db, link)

    def said(self, link: int, rows: Sequence[int]) -> dict[int, Answer]:
        """Return what a link has said about some rows, as it counts, by row; those that it has not are left out."""
        with self._whole():
            return votes.of_rows(self._db, link, rows)

    def told(self, link: int, rows: Sequence[int]) -> list[tuple[int, str | None, float | None, str | None]]:
        """Return (row, label, confidence, reason of a failure) of those rows that a link has said something about."""
        with self._whole():
            return list(votes.told(self._db, link, rows))

    def counted(self, link: int, block: int) -> dict[int, int]:
        """Return how many rows of each block have an answer of a link; block i begins at row i * block."""
        found = self._db.execute(
            "SELECT row / ?, count(*) FROM asked WHERE link = ? GROUP BY 1", (block, link)
        )
        return dict(found)

    def asked_rows(self, link: int, start: int, stop: int) -> list[int]:
        """Return the rows from `start` up to `stop` that have an answer of a link, ascending."""
        query = "SELECT row FROM asked WHERE link = ? AND row >= ? AND row < ? ORDER BY row"
        return [row for (row,) in self._db.execute(query, (link, start, stop))]

    def failures(self, link: int, start: int, stop: int) -> Iterator[tuple[int, str]]:
        """Yield (row, message) of those rows from `start` up to `stop` that a link has no label for."""
        yield from self._db.execute(
            "SELECT row, message FROM asked JOIN votes USING (link, key) "
            "WHERE link = ? AND row >= ? AND row < ? AND label IS NULL",
            (link, start, stop),
        )

    def failed_by(self, link: int) -> list[sums.Failed]:
        """Return why rows have no label of a link, the most frequent reason first."""
        return sums.failed_by(self._db, link)

    def said_by(self) -> dict[int, dict[str, list[tuple[str, int]]]]:
        """Return which models answered for each link, and where confidences come from; see `sums.said_by`."""
        return sums.said_by(self._db)

    def course(self, steps: int) -> list[sums.Step]:
        """Return how votes and their cost came in; see `sums.course`."""
        return sums.course(self._db, steps)

    def failed_keys(self, link: int, reason: str) -> list[bytes]:
        """Return the keys that a link has failed on for a reason."""
        query = "SELECT key FROM votes WHERE link = ? AND reason = ?"
        return [key for (key,) in self._db.execute(query, (link, reason))]

    # -- batches ------------------------------------------------------------------------------------------------

    def batches(self, link: int | None = None) -> list[BatchRecord]:
        """Return all batches of the run, or those of a link, oldest first."""
        return read_batches(self._db, link)

    def answered(self, link: int, keys: Sequence[bytes]) -> set[bytes]:
        """Return which of these keys of a link have an answer."""
        return answered_keys(self._db, link, keys)
