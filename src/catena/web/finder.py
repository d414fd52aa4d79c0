"""Finds a page of a run's items by what they are filtered by, in a time that hardly depends on how many there are.

A page begins after a row or ends before one, so no page counts those before it. Where a filter finds many items, they are met
soon on the way through all of them in order; where it finds few, they are fetched and put in order. Texts that the trigrams
find are read to be sure. A search that takes too long shows what it has found and from where to go on.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

from catena.ledger import Ledger
from catena.web.filters import Filters
from catena.web.index import NO_CONFIDENCE, SHARD, Cell, cells_of, texts_table, trigrams

__all__ = ["Found", "find", "options"]

RARE = 64
"""Where a filter finds less than one in so many items, they are fetched rather than met."""
MOST_SORTED = 5_000
"""How many hits of a search are put in another order than that of the input, before filters."""
BLOCK = 256
SEARCH_SECONDS = 0.12

Place = tuple[int, int, float]
"""Row, cell, and where it stands."""


@dataclass(frozen=True)
class Found:
    """A page of items.

    Args:
        rows: Their rows in order, with the cell of each; None where it is not known yet.
        before: Whether there are others before them.
        after: Whether there are others after them.
        total: How many there are in all; None where that was not counted.
        looked_to: The row up to which a search came that took too long; None where it came to its end.
        in_order: Whether they are in the order that was asked for: too many hits of a search stay in that of the input.
    """

    rows: list[tuple[int, Cell | None]] = field(default_factory=list)
    before: bool = False
    after: bool = False
    total: int | None = 0
    looked_to: int | None = None
    in_order: bool = True


@dataclass(frozen=True)
class _Cut:
    """From where, in which direction, and how many.

    Args:
        row: The row after which to begin; None for the beginning.
        back: Whether towards the beginning instead.
        size: Most items.
    """

    row: int | None
    back: bool
    size: int


def options(index: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return what there is to filter by, with how many items it finds: by `label`, `link`, `status`, `failure`, `gold`, ..."""
    found: dict[str, dict[str, int]] = {
        name: {} for name in ("label", "link", "status", "failure", "gold", "disagree")
    }
    for cell, n in cells_of(index).values():
        given = {
            "label": cell.label,
            "link": cell.link,
            "status": cell.status,
            "failure": cell.reason,
            "gold": cell.gold,
        }
        given["disagree"] = "disagree" if cell.disagree else ""
        for name, value in given.items():
            if value and n:
                found[name][value] = found[name].get(value, 0) + n
    return {name: dict(sorted(counts.items(), key=lambda each: -each[1])) for name, counts in found.items()}


def find(
    index: sqlite3.Connection,
    ledger: Ledger,
    filters: Filters,
    size: int,
    *,
    after: int | None = None,
    before: int | None = None,
) -> Found:
    """Return the first items after a row, or the last ones before one, in the order that is asked for.

    Args:
        index: Of the run.
        ledger: Of the run.
        filters: What is asked for.
        size: Most items.
        after: None for the beginning.
        before: In the place of `after`; a row that is not there for the end.
    """
    cells = {number: (cell, n) for number, (cell, n) in cells_of(index).items() if n and filters.takes(cell)}
    cut = _Cut(after if before is None else before, before is not None, size)
    finder = _Finder(index, ledger, filters, {number: cell for number, (cell, _) in cells.items()})
    if filters.search:
        return finder.search(cut, ledger.items_count())
    total = finder.count() if filters.bounded else sum(n for _, n in cells.values())
    whole = index.execute("SELECT coalesce(max(row) + 1, 0) FROM rows").fetchone()[0]
    places = finder.places(cut, rare=total * RARE < whole)
    return _page(places, finder.cells, cut, total)


def _page(places: list[Place], cells: dict[int, Cell], cut: _Cut, total: int | None) -> Found:
    """Return a page of one item more than it has room for."""
    more = len(places) > cut.size
    places = places[: cut.size]
    rows = [(row, cells.get(cell)) for row, cell, _ in (reversed(places) if cut.back else places)]
    if cut.back:
        return Found(rows, before=more, after=True, total=total)
    return Found(rows, before=cut.row is not None, after=more, total=total)


class _Finder:
    """Asks one index for items of some cells."""

    def __init__(
        self, index: sqlite3.Connection, ledger: Ledger, filters: Filters, cells: dict[int, Cell]
    ) -> None:
        self.cells = cells
        self._index = index
        self._ledger = ledger
        self._filters = filters
        self._all = len(cells) == index.execute("SELECT count(*) FROM cells WHERE n > 0").fetchone()[0]

    def count(self) -> int:
        """Return how many items there are within the bounds of confidence."""
        where, given = self._where()
        query = f"SELECT count(*) FROM rows INDEXED BY rows_by_sure WHERE {where}"  # noqa: S608 - our own words
        return int(self._index.execute(query, given).fetchone()[0])

    def places(self, cut: _Cut, *, rare: bool) -> list[Place]:
        """Return one item more than a page has, nearest to where it is cut first."""
        where, given = self._where()
        by_sure = self._filters.order != "row"
        if cut.row is not None:
            beyond, more = self._beyond(cut)
            where, given = f"{where} AND {beyond}", [*given, *more]
        how = (
            "INDEXED BY rows_by_cell"
            if rare and not self._all
            else "INDEXED BY rows_by_sure"
            if by_sure
            else "NOT INDEXED"
        )
        down = "DESC" if (self._filters.order == "sure") != cut.back else "ASC"
        order = f"sure {down}, row {down}" if by_sure else f"row {down}"
        query = f"SELECT row, cell, sure FROM rows {how} WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608 - our own words
        return self._index.execute(query, [*given, cut.size + 1]).fetchall()

    def _where(self) -> tuple[str, list[float]]:
        """Return the condition of the cells and bounds, and its values."""
        parts, given = ["TRUE"], list[float]()
        if not self._all:
            parts.append(f"cell IN ({','.join(map(str, self.cells))})")
        if self._filters.bounded:
            least = NO_CONFIDENCE if self._filters.least is None else self._filters.least
            parts.append("sure > ?" if self._filters.least is None else "sure >= ?")
            given.append(least)
        if self._filters.most is not None:
            parts.append("sure <= ?")
            given.append(self._filters.most)
        return " AND ".join(parts), given

    def _beyond(self, cut: _Cut) -> tuple[str, list[float]]:
        """Return the condition of what lies beyond a row in the order, and its values."""
        assert cut.row is not None
        if self._filters.order == "row":
            return ("row < ?" if cut.back else "row > ?"), [cut.row]
        stands = self._index.execute("SELECT sure FROM rows WHERE row = ?", (cut.row,)).fetchone()
        if stands is None:
            return "TRUE", []
        sign = ">" if (self._filters.order == "sure") == cut.back else "<"
        return f"(sure, row) {sign} (?, ?)", [stands[0], cut.row]

    # -- by text ------------------------------------------------------------------------------------------------

    def search(self, cut: _Cut, n: int) -> Found:
        """Return a page of the items whose text holds what is searched for."""
        if self._filters.order != "row":
            hits = self._few(n)
            if hits is not None:
                return self._sorted(hits, cut)
        found: list[Place] = []
        start = -1 if cut.row is None else min(cut.row, n) if cut.back else cut.row
        end, looked, done = monotonic() + SEARCH_SECONDS, start, True
        for block in self._candidates(start, n, back=cut.back):
            found += self._surely(self._placed(block[0]))
            looked = block[1]
            if len(found) > cut.size:
                break
            if monotonic() > end:
                done = False
                break
        page = _page(found, self.cells, cut, None)
        whole = done and cut.row is None and not page.after
        return Found(
            page.rows,
            before=page.before or (cut.back and not done),
            after=page.after or (not cut.back and not done),
            total=len(page.rows) if whole else None,
            looked_to=None if done else looked,
            in_order=self._filters.order == "row",
        )

    def _few(self, n: int) -> list[Place] | None:
        """Return all hits where they are few enough to be put in order, not read yet; None otherwise."""
        (read,) = self._index.execute("SELECT count(*) FROM shards").fetchone()
        if read < -(-n // SHARD) or trigrams(self._filters.search) is None:
            return None
        looked, hits = 0, list[Place]()
        for rows, _ in self._candidates(-1, n, back=False):
            looked += len(rows)
            if looked > MOST_SORTED:  # by number, not by time: all pages have the same order
                return None
            hits += self._placed(rows)
        return hits

    def _sorted(self, hits: list[Place], cut: _Cut) -> Found:
        down = (self._filters.order == "sure") != cut.back
        hits.sort(key=lambda place: (place[2], place[0]), reverse=down)
        begin = next((at + 1 for at, place in enumerate(hits) if place[0] == cut.row), 0)
        found: list[Place] = []
        for at in range(begin, len(hits), BLOCK):
            found += self._surely(hits[at : at + BLOCK])
            if len(found) > cut.size:
                break
        page = _page(found, self.cells, cut, None)
        whole = cut.row is None and not page.after
        return Found(page.rows, page.before, page.after, len(page.rows) if whole else None)

    def _candidates(self, start: int, n: int, *, back: bool) -> Iterator[tuple[list[int], int]]:
        """Yield rows that may hold what is searched for, block by block, each with the row up to which it looked."""
        grams = trigrams(self._filters.search)
        read = {shard for (shard,) in self._index.execute("SELECT shard FROM shards")} if grams else set()
        first, last = (start - 1, 0) if back else (start + 1, n - 1)
        step = -1 if back else 1
        for shard in range(first // SHARD, last // SHARD + step, step):
            low, high = shard * SHARD, min((shard + 1) * SHARD, n) - 1
            low, high = (low, min(high, first)) if back else (max(low, first), high)
            if low > high:
                continue
            if shard in read:
                yield from self._matching(shard, grams or "", low, high, back=back)
            else:
                for rows in _blocks(low, high, back=back):
                    yield list(rows), rows[-1]

    def _matching(
        self, shard: int, grams: str, low: int, high: int, *, back: bool
    ) -> Iterator[tuple[list[int], int]]:
        table, order = texts_table(shard), "DESC" if back else "ASC"
        query = (
            f"SELECT rowid FROM {table} WHERE {table} MATCH ? AND rowid BETWEEN ? AND ? "  # noqa: S608 - our own words
            f"ORDER BY rowid {order} LIMIT {BLOCK}"
        )
        while low <= high:
            rows = [row for (row,) in self._index.execute(query, (grams, low, high))]
            if len(rows) < BLOCK:
                yield rows, low if back else high
                return
            yield rows, rows[-1]
            low, high = (low, rows[-1] - 1) if back else (rows[-1] + 1, high)

    def _placed(self, rows: Sequence[int]) -> list[Place]:
        """Return those of some rows that the filters take, in their order."""
        marks = ",".join("?" * len(rows))
        where, given = self._where()
        query = f"SELECT row, cell, sure FROM rows WHERE row IN ({marks}) AND {where}"  # noqa: S608 - our own words
        found = {place[0]: place for place in self._index.execute(query, [*rows, *given])}
        return [found[row] for row in rows if row in found]

    def _surely(self, places: Sequence[Place]) -> list[Place]:
        """Return those whose text or id does hold what is searched for."""
        wanted = self._filters.search.casefold()
        items = self._ledger.items([row for row, _, _ in places]) if places else []
        return [
            place
            for place, item in zip(places, items, strict=True)
            if wanted in item.text.casefold() or wanted in item.id.casefold()
        ]


def _blocks(low: int, high: int, *, back: bool) -> Iterator[range]:
    """Yield the rows from `low` to `high` in blocks, in the direction that is asked for."""
    if back:
        for top in range(high, low - 1, -BLOCK):
            yield range(top, max(low - 1, top - BLOCK), -1)
    else:
        for at in range(low, high + 1, BLOCK):
            yield range(at, min(at + BLOCK, high + 1))
