"""Writing a table as Parquet, CSV or JSONL: whole or not at all."""

import contextlib
import csv
import os
import tempfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from catena.data.cells import as_text, one_line
from catena.errors import DataError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["numbers", "texts", "write_table"]

GROUP_ROWS = 32_768
GROUP_BYTES = 1 << 26
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(
    path: Path, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"], *, spreadsheet_safe: bool = False
) -> None:
    """Write batches to a file that appears, or replaces an older one, only when it is complete and on the disk.

    The file can be read by its owner only. CSV: no value and the empty text are both an empty cell, booleans are
    `true` and `false`, lists are JSON. JSONL: NaN and infinities are null.

    Args:
        path: Ends in .parquet, .csv, .jsonl or .ndjson.
        schema: The columns.
        batches: The rows, in order; a bounded number of them is held at a time.
        spreadsheet_safe: Put an apostrophe before text in a CSV that a spreadsheet program would run as a formula.

    Raises:
        DataError: The end of the file's name says no format.
        StoppedError: The disk is full, the folder is missing or not writable.
    """
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv", ".jsonl", ".ndjson"):
        raise DataError(f"{one_line(path)}: the end of its name is none of .parquet, .csv, .jsonl, .ndjson.")
    with replacing(path) as file:
        if suffix == ".parquet":
            write_parquet(file, schema, batches)
        elif suffix == ".csv":
            write_csv(file, schema, batches, safe=spreadsheet_safe)
        else:
            write_json_lines(file, schema, batches)


def texts(values: Iterable[str | None]) -> "pa.Array":
    """Return a column of texts. Unlike pyarrow.array, it does not import pandas, which takes a third of a second."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def numbers(values: "NDArray[Any]", missing: "NDArray[np.bool_] | None" = None) -> "pa.Array":
    """Return a column of numbers, null where they are missing; as `texts`."""
    import numpy as np  # noqa: PLC0415 - tasks import this room
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    valid = None
    if missing is not None and missing.any():
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    data = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, data])


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place at the end; on any error nothing is left of it."""
    temporary = None
    try:
        number, temporary = tempfile.mkstemp(
            prefix=".catena-", suffix=".tmp", dir=path.parent
        )  # for the owner only
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - named by mkstemp as text
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        why = error.strerror or error
        raise StoppedError(
            f"{one_line(path)} can't be written: {why}.", "Make room or choose another folder."
        ) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - as above


def sync_folder(folder: Path) -> None:
    """Put a file's new name on the disk too, where the system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_parquet(file: IO[bytes], schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> None:
    """Write row groups of one size, so that the bytes don't depend on how the rows were cut into batches."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows = size = 0
        for batch in batches:
            waiting.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            while rows and (rows >= GROUP_ROWS or size >= GROUP_BYTES):
                table = pa.Table.from_batches(waiting, schema)
                writer.write_table(table.slice(0, GROUP_ROWS), row_group_size=GROUP_ROWS)
                waiting = table.slice(GROUP_ROWS).to_batches()
                rows, size = max(0, rows - GROUP_ROWS), sum(each.nbytes for each in waiting)
        if rows:
            writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=GROUP_ROWS)


def write_csv(
    file: IO[bytes], schema: "pa.Schema", batches: Iterable["pa.RecordBatch"], *, safe: bool
) -> None:
    """Write UTF-8 with a header, commas, and lines that end in a line feed."""
    cell = safe_cell if safe else as_text
    file.write(csv_lines([[cell(name) for name in schema.names]]))
    for rows in python_rows(batches):
        file.write(csv_lines([[cell(value) for value in row] for row in rows]))


def csv_lines(rows: list[list[str | None]]) -> bytes:
    """Return rows as CSV, with quotes where they are needed."""
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    if (
        "\r" in text.getvalue()
    ):  # Python up to 3.12 leaves a bare carriage return, which ends a row, without quotes
        text = StringIO(newline="")
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def safe_cell(value: Any) -> str | None:
    """Return a cell's text with an apostrophe before what a spreadsheet program would run; numbers stay numbers."""
    text = as_text(value)
    if text is None or isinstance(value, int | float | Decimal) or not text.startswith(FORMULA):
        return text
    return f"'{text}"


def write_json_lines(file: IO[bytes], schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> None:
    """Write one object for each row."""
    encode = msgspec.json.Encoder(enc_hook=str).encode_lines
    names = schema.names
    for rows in python_rows(batches):
        file.write(encode([dict(zip(names, row, strict=True)) for row in rows]))


def python_rows(batches: Iterable["pa.RecordBatch"]) -> Iterator[Iterable[tuple[Any, ...]]]:
    """Yield each batch's rows as Python values."""
    from catena.data.frames import python_values  # noqa: PLC0415 - pyarrow is slow to import

    for batch in batches:
        yield zip(*(python_values(column) for column in batch.columns), strict=True)
