"""The rows of a data set as items, checked in a first pass and streamed in each later one."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol

from catena.data.cells import as_text, one_line, quoted
from catena.data.faults import Faults, IdCheck
from catena.errors import DataError, places
from catena.task import Columns
from catena.types import Item

__all__ = ["FORMATS", "Rows", "read_rows"]

FORMATS = (
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".csv.gz",
    ".tsv.gz",
    ".jsonl.gz",
    ".ndjson.gz",
    ".parquet",
    ".arrow",
    ".feather",
)
INT64 = range(-(1 << 63), 1 << 63)

Block = list[dict[str, Any]]


class Source(Protocol):
    """One kind of input: its columns, and its rows by column name in blocks, anew for each pass."""

    name: str
    columns: list[str]

    def blocks(self, faults: Faults) -> Iterator[Block]:
        """Yield the rows in blocks of at most 4096; what is wrong with single rows is added to `faults`."""
        ...


class Rows:
    """The checked rows of one input. Iterating yields lists of items in input order, and may be repeated.

    Args:
        source: Where the rows come from.
        columns: Which columns hold what.
        labels: What gold may be.

    Attributes:
        name: The file as it was named, or what kind of table in memory it is.
        column_names: All columns, in the order of the input.
        id_type: `int64` where all ids are whole numbers (or row numbers), otherwise `string`.
        count: How many rows there are.

    Raises:
        DataError: The rows have a structural fault.
    """

    def __init__(self, source: Source, columns: Columns, labels: Collection[str]) -> None:
        self.source = source
        self.columns = columns
        self.name = source.name
        self.id_type: Literal["string", "int64"] = "int64"
        self.count = 0
        self._stamp = stamp(source)
        self._check(frozenset(labels))
        self.column_names = list(source.columns)

    def __iter__(self) -> Iterator[list[Item]]:
        self._unchanged()
        faults = Faults(self.name)
        row = 0
        for block in self.source.blocks(faults):
            faults.refuse()
            if block:
                yield self._items(block, row)
            row += len(block)
        faults.refuse()
        self._unchanged()

    def _items(self, block: Block, start: int) -> list[Item]:
        text, name, target, gold = self.columns.text, self.columns.id, self.columns.target, self.columns.gold
        others = [column for column in self.source.columns if column not in {text, name, target, gold}]
        return [
            Item(
                row,
                str(row + 1) if name is None else as_text(fields[name]) or "",
                as_text(fields[text]) or "",
                {column: fields.get(column) for column in others},
                None if target is None else as_text(fields[target]),
                None if gold is None else as_text(fields[gold]),
            )
            for row, fields in enumerate(block, start)
        ]

    def _check(self, labels: frozenset[str]) -> None:
        """Go through all rows once and refuse them as a whole for any fault."""
        if self.source.columns:  # JSONL knows its columns only at the end
            check_columns(self.source, self.columns)
        broken, faults, ids = Faults(self.name), Faults(self.name), IdCheck()
        for block in self.source.blocks(broken):
            if self.columns.id is not None:
                ids.see(self._checked_ids(block, self.columns.id, faults))
            self._check_cells(block, labels, faults)
            self.count += len(block)
        broken.refuse()  # first, as row numbers are not to be trusted after a row that can't be read
        if not self.count:
            raise DataError(f"{one_line(self.name)} has no rows.", "There is nothing to label.")
        check_columns(self.source, self.columns)
        if (column := self.columns.id) is not None:
            ids.report(faults, lambda: self._ids(column))
        faults.refuse()

    def _checked_ids(self, block: Block, column: str, faults: Faults) -> list[str | None]:
        """Return a block's ids; note missing ones, and whether all are whole numbers."""
        cells = [fields.get(column) for fields in block]
        if self.id_type == "int64" and not all(type(cell) is int and cell in INT64 for cell in cells):
            self.id_type = "string"
        ids = [self._text(cell, row, column) for row, cell in enumerate(cells, self.count + 1)]
        if None in ids:
            for row, name in enumerate(ids, self.count + 1):
                if name is None:
                    faults.add("rows without an id", f"row {row:,}")
        return ids

    def _check_cells(self, block: Block, labels: frozenset[str], faults: Faults) -> None:
        """Check that text, target and gold can be text, and that gold is a label."""
        texts = [column for column in (self.columns.text, self.columns.target) if column is not None]
        for row, fields in enumerate(block, self.count + 1):
            for column in texts:
                cell = fields.get(column)
                if type(cell) is not str:
                    self._text(cell, row, column)
            if self.columns.gold is not None:
                gold = self._text(fields.get(self.columns.gold), row, self.columns.gold)
                if gold is not None and gold not in labels:
                    faults.add("gold values outside the labels", f"row {row:,} {quoted(gold)}")

    def _text(self, cell: Any, row: int, column: str) -> str | None:
        try:
            return as_text(cell)
        except (ValueError, TypeError, RecursionError):
            where = f"{one_line(self.name)}: row {row:,}, column {quoted(column)}"
            raise DataError(
                f"{where} holds something that has no form as text.", "Make it a text column."
            ) from None

    def _ids(self, column: str) -> Iterator[Sequence[str | None]]:
        for block in self.source.blocks(Faults(self.name)):
            yield [as_text(fields.get(column)) for fields in block]

    def _unchanged(self) -> None:
        if stamp(self.source) != self._stamp:
            raise DataError(
                f"{one_line(self.name)} was changed while it was in use.", "Leave it as it is during a run."
            )


def stamp(source: Source) -> tuple[int, int, int] | None:
    """Return what changes when a file is written; None for a table in memory."""
    path = getattr(source, "path", None)
    return None if path is None else status(path)


def status(path: Path) -> tuple[int, int, int]:
    """Return a file's identity, size and time of change.

    Raises:
        DataError: There is no such file, or it is something that can't be read twice.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{one_line(path)} can't be read: {why}.") from None
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"{one_line(path)} is a folder.", "Name the file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{one_line(path)} is not a file: rows are read twice.", "Save them to a file first.")
    return found.st_ino, found.st_size, found.st_mtime_ns


def check_columns(source: Source, columns: Columns) -> None:
    """Check that the columns are there, and that no two have the same name.

    Raises:
        DataError: They are not; the line names the columns there are.
    """
    names, name = source.columns, one_line(source.name)
    twice = [quoted(column) for column, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{name} has columns with the same name: {places(twice)}.", "Rename them.")
    wanted = (columns.text, columns.id, columns.target, columns.gold)
    for column in wanted:
        if column is not None and column not in names:
            there = f"{name} has no column {quoted(column)}. Its columns: {places([quoted(each) for each in names])}."
            if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
                raise DataError(
                    there, "It looks separated by semicolons or tabs: save it with commas, or as .tsv."
                )
            lower = {each.lower(): each for each in names}
            near = get_close_matches(column.lower(), lower, 1)
            raise DataError(there, f"Did you mean {quoted(lower[near[0]])}?" if near else "")


def read_rows(source: Any, columns: Columns, labels: Collection[str]) -> Rows:
    """Read rows, and check all of them before any is used: what comes back can be streamed without surprises.

    The file is read twice, with a bounded number of rows in memory and 8 bytes for each id.

    Args:
        source: A file in one of `FORMATS`, or a pandas or polars DataFrame or a pyarrow Table.
        columns: Which columns hold what.
        labels: What gold may be.

    Raises:
        DataError: The input can't be read, or has a structural fault: a ragged row, a missing column, a missing or
            repeated id, a gold value outside the labels, no rows.
    """
    if isinstance(source, str | os.PathLike):
        return Rows(open_file(Path(source)), columns, labels)
    return Rows(open_table(source), columns, labels)


def open_file(path: Path) -> Source:
    """Choose the reader by the file's suffix."""
    suffix = next((each for each in FORMATS if path.name.lower().endswith(each)), None)
    if suffix is None:
        excel = path.name.lower().endswith((".xlsx", ".xls", ".ods"))
        raise DataError(
            f"{one_line(path)}: the end of its name is none of {', '.join(FORMATS)}.",
            "Save it as CSV." if excel else "",
        )
    status(path)
    from catena.data import lines  # noqa: PLC0415 - read when it is used

    if suffix.startswith((".csv", ".tsv")):
        return lines.DelimitedFile(path, "," if suffix.startswith(".csv") else "\t")
    if suffix.startswith((".jsonl", ".ndjson")):
        return lines.JsonLinesFile(path)
    from catena.data import frames  # noqa: PLC0415 - pyarrow is slow to import

    return frames.ParquetFile(path) if suffix == ".parquet" else frames.ArrowFile(path)


def open_table(source: Any) -> Source:
    """Choose the reader by the kind of table, and import no library that made none."""
    pandas, polars, arrow = (sys.modules.get(name) for name in ("pandas", "polars", "pyarrow"))
    from catena.data import frames  # noqa: PLC0415 - pyarrow is slow to import

    if pandas and isinstance(source, pandas.DataFrame):
        return frames.PandasFrame(source)
    if polars and isinstance(source, polars.DataFrame):
        return frames.PolarsFrame(source)
    if arrow and isinstance(source, arrow.Table):
        return frames.ArrowTable(source)
    raise DataError(
        f"Rows can't be read from {type(source).__name__}.",
        "Name a file, or give a DataFrame or Arrow table.",
    )
