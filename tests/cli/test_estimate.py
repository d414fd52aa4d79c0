"""catena estimate: a sample is drawn, labelled by a person, and tells what the labels of a run are worth."""

import csv
import json

import numpy as np
import pytest

from catena.cli import main
from tables import vote, write_votes

LABELS = ("against", "favor")
N = 400


@pytest.fixture
def truth():
    """What a person would say of each row."""
    return {f"i{at}": LABELS[int(gold)] for at, gold in enumerate(np.random.default_rng(0).random(N) < 0.3)}


@pytest.fixture
def here(tmp_path, monkeypatch, truth):
    """A folder with a finished run of one link that is right on 85 % of the rows."""
    monkeypatch.chdir(tmp_path)
    right = np.random.default_rng(1).random(N) < 0.85
    said = [gold if ok else "favor" for gold, ok in zip(truth.values(), right, strict=True)]
    write_votes(
        tmp_path / "votes",
        [vote(name, "small", each) for name, each in zip(truth, said, strict=True)],
        list(truth),
    )
    task = "instruction: q\nlabels: [against, favor]\ndata: {id: id, target: topic}\nchain:\n  - {name: small, kind: replay, votes: votes}\n"
    (tmp_path / "task.yaml").write_text(task)
    rows = "".join(f"{name},text of {name},tax\n" for name in truth)
    (tmp_path / "data.csv").write_text("id,text,topic\n" + rows)
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    return tmp_path


@pytest.fixture
def ask(capsys):
    """Run the command and return its document."""

    def line(*arguments):
        capsys.readouterr()
        assert main(["estimate", "run", *map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return line


def fill(path, truth, most=None):
    """Fill in the column gold as a person does; returns the ids."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:most]:
        row["gold"] = truth[row["id"]]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [row["id"] for row in rows]


def test_from_a_drawn_sample_to_shares(here, ask, truth):
    """Drawn, filled in, estimated: the interval holds the truth and is narrower than that of the sample alone."""
    ask("--draw", 150, "--out", "sample.csv")
    ids = fill(here / "sample.csv", truth)
    assert len(set(ids)) == 150
    found = ask("--gold", "sample.csv")
    assert (found["n"], found["gold"], found["blank"]) == (N, 150, 0)
    share = found["shares"][1]
    assert share["label"] == "favor"
    assert share["low"] < sum(each == "favor" for each in truth.values()) / N < share["high"]
    assert share["high"] - share["low"] < share["gold_high"] - share["gold_low"]
    assert found["assumes"] == "the rows with gold are a random sample of all rows"


def test_the_sample_has_what_a_person_needs(here, ask):
    """Id, text, target and an empty column gold, in input order; the same seed draws the same rows."""
    ask("--draw", 20, "--out", "one.csv")
    ask("--draw", 20, "--out", "two.csv")
    ask("--draw", 20, "--out", "other.csv", "--seed", 1)
    one = list(csv.DictReader((here / "one.csv").read_text().splitlines()))
    assert list(one[0]) == ["id", "text", "target", "gold"]
    assert one[0]["text"] == f"text of {one[0]['id']}"
    assert [int(row["id"][1:]) for row in one] == sorted(int(row["id"][1:]) for row in one)
    assert (
        (here / "one.csv").read_bytes()
        == (here / "two.csv").read_bytes()
        != (here / "other.csv").read_bytes()
    )


def test_people_are_told_that_the_sample_must_be_random(here, capsys, truth):
    """And that rows left blank may spoil it."""
    assert main(["estimate", "run", "--draw", "100", "--out", "sample.csv"]) == 0
    fill(here / "sample.csv", truth, 90)
    assert main(["estimate", "run", "--gold", "sample.csv"]) == 0
    said = capsys.readouterr().out
    assert "which must be a random sample" in said
    assert "10 rows of the sample have no gold" in said


def test_a_level_widens(here, ask, truth):
    """99 % intervals hold the 95 % ones."""
    ask("--draw", 100, "--out", "sample.csv")
    fill(here / "sample.csv", truth)
    usual, wide = (
        ask("--gold", "sample.csv")["shares"][0],
        ask("--gold", "sample.csv", "--level", 0.99)["shares"][0],
    )
    assert wide["low"] < usual["low"] < usual["high"] < wide["high"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--draw", "10"], "--draw and --out go together"),
        (["--draw", "10", "--out", "no/x.csv"], "no is no folder"),
        (["--draw", "10", "--out", "data.csv"], "is there already"),
        (["--draw", "10", "--out", "x.csv", "--gold", "y.csv"], "Give one of them"),
        (["--draw", "401", "--out", "x.csv"], "the run has 400 rows"),
        ([], "there is no gold to estimate from"),
        (["--gold", "few.csv"], "2 rows have gold: too few"),
        (["--gold", "unknown.csv"], "ids that the run does not have: zz"),
        (["--gold", "outside.csv"], "gold values outside the labels"),
        (["--gold", "nope.csv"], "nope.csv"),
    ],
)
def test_wrong_usage_is_refused(here, capsys, line, says):
    """In one line, with exit code 2, and nothing is written."""
    (here / "few.csv").write_text("id,gold\ni1,favor\ni2,against\n")
    (here / "unknown.csv").write_text("id,gold\nzz,favor\n")
    (here / "outside.csv").write_text("id,gold\ni1,maybe\n")
    files = sorted(path.name for path in here.iterdir())
    assert main(["estimate", "run", *line]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in here.iterdir()) == files
