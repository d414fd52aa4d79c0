"""The structural faults of an input: collected over all rows, then said in one line."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from catena.data.cells import one_line, quoted
from catena.errors import MOST_PLACES, DataError, places

__all__ = ["Faults", "IdCheck"]

MOST_FOLLOWED = 100_000  # ids kept as text while repeated ones are looked up


class Faults:
    """Counts the faults of one input by kind and keeps the first 20 places of each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: dict[str, list[str]] = {}
        self.totals: dict[str, int] = {}

    def add(self, kind: str, place: str) -> None:
        """Count a fault, and keep its place while there is room."""
        kept = self.found.setdefault(kind, [])
        if len(kept) < MOST_PLACES:
            kept.append(place)
        self.totals[kind] = self.totals.get(kind, 0) + 1

    def refuse(self) -> None:
        """Do nothing where there is no fault.

        Raises:
            DataError: There are faults; the line names each kind, its number and up to 20 places.
        """
        if self.found:
            kinds = (
                f"{self.totals[kind]:,} {kind}: {places(at, self.totals[kind])}"
                for kind, at in self.found.items()
            )
            raise DataError(f"{one_line(self.name)}: {'; '.join(kinds)}.", "Nothing was labelled or paid.")


def hashes(ids: Sequence[str | None]) -> Iterable[int]:
    """Return a 64-bit hash of each id, salted by Python for each process."""
    return map(hash, ids)


class IdCheck:
    """Finds repeated ids with 8 bytes for each row: by hash first, then by a second look at those that repeat."""

    def __init__(self) -> None:
        self.blocks: list[array[int]] = []

    def see(self, ids: Sequence[str | None]) -> None:
        """Remember a block of ids, where None is a missing one."""
        self.blocks.append(array("q", hashes(ids)))

    def report(self, faults: Faults, again: Callable[[], Iterator[Sequence[str | None]]]) -> None:
        """Add each repeated id to the faults; `again` goes through the blocks of ids once more where needed.

        Only the first 100,000 repeated ids are counted exactly; beyond that a line of numbers helps nobody.
        """
        repeated = self._repeated()
        if not len(repeated):
            return
        first: dict[str, int] = {}
        row = 0
        for ids in again():
            block = np.fromiter(hashes(ids), np.int64, len(ids))
            at = np.minimum(np.searchsorted(repeated, block), len(repeated) - 1)
            for i in np.flatnonzero(repeated[at] == block).tolist():
                here, name = row + i + 1, ids[i]
                if name in first:
                    faults.add("repeated ids", f"{quoted(name)} in rows {first[name]:,} and {here:,}")
                elif name is not None and len(first) < MOST_FOLLOWED:
                    first[name] = here
            row += len(ids)

    def _repeated(self) -> npt.NDArray[np.int64]:
        """Return the hashes that occur more than once, sorted."""
        seen = np.concatenate([np.frombuffer(block, np.int64) for block in self.blocks])
        self.blocks = []
        seen.sort()
        return np.unique(seen[1:][seen[1:] == seen[:-1]])
