"""Rows from files of lines: CSV, TSV and JSONL, plain or gzipped, in UTF-8."""

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec

from catena.data.cells import one_line
from catena.errors import DataError

if TYPE_CHECKING:
    from catena.data.faults import Faults

__all__ = ["DelimitedFile", "JsonLinesFile"]

LONGEST = (
    1 << 24
)  # characters of a line or a cell; more is an unclosed quote or not text, and would fill the memory
BLOCK_ROWS = 4096
BLOCK_CHARACTERS = 1 << 21
BLOCK_CELLS = 1 << 19
MOST_KEYS = 20_000
ZIP = b"PK\x03\x04"  # as .xlsx begins
RAGGED = "rows with more or fewer cells than the header"
BAD_JSON = "lines that are not a JSON object"


class LinesFile:
    """A text file that is opened anew for each pass, and what it knows about its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.columns: list[str] = []

    def lines(self, newline: str) -> Iterator[str]:
        """Yield the lines with their ends.

        Raises:
            DataError: The file can't be opened, isn't UTF-8 or isn't gzip, or a line is longer than 16 Mi characters.
        """
        with self._refused(), self._open() as raw:
            self._refuse_other_kinds(raw.read(len(ZIP)))
            raw.seek(0)
            if raw.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                raw.seek(0)
            with TextIOWrapper(raw, encoding="utf-8", newline=newline) as file:
                for number, line in enumerate(iter(partial(file.readline, LONGEST), ""), 1):
                    if len(line) == LONGEST:
                        raise DataError(
                            f"{one_line(self.name)}: line {number:,} is longer than {LONGEST:,} characters."
                        )
                    yield line

    def _refuse_other_kinds(self, start: bytes) -> None:
        name = one_line(self.name)
        if start == ZIP:
            raise DataError(f"{name} is an Excel file or another archive, not text.", "Save it as CSV.")
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{name} is UTF-16 text.", "Save it as UTF-8 (Excel: CSV UTF-8).")

    def _open(self) -> IO[bytes]:
        if self.path.name.lower().endswith(".gz"):
            return cast("IO[bytes]", gzip.open(self.path))
        return self.path.open("rb")

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """Turn what reading can raise into one line."""
        name = one_line(self.name)
        try:
            yield
        except UnicodeDecodeError:
            with self._refused():  # a second look may find that the file is cut
                where = self._undecodable()
            raise DataError(f"{name}: {where} is not UTF-8.", "Save the file as UTF-8.") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{name} is not a complete gzip file: {error}.") from None
        except OSError as error:
            raise DataError(f"{name} can't be read: {error.strerror or error}.") from None

    def _undecodable(self) -> str:
        """Look again for the first byte that is not UTF-8: the reader decodes ahead and no longer knows."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset, line = 0, 1
        with self._open() as raw:
            while True:
                pending = decoder.getstate()[0]
                chunk = raw.read(1 << 16)
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    line += (pending + chunk)[: error.start].count(b"\n")
                    return f"byte {offset - len(pending) + error.start:,} (line {line:,})"
                if not chunk:
                    return "a byte"
                offset += len(chunk)
                line += chunk.count(b"\n")


class DelimitedFile(LinesFile):
    """A CSV or TSV file. All cells are text, an empty one is None; blank lines between rows are not rows."""

    def __init__(self, path: Path, delimiter: str) -> None:
        super().__init__(path)
        self.delimiter = delimiter
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
        self.columns = next((cells for _, cells in self._rows()), [])
        if not self.columns:
            raise DataError(f"{one_line(self.name)} is empty.", "It needs a header line and rows.")

    def blocks(self, faults: "Faults") -> Iterator[list[dict[str, Any]]]:
        """Yield the rows by column name, in blocks."""
        names, width = self.columns, len(self.columns)
        block: list[dict[str, Any]] = []
        rows = self._rows()
        next(rows)
        characters = 0
        for number, (line, cells) in enumerate(rows, 1):
            if len(cells) != width:
                faults.add(RAGGED, f"row {number:,} (line {line:,}) has {len(cells):,} of {width:,}")
                continue
            characters += width + sum(map(len, cells))
            values = [cell or None for cell in cells] if "" in cells else cells
            block.append(dict(zip(names, values, strict=True)))
            if len(block) >= BLOCK_ROWS or characters > BLOCK_CHARACTERS:
                yield block
                block, characters = [], 0
        yield block

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row's first line and its cells, the header first."""
        reader = csv.reader(self.lines(newline=""), delimiter=self.delimiter, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            where = f"{one_line(self.name)}: the row that begins in line {line:,} can't be read: {error}."
            raise DataError(
                where, "A cell with a quote in it needs quotes around it, and each quote doubled."
            ) from None


class JsonLinesFile(LinesFile):
    """One JSON object for each line. Blank lines are not rows; a missing key is None.

    The columns are all keys of the file, in the order of their first use; they are known after the first pass.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.keys: dict[str, None] = {}

    def blocks(self, faults: "Faults") -> Iterator[list[dict[str, Any]]]:
        """Yield the rows by column name, in blocks."""
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        missing = dict.fromkeys(self.columns)
        most = max(1, min(BLOCK_ROWS, BLOCK_CELLS // (len(missing) or 1)))
        block: list[dict[str, Any]] = []
        characters = 0
        for number, line in enumerate(self.lines(newline="\n"), 1):
            if line.isspace():
                continue
            try:
                row = decode(line)
            except (ValueError, RecursionError) as error:
                faults.add(BAD_JSON, f"line {number:,} ({error})")
                continue
            if missing.keys() != row.keys():
                row = self._filled(row, missing, number)
            block.append(row)
            characters += len(line)
            if len(block) >= most or characters > BLOCK_CHARACTERS:
                yield block
                block, characters = [], 0
        yield block
        self.columns = list(self.keys)

    def _filled(self, row: dict[str, Any], missing: dict[str, None], number: int) -> dict[str, Any]:
        """Return the row with all columns, and remember keys that are new."""
        if not row.keys() <= self.keys.keys():
            self.keys.update(dict.fromkeys(row))
            if len(self.keys) > MOST_KEYS:
                where = (
                    f"{one_line(self.name)} has more than {MOST_KEYS:,} different keys by line {number:,}."
                )
                raise DataError(where, "Use the same keys in each line.")
        return missing | row
