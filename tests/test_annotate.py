"""catena.annotate: a DataFrame in, the same kind of DataFrame out."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from catena import annotate
from catena.errors import DataError, InputError, LinkError, TaskError
from catena.task import parse_task
from catena.testing.provider import FakeProvider
from chains import chain_text, openai, rows_of, texts
from tables import vote, write_votes

ADDED = ["label", "confidence", "link", "status", "reason"]
IDS = [7, 3, 9, 1]
LABELS = ["favor", "against", "favor", None]  # of the kept vote; no link has one for 1
KEPT_BY = ["small", "small", "big", None]


@pytest.fixture
def votes(tmp_path):
    """`small` is sure of 7 and 3; `big` knows 9 too; nobody knows 1."""
    said = {"small": ["favor", "against", "against", None], "big": ["against", "favor", "favor", None]}
    rows = [
        vote(id_, link, label, None if label is None else sure)
        for link, labels in said.items()
        for id_, label, sure in zip(IDS, labels, [0.9, 0.8, 0.1, 0.0], strict=True)
    ]
    return write_votes(tmp_path / "votes", rows, IDS)


@pytest.fixture
def task(votes):
    """A chain of the two recorded links."""
    return {
        "instruction": "Which?",
        "labels": ["against", "favor"],
        "data": {"text": "tweet", "id": "key"},
        "aggregate": "last",
        "chain": [{"name": name, "kind": "replay", "votes": str(votes)} for name in ("small", "big")],
    }


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder in which temporary folders are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def columns(ids=IDS):
    """The columns of a frame."""
    return {"more": [1.5, None, 2.5, 3.5], "tweet": ["a", "b", "c", "d"], "key": list(ids)}


KINDS = pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])


@KINDS
class TestBothKinds:
    """What holds for pandas and polars."""

    def test_the_same_kind_comes_back(self, kind, task):
        """With the columns as they were, then label, confidence, link, status and reason."""
        frame = kind(columns())
        found = annotate(frame, task)
        assert type(found) is kind
        assert list(found.columns) == ["more", "tweet", "key", *ADDED]
        assert found[["more", "tweet", "key"]].equals(frame[["more", "tweet", "key"]])

    def test_every_row_has_its_label_in_the_order_of_the_input(self, kind, task):
        """Ids of numbers meet recorded ids; a row without any vote has no label and says why."""
        found = annotate(kind(columns()), task)
        labels = [None if pd.isna(label) else label for label in found["label"].to_list()]
        assert labels == LABELS
        assert [None if pd.isna(link) else link for link in found["link"].to_list()][:3] == KEPT_BY[:3]
        assert found["status"].to_list() == ["labelled"] * 3 + ["failed"]
        assert found["reason"].to_list()[3]

    def test_another_order_gives_the_same_labels(self, kind, task):
        """Labels belong to ids, not to places."""
        found = annotate(kind(columns(IDS[::-1])), task)
        assert [None if pd.isna(label) else label for label in found["label"].to_list()] == LABELS[::-1]

    def test_the_frame_given_is_left_alone(self, kind, task):
        """No column is added to it."""
        frame = kind(columns())
        annotate(frame, task)
        assert list(frame.columns) == ["more", "tweet", "key"]

    def test_ids_of_text(self, kind, task):
        """Ids may be text."""
        found = annotate(kind(columns(map(str, IDS))), task)
        assert found["label"].to_list()[:3] == LABELS[:3]
        assert found["key"].to_list() == [str(id_) for id_ in IDS]

    def test_given_columns_are_never_replaced(self, kind, task):
        """Where a given column has the name of one of ours, ours has another."""
        given = columns() | {"label": ["mine"] * 4}
        found = annotate(kind(given), task)
        assert found["label"].to_list() == ["mine"] * 4
        assert found["label_catena"].to_list()[:3] == LABELS[:3]
        assert "link" in found.columns

    def test_inside_an_event_loop(self, kind, task):
        """As in a notebook, where a loop runs already."""

        async def cell():
            return annotate(kind(columns()), task)

        assert asyncio.run(cell())["label"].to_list()[:3] == LABELS[:3]

    def test_the_temporary_folder_is_removed(self, kind, task, temporary):
        """Nothing is left behind by a run that finished."""
        annotate(kind(columns()), task)
        assert not list(temporary.iterdir())

    def test_the_temporary_folder_is_removed_when_the_rows_are_refused(self, kind, task, temporary):
        """Nor by one that never began."""
        with pytest.raises(DataError, match="repeated ids"):
            annotate(kind(columns([1, 1, 2, 3])), task)
        assert not list(temporary.iterdir())


def test_the_index_is_kept(task):
    """Of a pandas frame, although it is neither sorted nor distinct."""
    frame = pd.DataFrame(columns(), index=pd.Index([5, 5, 1, 0], name="place"))
    found = annotate(frame, task)
    assert found.index.equals(frame.index)
    assert found.index.name == "place"
    assert found["label"].to_list()[:3] == LABELS[:3]


def test_an_index_of_several_levels_is_kept(task):
    """As above."""
    frame = pd.DataFrame(columns(), index=pd.MultiIndex.from_tuples([("b", 1), ("a", 1), ("a", 2), ("c", 0)]))
    assert annotate(frame, task).index.equals(frame.index)


def test_a_task_may_be_given_in_any_form(task, tmp_path):
    """A mapping, YAML text, a path as text or Path, a TaskSpec: the same labels."""
    import yaml

    text = yaml.safe_dump(task)
    (tmp_path / "task.yaml").write_text(text)
    for form in (text, str(tmp_path / "task.yaml"), tmp_path / "task.yaml", parse_task(text)):
        assert annotate(pl.DataFrame(columns()), form)["label"].to_list() == LABELS


def test_the_run_is_kept_where_it_is_wanted(task, tmp_path, temporary):
    """With `out`, the folder stays and a second call gives the same."""
    frame = pl.DataFrame(columns())
    first = annotate(frame, task, out=tmp_path / "run")
    assert (tmp_path / "run" / "labels.parquet").exists()
    assert annotate(frame, task, out=str(tmp_path / "run")).equals(first)
    assert not list(temporary.iterdir())


def test_a_stop_keeps_the_folder_and_names_it(task, temporary, monkeypatch):
    """Votes that were paid are never thrown away."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    task["chain"][1] = {"name": "gpt", "kind": "openai", "model": "gpt-4o-mini"}
    with pytest.raises(LinkError, match="Go on with out=") as caught:
        annotate(pl.DataFrame(columns()), task)
    (kept,) = temporary.iterdir()
    assert str(kept / "run") in str(caught.value)
    assert Path(kept / "run" / "ledger.sqlite").exists()


def test_a_wrong_task_is_refused(task, temporary):
    """Before a folder is left behind."""
    task["labels"] = ["only one"]
    with pytest.raises(TaskError, match="at least two different labels"):
        annotate(pl.DataFrame(columns()), task)
    assert not list(temporary.iterdir())


def test_the_public_name_stays_the_function():
    """`catena.annotate` can be called more than once, and after its module was imported."""
    code = "import catena; catena.annotate; import catena.api; assert callable(catena.annotate)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "given", ["data.csv", Path("data.csv"), [{"text": "a"}], pl.LazyFrame({"text": ["a"]})], ids=type
)
def test_what_is_no_frame_is_refused_before_anything_is_paid(given, task, temporary):
    """Paths, lists and lazy frames: one line, and no folder is left."""
    with pytest.raises(InputError, match="a pandas or Polars DataFrame, not a"):
        annotate(given, task)
    assert not list(temporary.iterdir())


def test_other_columns_may_hold_anything(task):
    """Dates and objects in columns that no template uses don't stop a run."""
    frame = pd.DataFrame(columns() | {"when": pd.Timestamp("2026-11-22"), "span": pd.Timedelta("1h")})
    assert annotate(frame, task)["label"].to_list()[:3] == LABELS[:3]


def test_labels_of_a_mapping_without_descriptions(task):
    """None is no description, and not the text null."""
    given = task | {"labels": {"against": None, "favor": None}}
    assert annotate(pd.DataFrame(columns()), given)["label"].to_list()[:3] == LABELS[:3]


def test_warnings_of_the_run_are_warnings(tmp_path):
    """What the command says on stderr, once, where the call stands."""
    with FakeProvider(no_logprobs=True) as silent:
        task = parse_task(chain_text(openai(silent), data={"id": "id"}))
        with pytest.warns(UserWarning, match="catena: link 'small' gives no log-probabilities") as said:
            labelled = annotate(rows_of(texts(5)), task, out=tmp_path / "run")
    assert [Path(each.filename).name for each in said] == ["test_annotate.py"]
    assert set(labelled["status"]) == {"labelled"}
