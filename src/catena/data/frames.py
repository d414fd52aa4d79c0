"""Rows from Parquet and Arrow files, and from tables in memory: pyarrow, pandas, polars."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catena.data.cells import one_line, quoted
from catena.errors import DataError, places

if TYPE_CHECKING:
    from catena.data.faults import Faults

__all__ = ["ArrowFile", "ArrowTable", "PandasFrame", "ParquetFile", "PolarsFrame", "python_values"]

BLOCK_ROWS = 4096
BLOCK_BYTES = 1 << 23
BLOCK_CELLS = 1 << 19
PAGE_BUFFER = 1 << 20  # bytes; without it a whole column chunk is held at a time


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Turn whatever a reader raises on broken data into one line."""
    try:
        yield
    except DataError:
        raise
    except UnicodeError as error:
        raise DataError(f"{one_line(name)} holds text that is not UTF-8: {first_line(error)}.") from None
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        MemoryError,
    ) as error:
        raise DataError(f"{one_line(name)} can't be read: {first_line(error)}.") from None


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message, which may be pages."""
    line = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "") or type(error).__name__
    return one_line(line.rstrip("."))


def python_values(column: pa.Array) -> list[Any]:
    """Return a column as Python values, where a missing one and NaN are None."""
    kind = column.type
    if pa.types.is_floating(kind):
        return [None if value is None or value != value else value for value in column.to_pylist()]  # noqa: PLR0124
    if pa.types.is_dictionary(kind):
        return python_values(column.dictionary_decode())
    if (
        getattr(kind, "unit", "") == "ns"
    ):  # Python has microseconds, and pyarrow would import pandas for the rest
        us = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else None
        us = us or (pa.time64("us") if pa.types.is_time(kind) else pa.duration("us"))
        column = pc.cast(column, us, safe=False)
    values: list[Any] = column.to_pylist()
    return values


def block_rows(columns: int, row_bytes: int = 0) -> int:
    """Return how many rows make a block of bounded size."""
    return max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(columns, 1), BLOCK_BYTES // max(row_bytes, 1)))


def as_rows(columns: Sequence[list[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return columns as rows by column name."""
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def sliced(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts of at most so many rows, fewer where the rows are long."""
    most = min(most, block_rows(batch.num_columns, batch.nbytes // max(batch.num_rows, 1)))
    for start in range(0, batch.num_rows, most):
        yield batch.slice(start, most)


class Frame:
    """Something with named columns."""

    def __init__(self, name: str, columns: Sequence[Any]) -> None:
        self.name = name
        self.columns = [str(column) for column in columns]


class ArrowFrame(Frame, ABC):
    """A frame that yields Arrow batches."""

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""

    def blocks(self, faults: "Faults") -> Iterator[list[dict[str, Any]]]:  # noqa: ARG002
        """Yield the rows by column name, in blocks."""
        most = block_rows(len(self.columns))
        with refused(self.name):
            for batch in self.batches():
                for part in sliced(batch, most):
                    yield as_rows([python_values(column) for column in part.columns], self.columns)


class ParquetFile(ArrowFrame):
    """A Parquet file, read page by page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with refused(str(path)), self._open() as file:
            super().__init__(str(path), file.schema_arrow.names)

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, buffer_size=PAGE_BUFFER, pre_buffer=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        with self._open() as file:
            size = sum(
                file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)
            )
            most = block_rows(len(self.columns), size // max(file.metadata.num_rows, 1))
            yield from file.iter_batches(batch_size=most)


class ArrowFile(ArrowFrame):
    """An Arrow IPC file or stream (also Feather V2), read batch by batch: its batches bound the memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with refused(str(path)), pa.OSFile(str(path)) as file:
            super().__init__(str(path), self._reader(file).schema.names)

    def _reader(self, file: pa.NativeFile) -> Any:
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            return pa.ipc.open_file(file)
        return pa.ipc.open_stream(file)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        with pa.OSFile(str(self.path)) as file, self._reader(file) as reader:
            count = getattr(reader, "num_record_batches", None)
            found = reader if count is None else map(reader.get_batch, range(count))
            for batch in found:
                batch.validate(
                    full=True
                )  # Arrow trusts the offsets in a file; a broken one would end the process
                yield batch


class ArrowTable(ArrowFrame):
    """A pyarrow Table."""

    def __init__(self, table: pa.Table) -> None:
        super().__init__("the Arrow table", table.schema.names)
        self.table = table

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        yield from self.table.to_batches()


class PolarsFrame(ArrowFrame):
    """A polars DataFrame."""

    def __init__(self, frame: Any) -> None:
        super().__init__("the polars DataFrame", frame.columns)
        self.frame = frame
        objects = [quoted(name) for name, kind in frame.schema.items() if str(kind) == "Object"]
        if objects:  # to Arrow, they are addresses in memory
            raise DataError(
                f"{self.name} has columns of Python objects: {places(objects)}.", "Cast or drop them."
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        for part in self.frame.iter_slices(BLOCK_ROWS):
            yield from part.to_arrow().to_batches()


class PandasFrame(Frame):
    """A pandas DataFrame; its index is ignored. Columns of mixed Python objects are fine, so Arrow is not asked."""

    def __init__(self, frame: Any) -> None:
        super().__init__("the pandas DataFrame", frame.columns)
        self.frame = frame

    def blocks(self, faults: "Faults") -> Iterator[list[dict[str, Any]]]:  # noqa: ARG002
        """Yield the rows by column name, in blocks."""
        most = block_rows(len(self.columns))
        with refused(self.name):
            for start in range(0, len(self.frame), most):
                part = self.frame.iloc[start : start + most]
                columns = [self._values(part.iloc[:, i]) for i in range(part.shape[1])]
                yield as_rows(columns, self.columns)

    @staticmethod
    def _values(series: Any) -> list[Any]:
        """Return a column as Python values, where a missing one is None."""
        values = series.tolist()
        for value in values:
            if isinstance(value, str):
                value.encode()  # half a surrogate pair has no UTF-8 form, and would stop the run later
        gone = series.isna().tolist()
        return [None if empty else value for value, empty in zip(values, gone, strict=True)]
