"""Gold of drawn items: from the rows, or from a file that a person fills in."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catena.data.rows import read_rows
from catena.engine.run import Run
from catena.errors import InputError, StoppedError, places
from catena.evaluate.given_gold import read_gold
from catena.evaluate.sampled import write_sample
from catena.task import Columns

if TYPE_CHECKING:
    from catena.types import Item

__all__ = ["TO_LABEL", "DrawnGold"]

TO_LABEL = "to-label.csv"
"""In the run's folder: drawn items for a person to label."""


class DrawnGold:
    """What is known of the gold of the items that may be drawn.

    Args:
        run: The task over its rows.
        ids: Of all items, in input order.
        drawn: The rows that may be drawn, in the order drawn.
        path: File with columns id and gold; the one in the run's folder, where it is there, unless said.

    Attributes:
        path: The file that gold was read from; None for none.
        labels: Label index of each item, -1 where it has no gold, int16 [n].
    """

    def __init__(self, run: Run, ids: list[str], drawn: NDArray[np.int64], path: Path | None) -> None:
        self._run, self._ids, self._drawn = run, ids, drawn
        self._file = run.folder / TO_LABEL
        self.path = path or (self._file if self._file.exists() else None)
        index = {label: at for at, label in enumerate(run.task.labels)}
        own = (index.get(item.gold or "", -1) for block in run.rows for item in block)
        self.labels = np.fromiter(own, np.int16)
        if self.path:
            said = read_gold(self.path, ids, run.task.labels).label
            self.labels = np.where(said >= 0, said, self.labels).astype(np.int16)

    def need(self, rows: NDArray[np.int64]) -> None:
        """See that these rows have gold.

        Raises:
            StoppedError: Some have not; a file names them, and all others that may be drawn after them.
        """
        lacking = [self._ids[row] for row in rows[self.labels[rows] < 0].tolist()]
        if not lacking:
            return
        file = self.path or self._lay_out()
        self._refuse_other(file, lacking)
        many = f"{len(lacking):,} drawn items" if len(lacking) > 1 else "a drawn item"
        raise StoppedError(
            f"{many} without gold: {places(lacking)}.",
            f"Have the column gold filled in for them in {file}, from the top on, and run the same command again.",
        )

    def _lay_out(self) -> Path:
        """Write all items that may be drawn and have no gold, in the order in which they are looked at."""
        at = {row: place for place, row in enumerate(self._drawn.tolist())}
        items: list[Item | None] = [None] * len(at)
        for block in self._run.rows:
            for item in block:
                if item.row in at and self.labels[item.row] < 0:
                    items[at[item.row]] = item
        write_sample([item for item in items if item], self._file, target=bool(self._run.task.data.target))
        return self._file

    def _refuse_other(self, file: Path, lacking: list[str]) -> None:
        """See that a person can fill these items in there: a file that is somebody's work is not written anew."""
        listed = set()
        if file.is_file():  # a vote table has no place to fill in
            rows = read_rows(file, Columns(text="id", id="id"), self._run.task.labels)
            listed = {item.id for block in rows for item in block}
        if other := [name for name in lacking if name not in listed]:
            raise InputError(
                f"{file} lists other items; it lacks these, which are drawn and have no gold: {places(other)}.",
                "Add them, or name another file with --gold; without one, and with that one moved away, it is written anew.",
            )
