"""catena demo: a newcomer's first minute."""

import csv
import importlib.util
import json

import pyarrow.parquet as pq
import pytest

from catena import demo
from catena.cli import main
from catena.vectors.minilm import PACKAGE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the encoder's weights ({PACKAGE}) are not installed"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run the demo once, into a folder that is not there; returns its document and the folder."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    stream = out.parent.parent / "stdout"
    with stream.open("w") as stdout, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        assert main(["demo", "--out", str(out), "--json"]) == 0
    return json.loads(stream.read_text()), out


def test_240_rows_come_out_once_each_in_input_order(done):
    """The labels file has the ids of the data file, one for one."""
    found, _ = done
    with demo.messages().open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    table = pq.read_table(found["labels"])
    assert len(ids) == len(set(ids)) == 240
    assert table[table.column_names[0]].to_pylist() == ids


def test_the_labels_are_good(done):
    """Macro-F1 against gold is at least .65."""
    assert done[0]["scores"]["final"]["macro_f1"] >= 0.65


def test_the_first_link_keeps_half(done):
    """Two links, equal shares."""
    assert [link["received"] for link in done[0]["links"]] == [240, 120]


def test_it_costs_nothing(done):
    """Both links run here."""
    assert not done[0]["cost_usd"]


def test_task_and_data_are_left_to_play_with(done, capsys):
    """The command that the demo prints finds the run finished."""
    inputs, run = done[1] / "input", done[1] / "run"
    assert main(["run", str(inputs / "task.yaml"), str(inputs / "messages.csv"), "--out", str(run)]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_what_was_changed_by_hand_stays_and_is_used(tmp_path, capsys):
    """A task file and data in the input folder are the user's."""
    inputs = tmp_path / "input"
    inputs.mkdir()
    (inputs / "task.yaml").write_text("nonsense: 1\n")
    (inputs / "messages.csv").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "unknown key 'nonsense'" in capsys.readouterr().err
    assert (inputs / "task.yaml").read_text() == "nonsense: 1\n"
    assert (inputs / "messages.csv").read_text() == "mine"


def test_again_it_does_nothing(done, capsys):
    """A second demo in the same folder finds everything there."""
    assert main(["demo", "--out", str(done[1])]) == 0
    assert "nothing to do" in capsys.readouterr().out
