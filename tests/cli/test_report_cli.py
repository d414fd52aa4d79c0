"""catena report: its words, its document, its exit codes."""

import json

import pytest

from catena.cli import main
from chains import finish as finished_process
from chains import start
from tables import vote, write_votes


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of two links over twelve rows, with gold, in the folder `run`."""
    monkeypatch.chdir(tmp_path)
    ids = [f"i{at}" for at in range(12)]
    rows = [
        vote(name, link, "favor" if at % 3 else "against", at / 12)
        for link in ("small", "big")
        for at, name in enumerate(ids)
    ]
    write_votes(tmp_path / "votes", rows, ids)
    chain = "".join(f"  - {{name: {name}, kind: replay, votes: votes}}\n" for name in ("small", "big"))
    task = f"instruction: q\nlabels: [against, favor]\ndata: {{id: id, gold: gold}}\nchain:\n{chain}"
    (tmp_path / "task.yaml").write_text(task)
    (tmp_path / "data.csv").write_text(
        "id,text,gold\n" + "".join(f"{name},text of {name},favor\n" for name in ids)
    )
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    return tmp_path / "run"


def test_json_says_where_it_is(run, capsys):
    """One document: the file, its size, the figures' folder, what state the run is in, how many rows have gold."""
    capsys.readouterr()
    assert main(["report", "run", "--figures", "figures", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    size = (run / "report.html").stat().st_size
    assert told == {
        "report": "run/report.html",
        "bytes": size,
        "figures": "figures",
        "state": "finished",
        "gold": 12,
    }
    assert 10_000 < size < 300_000


def test_a_process_of_its_own_says_where_the_file_is(run, tmp_path):
    """As a person sees it: one line, nothing on stderr, exit code 0."""
    code, out, err = finished_process(start("report", run, "--out", tmp_path / "here.html", "--items", "0"))
    assert (code, out, err) == (0, f"Report: {tmp_path / 'here.html'}\n", "")
    assert "Items that links disagree about" not in (tmp_path / "here.html").read_text("utf-8")
