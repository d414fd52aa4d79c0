"""Reading rows: what comes out, what is refused, and that nothing else can happen."""

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catena.data import faults
from catena.data.rows import Rows, read_rows
from catena.errors import DataError
from catena.task import Columns
from catena.types import Item

FUZZ = settings(
    max_examples=int(os.environ.get("CATENA_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LABELS = ("pos", "neg")
ALL = Columns(id="id", target="target", gold="gold")


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file byte for byte."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def items(rows: Rows) -> list[Item]:
    """All items of all blocks."""
    return [item for block in rows for item in block]


def refusal(source, columns: Columns = Columns(), labels=LABELS) -> str:  # noqa: B008
    """The one line with which an input is refused."""
    with pytest.raises(DataError) as caught:
        items(read_rows(source, columns, labels))
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestCsv:
    """What comes out of CSV and TSV files."""

    def test_an_item_holds_its_row(self, tmp_path):
        """Row, id, text, target, gold and all other columns come out."""
        path = put(tmp_path, "a.csv", "id,text,target,gold,more\nx,Good.,film,pos,1.0\n")
        fields = {"more": "1.0"}
        assert items(read_rows(path, ALL, LABELS)) == [Item(0, "x", "Good.", fields, "film", "pos")]

    @pytest.mark.parametrize(
        "cell", ["NA", "null", "None", "nan", "1.0", "TRUE", "007", " ", "1e5", "-", "#N/A"]
    )
    def test_a_cell_is_never_guessed(self, tmp_path, cell):
        """Texts that other readers take for missing values or numbers stay as they are."""
        path = put(tmp_path, "a.csv", f"id,text,target,gold\n{cell},{cell},{cell},{cell}\n")
        (item,) = items(read_rows(path, ALL, [cell]))
        assert (item.id, item.text, item.target, item.gold) == (cell,) * 4

    def test_an_empty_cell_is_missing(self, tmp_path):
        """An empty text is the empty text; an empty target, gold or other cell is None."""
        path = put(tmp_path, "a.csv", 'id,text,target,gold,more\n1,,"",,\n')
        (item,) = items(read_rows(path, ALL, LABELS))
        fields = {"more": None}
        assert item == Item(0, "1", "", fields, None, None)

    def test_without_an_id_column_rows_are_numbered(self, tmp_path):
        """The id is then the row number from 1, and a whole number."""
        rows = read_rows(put(tmp_path, "a.csv", "text\na\nb\n"), Columns(), LABELS)
        assert [(item.row, item.id) for item in items(rows)] == [(0, "1"), (1, "2")]
        assert rows.id_type == "int64"

    def test_csv_ids_are_text(self, tmp_path):
        """Ids that look like numbers stay text in the output."""
        rows = read_rows(put(tmp_path, "a.csv", "id,text\n1,a\n"), Columns(id="id"), LABELS)
        assert rows.id_type == "string"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("last", [True, False])
    def test_line_ends(self, tmp_path, end, last):
        """Unix, Windows and old Mac line ends, with and without one at the end."""
        text = end.join(["id,text", "1,a", "2,b"]) + end * last
        rows = read_rows(put(tmp_path, "a.csv", text), Columns(id="id"), LABELS)
        assert [(item.id, item.text) for item in items(rows)] == [("1", "a"), ("2", "b")]

    def test_mixed_line_ends_and_blank_lines(self, tmp_path):
        """Lines may end in different ways; blank lines are not rows."""
        rows = read_rows(put(tmp_path, "a.csv", "\nid,text\r\n1,a\n\n2,b\r\n\r\n"), Columns(id="id"), LABELS)
        assert [(item.row, item.id, item.text) for item in items(rows)] == [(0, "1", "a"), (1, "2", "b")]

    def test_quotes(self, tmp_path):
        """Line ends, commas and doubled quotes inside quotes are part of the cell."""
        path = put(tmp_path, "a.csv", 'text,b\n"a, ""b""\r\nc\n",x\n')
        assert items(read_rows(path, Columns(), LABELS))[0].text == 'a, "b"\r\nc\n'

    def test_the_byte_order_mark_is_dropped(self, tmp_path):
        """The first column's name is found behind a BOM."""
        path = put(tmp_path, "a.csv", b"\xef\xbb\xbftext\na\n")
        assert read_rows(path, Columns(), LABELS).column_names == ["text"]

    def test_tsv(self, tmp_path):
        """TSV is CSV with tabs; the suffix may be in capitals."""
        assert (
            items(read_rows(put(tmp_path, "a.TSV", "id\ttext\n1\ta,b\n"), Columns(), LABELS))[0].text == "a,b"
        )

    def test_gzip(self, tmp_path):
        """A gzipped file is read as the plain one."""
        path = put(tmp_path, "a.csv.gz", gzip.compress(b"text\na\n"))
        assert items(read_rows(path, Columns(), LABELS))[0].text == "a"

    def test_nul_bytes_are_kept(self, tmp_path):
        """A NUL byte is a character of the text."""
        assert items(read_rows(put(tmp_path, "a.csv", "text\na\0b\n"), Columns(), LABELS))[0].text == "a\0b"

    def test_a_long_text_is_read(self, tmp_path):
        """A text of a million characters is data; whether it is too long is a link's question."""
        path = put(tmp_path, "a.csv", f"text\n{'x' * 1_000_000}\n")
        assert len(items(read_rows(path, Columns(), LABELS))[0].text) == 1_000_000

    def test_many_columns(self, tmp_path):
        """10,000 columns are read in small blocks."""
        names = ",".join(f"c{i}" for i in range(10_000))
        path = put(tmp_path, "a.csv", f"text,{names}\n" + ("a" + "," * 10_000 + "\n") * 500)
        blocks = [len(block) for block in read_rows(path, Columns(), LABELS)]
        assert sum(blocks) == 500
        assert max(blocks) < 250

    def test_rows_stream_in_blocks(self, tmp_path):
        """More than a few thousand rows come in several blocks, and again in a second pass."""
        path = put(tmp_path, "a.csv", "text\n" + "a\n" * 10_000)
        rows = read_rows(path, Columns(), LABELS)
        assert [len(block) for block in rows] == [4096, 4096, 1808]
        assert [item.row for item in items(rows)] == list(range(10_000))
        assert rows.count == 10_000


class TestRefusedCsv:
    """What is wrong with a CSV file is said in one line."""

    def test_ragged_rows(self, tmp_path):
        """Rows with more or fewer cells are named with row and line."""
        line = refusal(put(tmp_path, "a.csv", 'id,text\n1,"a\nb"\n2\n3,c\n4,d,e\n'))
        assert "2 rows with more or fewer cells" in line
        assert "row 2 (line 4) has 1 of 2, row 4 (line 6) has 3 of 2" in line

    def test_at_most_20_places(self, tmp_path):
        """Of many faults 20 are named, and all are counted."""
        line = refusal(put(tmp_path, "a.csv", "id,text\n" + "1\n" * 1000))
        assert line.count("(line") == 20
        assert "1,000 rows" in line
        assert "and 980 more" in line

    def test_an_unclosed_quote(self, tmp_path):
        """A quote that is never closed is refused with the line it begins in, not swallowed."""
        assert "line 3" in refusal(put(tmp_path, "a.csv", 'text\na\n"b\nc\n'))

    def test_an_undecodable_byte(self, tmp_path):
        """The first byte that isn't UTF-8 is named with its offset and line, also far into the file."""
        content = b"text\n" + b"\xc3\xa4bc\n" * 100_000 + b"d\xff\n"
        assert f"byte {len(content) - 2:,} (line 100,002) is not UTF-8" in refusal(
            put(tmp_path, "a.csv", content)
        )

    def test_a_character_cut_at_the_end(self, tmp_path):
        """A file that ends within a character is refused at the first byte of it."""
        assert "byte 5 (line 2)" in refusal(put(tmp_path, "a.csv", b"text\n\xe2\x82"))

    @pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
    def test_a_line_without_an_end(self, tmp_path, name):
        """A line longer than 16 Mi characters is refused before it fills the memory."""
        content = b"text\n" + b"x" * (17 << 20)
        content = gzip.compress(content) if name.endswith("gz") else content
        assert "line 2 is longer than" in refusal(put(tmp_path, name, content))

    def test_a_cell_without_an_end(self, tmp_path):
        """A cell of many lines longer than 16 Mi characters is refused."""
        assert "field larger than" in refusal(
            put(tmp_path, "a.csv", b'text\n"' + (b"x" * 1000 + b"\n") * 17_000)
        )

    @pytest.mark.parametrize("content", ["", "\n", "\r\n\r\n", "\ufeff"])
    def test_an_empty_file(self, tmp_path, content):
        """A file with nothing in it is called empty."""
        assert "is empty" in refusal(put(tmp_path, "a.csv", content))

    @pytest.mark.parametrize("content", ["text", "text\n", "text\n\n"])
    def test_only_a_header(self, tmp_path, content):
        """A header alone has no rows."""
        assert "has no rows" in refusal(put(tmp_path, "a.csv", content))

    def test_a_missing_column(self, tmp_path):
        """The line names the columns there are and the nearest one."""
        line = refusal(put(tmp_path, "a.csv", "id,Tekst\n1,a\n"))
        assert "no column 'text'. Its columns: 'id', 'Tekst'. Did you mean 'Tekst'?" in line

    @pytest.mark.parametrize("mark", [";", "\t"])
    def test_another_separator(self, tmp_path, mark):
        """What a spreadsheet of many countries saves as CSV is known, and the way out is said."""
        line = refusal(put(tmp_path, "a.csv", f"id{mark}text\n1{mark}a\n"))
        assert line.endswith("It looks separated by semicolons or tabs: save it with commas, or as .tsv.")

    def test_equal_column_names(self, tmp_path):
        """Two columns of one name are refused."""
        assert "same name: 'a'" in refusal(put(tmp_path, "a.csv", "text,a,a\n1,2,3\n"))

    def test_repeated_ids(self, tmp_path):
        """A repeated id is named with both rows."""
        path = put(tmp_path, "a.csv", "id,text\nx,a\ny,b\nx,c\n")
        assert "1 repeated ids: 'x' in rows 1 and 3." in refusal(path, Columns(id="id"))

    def test_missing_ids(self, tmp_path):
        """Rows without an id are named, and not taken for repeated ones."""
        line = refusal(put(tmp_path, "a.csv", "id,text\nx,a\n,b\n,c\n"), Columns(id="id"))
        assert "2 rows without an id: row 2, row 3." in line
        assert "repeated" not in line

    def test_gold_outside_the_labels(self, tmp_path):
        """A gold value that is no label is named with its row; case counts."""
        path = put(tmp_path, "a.csv", "text,gold\na,pos\nb,Pos\nc,\n")
        assert "1 gold values outside the labels: row 2 'Pos'." in refusal(path, Columns(gold="gold"))

    def test_all_kinds_of_faults_in_one_line(self, tmp_path):
        """Repeated ids and wrong gold are both told, so that one correction is enough."""
        line = refusal(
            put(tmp_path, "a.csv", "id,text,gold\nx,a,maybe\nx,b,\n"), Columns(id="id", gold="gold")
        )
        assert "repeated ids" in line
        assert "gold values" in line

    def test_strange_characters_stay_on_one_line(self, tmp_path):
        """Line ends in ids and file names don't break the message."""
        path = put(tmp_path, "a\nb.csv", 'id,text\n"x\ny",a\n"x\ny",b\n')
        assert "'x\\ny'" in refusal(path, Columns(id="id"))

    def test_a_file_that_changes(self, tmp_path):
        """A file that was written after it was checked is refused when it is read again."""
        rows = read_rows(put(tmp_path, "a.csv", "text\na\n"), Columns(), LABELS)
        put(tmp_path, "a.csv", "text\na\nb\n")
        with pytest.raises(DataError, match="was changed"):
            items(rows)


class TestRepeatedIds:
    """Ids are told apart by hash first, and by text where hashes are equal."""

    def test_a_collision_is_no_repeated_id(self, tmp_path, monkeypatch):
        """Ids with equal hashes but different texts are accepted."""
        monkeypatch.setattr(faults, "hashes", lambda ids: [7 for _ in ids])
        path = put(tmp_path, "a.csv", "id,text\n" + "".join(f"{i},a\n" for i in range(9000)))
        assert read_rows(path, Columns(id="id"), LABELS).count == 9000

    def test_a_repeated_id_among_collisions(self, tmp_path, monkeypatch):
        """A real repetition is found between ids of one hash, across blocks."""
        monkeypatch.setattr(faults, "hashes", lambda ids: [7 for _ in ids])
        path = put(tmp_path, "a.csv", "id,text\n" + "".join(f"{i % 8999},a\n" for i in range(9000)))
        assert "'0' in rows 1 and 9,000" in refusal(path, Columns(id="id"))

    @FUZZ
    @given(ids=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=20))
    def test_exactly_repetitions_are_refused(self, ids):
        """An input is refused where and only where an id occurs twice."""
        table = pa.table({"id": ids, "text": ids})
        if len(set(ids)) == len(ids):
            assert [item.id for item in items(read_rows(table, Columns(id="id"), LABELS))] == ids
        else:
            assert f"{len(ids) - len(set(ids))} repeated ids" in refusal(table, Columns(id="id"))


class TestPaths:
    """Paths that lead to no readable file."""

    def test_an_unknown_suffix(self, tmp_path):
        """The formats are listed."""
        assert ".csv, .tsv, .jsonl" in refusal(put(tmp_path, "a.xlsx", b""))

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow", "csv.gz"])
    def test_a_missing_file(self, tmp_path, suffix):
        """The path and the reason are told."""
        assert "No such file" in refusal(tmp_path / f"a.{suffix}")

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow"])
    def test_a_folder(self, tmp_path, suffix):
        """A folder is no file."""
        (tmp_path / f"a.{suffix}").mkdir()
        assert "is a folder" in refusal(tmp_path / f"a.{suffix}")

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow", "csv.gz"])
    def test_no_permission(self, tmp_path, suffix, monkeypatch):
        """A file that may not be read is refused in words."""
        path = put(tmp_path, f"a.{suffix}", b"text\na\n")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        assert "Permission denied" in refusal(path)

    def test_a_pipe(self, tmp_path):
        """What can't be read twice is refused at once, without waiting for a writer."""
        os.mkfifo(tmp_path / "a.csv")
        assert "not a file" in refusal(tmp_path / "a.csv")

    def test_a_path_with_nul(self):
        """A path that no system has is refused."""
        assert "null" in refusal(Path("a\0.csv"))

    def test_something_else(self):
        """A list of texts is no table."""
        assert "from list" in refusal(["a"])

    @pytest.mark.parametrize(
        "content",
        [b"text\na\n", gzip.compress(b"text\na\n" * 999, mtime=0)[:-12], b"\x1f\x8b\x08\0garbage garbage"],
    )
    def test_broken_gzip(self, tmp_path, content):
        """A file that is no gzip, or is cut or garbled, is refused."""
        assert "gzip" in refusal(put(tmp_path, "a.csv.gz", content))


class TestJsonLines:
    """What comes out of JSONL files, and what is refused."""

    def test_values_become_their_spelling(self, tmp_path):
        """Numbers and booleans as text, id, target and gold have their JSON spelling; fields keep their type."""
        path = put(tmp_path, "a.jsonl", '{"id": 7, "text": 1.0, "target": true, "gold": 1, "more": 2}\n')
        (item,) = items(read_rows(path, ALL, ["1"]))
        assert (item.id, item.text, item.target, item.gold) == ("7", "1.0", "true", "1")
        assert item.fields == {"more": 2}

    def test_null_and_missing_keys_are_missing(self, tmp_path):
        """Both are None in the fields, and keys that come later are columns too."""
        path = put(
            tmp_path, "a.jsonl", '{"text": null}\n{"text": "a", "gold": "pos"}\n{"text": "b", "x": [1]}\n'
        )
        rows = read_rows(path, Columns(gold="gold"), LABELS)
        assert rows.column_names == ["text", "gold", "x"]
        assert items(rows)[0].fields == {"x": None}
        assert [(item.text, item.gold) for item in items(rows)] == [("", None), ("a", "pos"), ("b", None)]

    @pytest.mark.parametrize(
        ("ids", "expected"),
        [("12", "int64"), (["1", "2"], "string"), ([1, "2"], "string"), ([1, 2**63], "string")],
    )
    def test_the_type_of_ids(self, tmp_path, ids, expected):
        """Ids are whole numbers where all of them are and fit into 64 bits."""
        ids = [1, 2] if ids == "12" else ids
        path = put(tmp_path, "a.jsonl", "".join(json.dumps({"id": each, "text": "a"}) + "\n" for each in ids))
        assert read_rows(path, Columns(id="id"), LABELS).id_type == expected

    def test_blank_lines_and_windows_ends(self, tmp_path):
        """Blank lines are not rows; a BOM and CRLF are fine."""
        path = put(tmp_path, "a.ndjson", b'\xef\xbb\xbf{"text":"a"}\r\n\r\n{"text":"b"}')
        assert [item.text for item in items(read_rows(path, Columns(), LABELS))] == ["a", "b"]

    def test_bad_lines(self, tmp_path):
        """Lines that are no JSON object are named by number."""
        line = refusal(put(tmp_path, "a.jsonl", '{"text":"a"}\n[1]\n{"text":\n\nnull\n{"text": NaN}\n'))
        assert "4 lines that are not a JSON object" in line
        assert all(f"line {number} (" in line for number in (2, 3, 5, 6))

    @pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041", "\\uDFFF tail"])
    def test_half_a_character(self, tmp_path, escape):
        """Half a surrogate pair can't be sent to anyone and is refused."""
        assert "line 1" in refusal(put(tmp_path, "a.jsonl", f'{{"text": "{escape}"}}\n'))

    def test_deep_nesting(self, tmp_path):
        """A bomb of brackets is a bad line."""
        assert "line 1" in refusal(put(tmp_path, "a.jsonl", '{"text":' + "[" * 100_000 + "]" * 100_000 + "}"))

    def test_objects_keyed_by_data(self, tmp_path):
        """New keys in each line are refused before they fill the memory."""
        path = put(tmp_path, "a.jsonl", "".join(f'{{"text":"a","{i}":1}}\n' for i in range(30_000)))
        assert "different keys" in refusal(path)

    def test_a_missing_column(self, tmp_path):
        """A key that no line has is a missing column."""
        assert "Did you mean 'text'?" in refusal(
            put(tmp_path, "a.jsonl", '{"text":"a"}\n'), Columns(text="txt")
        )

    @pytest.mark.parametrize("content", ["", "\n\n"])
    def test_no_rows(self, tmp_path, content):
        """An empty file has no rows."""
        assert "no rows" in refusal(put(tmp_path, "a.jsonl", content))


TABLE = pa.table(
    {
        "id": pa.array([10, 20, 30], pa.int32()),
        "text": pa.array(["a", None, ""], pa.large_string()),
        "target": pa.array([True, False, None]),
        "gold": pa.array(["pos", None, "neg"]).dictionary_encode(),
        "score": pa.array([1.5, float("nan"), None]),
        "tags": pa.array([["x"], [], None]),
        "when": pa.array([1, 2, None], pa.timestamp("ns")),
    }
)


def write(table: pa.Table, folder: Path, how: str) -> Path:
    """Write a table as one of the Arrow formats."""
    path = folder / f"a.{how.removeprefix('stream-')}"
    if how == "parquet":
        pq.write_table(table, path)
    elif how == "feather":
        pyarrow.feather.write_feather(table, path)
    else:
        new = pa.ipc.new_stream if how == "stream-arrow" else pa.ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table)
    return path


class TestArrow:
    """Parquet and Arrow files and tables."""

    @pytest.mark.parametrize("how", ["parquet", "feather", "arrow", "stream-arrow", "memory"])
    def test_any_type_of_column(self, tmp_path, how):
        """Cells become text by their JSON spelling; fields keep Python values, missing and NaN are None."""
        rows = read_rows(TABLE if how == "memory" else write(TABLE, tmp_path, how), ALL, LABELS)
        found = items(rows)
        assert [(each.id, each.text, each.target, each.gold) for each in found] == [
            ("10", "a", "true", "pos"),
            ("20", "", "false", None),
            ("30", "", None, "neg"),
        ]
        assert [each.fields["score"] for each in found] == [1.5, None, None]
        assert [each.fields["tags"] for each in found] == [["x"], [], None]
        assert rows.id_type == "int64"

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (pa.array([1], pa.uint64()), "1"),
            (pa.array([1.0]), "1.0"),
            (pa.array([True]), "true"),
            (pa.array([b"\xc3\xa4"]), "ä"),
            (pa.array([["a", "b"]]), '["a","b"]'),
            (pa.array([{"a": 1}]), '{"a":1}'),
            (pa.array([None]), ""),
            (pa.array(["a"]).cast(pa.string_view()), "a"),
            (pa.array([0], pa.timestamp("ns")), "1970-01-01 00:00:00"),
            (pa.array([1], pa.date32()), "1970-01-02"),
            (pa.array([1000], pa.duration("ns")), "0:00:00.000001"),
            (pa.array([1000], pa.time64("ns")), "00:00:00.000001"),
        ],
    )
    def test_text_of_each_type(self, array, expected):
        """A text column of any type has a form as text."""
        assert items(read_rows(pa.table({"text": array}), Columns(), LABELS))[0].text == expected

    def test_bytes_that_are_no_text(self):
        """A binary text column that is not UTF-8 is refused with the row."""
        assert "row 2, column 'text'" in refusal(pa.table({"text": [b"a", b"\xff"]}))

    def test_equal_column_names(self):
        """Two columns of one name are refused."""
        assert "same name" in refusal(pa.table([pa.array(["a"])] * 2, ["text", "text"]))

    @pytest.mark.parametrize("how", ["parquet", "feather", "arrow", "stream-arrow", "memory"])
    def test_no_rows(self, tmp_path, how):
        """A table without rows is refused."""
        empty = TABLE.slice(0, 0)
        assert "no rows" in refusal(empty if how == "memory" else write(empty, tmp_path, how), ALL)

    @pytest.mark.parametrize("how", ["parquet", "feather", "arrow"])
    def test_garbage(self, tmp_path, how):
        """A file of another kind is refused."""
        assert "can't be read" in refusal(put(tmp_path, f"a.{how}", b"PAR1 nothing of the kind"))

    def test_long_rows_come_in_small_blocks(self):
        """The memory of a block is bounded where texts are long."""
        table = pa.table({"text": ["x" * 100_000] * 400})
        assert max(len(block) for block in read_rows(table, Columns(), LABELS)) < 100

    def test_column_names_with_dots(self, tmp_path):
        """A dot in a Parquet column's name is part of the name."""
        path = write(pa.table({"a.b": ["x"], "a": [{"b": "y"}]}), tmp_path, "parquet")
        assert items(read_rows(path, Columns(text="a.b"), LABELS))[0].text == "x"

    def test_pandas_is_not_imported(self, tmp_path):
        """Reading nanoseconds from Parquet doesn't import pandas or polars."""
        path = write(TABLE, tmp_path, "parquet")
        code = (
            "import sys; from pathlib import Path; from catena.data.rows import Columns, read_rows;"
            "light = {'pyarrow'} & sys.modules.keys();"
            f"list(read_rows(Path({str(path)!r}), Columns(), []));"
            "print(light, {'pandas', 'polars'} & sys.modules.keys())"
        )
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "set() set()"


class TestDataFrames:
    """Frames in memory."""

    def test_pandas(self):
        """NaN and None are missing, whole numbers stay so, categories are text, the index is ignored."""
        frame = pd.DataFrame(
            {
                "id": [5, 6, 7],
                "text": ["a", None, float("nan")],
                "target": pd.array([1, None, 2], dtype="Int64"),
                "gold": pd.Categorical(["pos", None, "neg"]),
            },
            index=[9, 9, 9],
        )
        rows = read_rows(frame, ALL, LABELS)
        assert [(each.id, each.text, each.target, each.gold) for each in items(rows)] == [
            ("5", "a", "1", "pos"),
            ("6", "", None, None),
            ("7", "", "2", "neg"),
        ]
        assert rows.id_type == "int64"
        assert rows.column_names == ["id", "text", "target", "gold"]

    def test_pandas_columns_of_objects(self):
        """A column of mixed Python values is read value by value."""
        numpy = pytest.importorskip("numpy")
        frame = pd.DataFrame(
            {"text": ["a", 1, 2.5, True, numpy.int64(3), numpy.float64(0.1), b"b", ["c"], pd.NA]}
        )
        texts = [item.text for item in items(read_rows(frame, Columns(), LABELS))]
        assert texts == ["a", "1", "2.5", "true", "3", "0.1", "b", '["c"]', ""]

    def test_pandas_half_a_character(self):
        """A text that has no UTF-8 form is refused."""
        assert "not UTF-8" in refusal(pd.DataFrame({"text": pd.Series(["\ud800"], dtype=object)}))

    def test_pandas_column_names_that_are_numbers(self):
        """A column named 0 is found as '0'."""
        assert items(read_rows(pd.DataFrame({0: ["a"]}), Columns(text="0"), LABELS))[0].text == "a"

    @pytest.mark.parametrize("frame", [pd.DataFrame({"text": []}), pd.DataFrame(), pl.DataFrame()])
    def test_no_rows(self, frame):
        """An empty frame is refused."""
        assert refusal(frame)

    def test_polars(self):
        """Nulls are missing, whole numbers stay so, categories are text."""
        frame = pl.DataFrame(
            {"id": [1, 2], "text": ["a", None], "gold": ["pos", None]},
            schema_overrides={"gold": pl.Categorical},
        )
        rows = read_rows(frame, Columns(id="id", gold="gold"), LABELS)
        assert [(each.id, each.text, each.gold) for each in items(rows)] == [
            ("1", "a", "pos"),
            ("2", "", None),
        ]
        assert rows.id_type == "int64"

    def test_polars_objects(self):
        """A polars column of Python objects, which Arrow would take for addresses, is refused."""
        assert "Python objects: 'x'" in refusal(
            pl.DataFrame({"text": ["a"], "x": [object()]}, schema={"text": pl.String, "x": pl.Object})
        )


class TestMemory:
    """Files are streamed."""

    def test_memory_does_not_grow_with_the_file(self, tmp_path):
        """Going through 60 thousand rows holds 8 bytes for each id and some blocks."""
        path = put(
            tmp_path, "a.csv", "id,text\n" + "".join(f"{i},some text of a row\n" for i in range(60_000))
        )
        read_rows(put(tmp_path, "b.csv", "id,text\n1,a\n"), Columns(id="id"), LABELS)
        tracemalloc.start()
        try:
            for block in read_rows(path, Columns(id="id"), LABELS):
                assert block
            assert tracemalloc.get_traced_memory()[1] < 11 << 20
        finally:
            tracemalloc.stop()


def survives(source, columns: Columns = ALL) -> None:
    """Reading ends with items or with a DataError of one line."""
    try:
        rows = read_rows(source, columns, LABELS)
        assert [item.row for item in items(rows)] == list(range(rows.count))
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(error)  # noqa: PT017


JSON_PIECES = ("null", "true", '{"text":"a"}', "\\u", "\\ud800", "1e999", "9" * 30, "-0")
CSV_PIECES = ("\r\n", "\ufeff", "\u2028", '""', "id", "text", "gold", "pos")
PIECES = st.sampled_from([*'0,[]{}: \t\r\n\0"ä🙂', *CSV_PIECES, *JSON_PIECES])


class TestFuzz:
    """No input ends in anything but rows or one line."""

    @FUZZ
    @given(
        content=st.binary(max_size=300),
        suffix=st.sampled_from(["csv", "tsv", "jsonl", "csv.gz", "parquet", "arrow", "feather"]),
    )
    def test_random_bytes(self, tmp_path, content, suffix):
        """Any bytes in any format give rows or one clear line."""
        survives(put(tmp_path, f"fuzz.{suffix}", content), Columns())

    @FUZZ
    @given(
        pieces=st.lists(PIECES, max_size=60), header=st.sampled_from(["", "text\n", "id,text,target,gold\n"])
    )
    def test_random_csv(self, tmp_path, pieces, header):
        """Any mixture of CSV's special characters gives rows or one clear line."""
        survives(put(tmp_path, "fuzz.csv", header + "".join(pieces)), Columns())
        survives(put(tmp_path, "fuzz.csv", header + "".join(pieces)))

    @FUZZ
    @given(pieces=st.lists(PIECES, max_size=60))
    def test_random_json_lines(self, tmp_path, pieces):
        """Any mixture of JSON's special characters gives rows or one clear line."""
        survives(put(tmp_path, "fuzz.jsonl", '{"text": "a"}\n' + "".join(pieces)), Columns())

    @FUZZ
    @given(
        rows=st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: (
                    st.lists(inner)
                    | st.dictionaries(st.sampled_from(["id", "text", "gold", "target"]), inner)
                ),
                max_leaves=8,
            ),
            max_size=8,
        )
    )
    def test_random_json_values(self, tmp_path, rows):
        """Any JSON values, line by line, give rows or one clear line."""
        survives(put(tmp_path, "fuzz.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))

    @FUZZ
    @given(
        how=st.sampled_from(["parquet", "arrow", "feather", "stream-arrow"]),
        cut=st.floats(0, 1),
        flips=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(1, 255)), max_size=5),
    )
    def test_cut_and_flipped_files(self, tmp_path, how, cut, flips):
        """A Parquet or Arrow file that is cut or has wrong bytes gives rows or one clear line."""
        content = bytearray(write(TABLE, tmp_path, how).read_bytes())
        if not flips:
            content = content[: int(len(content) * cut)]
        for place, change in flips:
            content[int(len(content) * place)] ^= change
        survives(put(tmp_path, f"fuzz.{how.removeprefix('stream-')}", bytes(content)))

    @FUZZ
    @given(cut=st.integers(0, 60), flip=st.integers(0, 50))
    def test_cut_gzip(self, tmp_path, cut, flip):
        """A gzip file that is cut or has a wrong byte gives rows or one clear line."""
        content = bytearray(gzip.compress(b"id,text,target,gold\n1,a,b,pos\n2,c,d,neg\n", mtime=0))
        content[flip] ^= 0x55
        survives(put(tmp_path, "fuzz.csv.gz", bytes(content[: len(content) - cut])))
