"""Writing tables: faithful, complete or not there at all."""

import csv
import json
import os
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catena.data import tables
from catena.data.rows import Columns, read_rows
from catena.data.tables import numbers, texts, write_table
from catena.errors import DataError, StoppedError

FUZZ = settings(
    max_examples=int(os.environ.get("CATENA_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
SUFFIXES = ["csv", "jsonl", "parquet"]


def batch(*rows: tuple[str | None, str | None]) -> pa.RecordBatch:
    """A batch of ids and texts."""
    return pa.record_batch([pa.array([row[i] for row in rows], pa.string()) for i in (0, 1)], schema=SCHEMA)


def put(path: Path, columns: dict[str, pa.Array], **options: bool) -> str:
    """Write one batch and return the file's text."""
    table = pa.record_batch(columns)
    write_table(path, table.schema, [table], **options)
    return path.read_bytes().decode()


class TestFaithful:
    """What is written is what is read."""

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @FUZZ
    @given(
        texts=st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1
        )
    )
    def test_any_text_comes_back(self, tmp_path, suffix, texts):
        """Every text without NUL is read back as it was written, from each format."""
        path = tmp_path / f"a.{suffix}"
        write_table(path, SCHEMA, [batch(*((str(i), text) for i, text in enumerate(texts)))])
        found = [item.text for block in read_rows(path, Columns(id="id"), []) for item in block]
        assert found == texts

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize(
        "text",
        [
            '"',
            '""',
            ",",
            "\n",
            "\r",
            "\r\n",
            "a\rb",
            "\ufeff",
            "\u2028",
            "🙂",
            " ",
            "NA",
            "=1+1",
            "'",
            "\\",
            "\t",
            "\0",
        ],
    )
    def test_nasty_texts_come_back(self, tmp_path, suffix, text):
        """Line ends, quotes, marks and formulas are data, alone and at the end of a row."""
        path = tmp_path / f"a.{suffix}"
        write_table(path, SCHEMA, [batch((text, text), ("next", "row"))])
        found = [(item.id, item.text) for block in read_rows(path, Columns(id="id"), []) for item in block]
        assert found == [(text, text), ("next", "row")]

    def test_csv_spelling(self, tmp_path):
        """Numbers and booleans are spelled as in JSON, no value is an empty cell, lists are JSON."""
        columns = {
            "a": pa.array([1.0, None]),
            "b": pa.array([True, False]),
            "c": pa.array([[0.5, None], None]),
            "d": pa.array([-3, 4]),
        }
        assert put(tmp_path / "a.csv", columns) == 'a,b,c,d\n1.0,true,"[0.5,null]",-3\n,false,,4\n'

    def test_a_single_missing_cell_is_a_row(self, tmp_path):
        """A row of one empty cell is not a blank line."""
        assert put(tmp_path / "a.csv", {"a": pa.array(["x", None, "y"])}) == 'a\nx\n""\ny\n'

    def test_json_lines_without_nan(self, tmp_path):
        """NaN and infinities are null, also inside lists."""
        columns = {
            "a": pa.array([float("nan"), float("inf")]),
            "b": pa.array([[float("nan")], [float("-inf"), 1.0]]),
        }
        rows = [json.loads(line) for line in put(tmp_path / "a.jsonl", columns).splitlines()]
        assert rows == [{"a": None, "b": [None]}, {"a": None, "b": [None, 1.0]}]

    def test_parquet_keeps_the_schema(self, tmp_path):
        """Types, null and NaN are as they were given."""
        table = pa.table({"a": pa.array([1, None], pa.int64()), "b": pa.array([float("nan"), None])})
        write_table(tmp_path / "a.parquet", table.schema, table.to_batches())
        found = pq.read_table(tmp_path / "a.parquet")
        assert found.schema == table.schema
        assert str(found) == str(table)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_bytes_do_not_depend_on_batches(self, tmp_path, suffix):
        """The same rows in other batches make the same file."""
        rows = [(str(i), f"text {i}") for i in range(70_000)]
        for name, size in (("one", 70_000), ("many", 999)):
            parts = [batch(*rows[start : start + size]) for start in range(0, len(rows), size)]
            write_table(tmp_path / f"{name}.{suffix}", SCHEMA, parts)
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"many.{suffix}").read_bytes()

    @pytest.mark.parametrize(("suffix", "content"), [("csv", b"id,text\n"), ("jsonl", b"")])
    def test_no_rows(self, tmp_path, suffix, content):
        """A table without rows has its header, where the format has one."""
        write_table(tmp_path / f"a.{suffix}", SCHEMA, [])
        assert (tmp_path / f"a.{suffix}").read_bytes() == content

    def test_no_rows_in_parquet(self, tmp_path):
        """A Parquet file without rows has its schema."""
        write_table(tmp_path / "a.parquet", SCHEMA, [])
        assert pq.read_table(tmp_path / "a.parquet").schema == SCHEMA


class TestSpreadsheets:
    """CSV for spreadsheet programs."""

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_formulas_are_disarmed_when_asked(self, tmp_path, text):
        """An apostrophe stands before text that would run, in cells and in the header."""
        path = tmp_path / "a.csv"
        put(path, {text: pa.array([text])}, spreadsheet_safe=True)
        with path.open(newline="", encoding="utf-8") as file:
            assert list(csv.reader(file)) == [[f"'{text}"], [f"'{text}"]]

    def test_numbers_stay_numbers(self, tmp_path):
        """A negative number is no formula."""
        columns = {"a": pa.array([-1]), "b": pa.array([-0.5]), "c": pa.array([Decimal("-1.5")])}
        assert put(tmp_path / "a.csv", columns, spreadsheet_safe=True) == "a,b,c\n-1,-0.5,-1.5\n"


class TestWholeOrNothing:
    """A file is complete or not there."""

    def test_for_the_owner_only(self, tmp_path):
        """The file has mode 0600, also where it replaces one that all could read."""
        path = tmp_path / "a.csv"
        path.write_text("old")
        path.chmod(0o644)
        write_table(path, SCHEMA, [batch(("1", "a"))])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_an_error_leaves_the_old_file(self, tmp_path, suffix):
        """When the rows end in an error, the old file stays and nothing else is left."""
        path = tmp_path / f"a.{suffix}"
        path.write_text("old")

        def rows():
            yield batch(("1", "a"))
            raise RuntimeError("no more")

        with pytest.raises(RuntimeError, match="no more"):
            write_table(path, SCHEMA, rows())
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_full_disk(self, tmp_path, suffix):
        """A real size limit ends in one line, and leaves the old file and nothing else."""
        code = f"""
import pyarrow as pa, random, resource
from pathlib import Path
from catena.data.tables import write_table
from catena.errors import StoppedError
batch = pa.record_batch({{"a": [random.randbytes(500).hex() for _ in range(1000)]}})
path = Path({str(tmp_path)!r}) / "a.{suffix}"
write_table(path, batch.schema, [batch.slice(0, 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_table(path, batch.schema, [batch] * 5)
except StoppedError as error:
    print(error)
"""
        shown = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
        )
        assert "can't be written: File too large" in shown.stdout
        assert (shown.stdout.count("\n"), shown.stderr) == (1, "")
        assert [path.name for path in tmp_path.iterdir()] == [f"a.{suffix}"]

    def test_a_missing_folder(self, tmp_path):
        """The reason is told."""
        with pytest.raises(StoppedError, match="No such file"):
            write_table(tmp_path / "no" / "a.csv", SCHEMA, [])

    def test_a_folder_in_its_place(self, tmp_path):
        """A folder is not replaced, and nothing else is left."""
        (tmp_path / "a.csv").mkdir()
        with pytest.raises(StoppedError, match="Is a directory"):
            write_table(tmp_path / "a.csv", SCHEMA, [])
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]

    def test_an_unknown_suffix(self, tmp_path):
        """The formats are listed before anything is written."""
        with pytest.raises(DataError, match=r"none of \.parquet, \.csv"):
            write_table(tmp_path / "a.xlsx", SCHEMA, [])
        assert list(tmp_path.iterdir()) == []

    def test_the_file_is_on_the_disk_before_it_has_its_name(self, tmp_path, monkeypatch):
        """It is synced, then renamed, then its folder is synced."""
        steps = []
        sync, replace = os.fsync, os.replace
        monkeypatch.setattr(tables.os, "fsync", lambda number: steps.append("sync") or sync(number))
        monkeypatch.setattr(tables.os, "replace", lambda *names: steps.append("replace") or replace(*names))
        write_table(tmp_path / "a.csv", SCHEMA, [])
        assert steps == ["sync", "replace", "sync"]


@given(
    st.lists(st.tuples(st.floats(allow_nan=False), st.booleans()), max_size=40),
    st.lists(st.text() | st.none(), max_size=40),
)
def test_columns_as_pyarrow_makes_them(pairs, values):
    """Columns made without pandas are those of pyarrow.array."""
    found = np.array([value for value, _ in pairs], np.float64)
    missing = np.array([gone for _, gone in pairs], bool)
    assert numbers(found, missing).equals(pa.array(found, pa.float64(), mask=missing))
    kept = [None if value is None else value.encode(errors="replace").decode() for value in values]
    assert texts(kept).equals(pa.array(kept, pa.string()))
