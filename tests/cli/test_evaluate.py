"""catena evaluate: of a run, and of a vote table."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catena.cli import main
from catena.evaluate.metrics import score
from chains import forget
from tables import vote, write_votes

LINKS = ("small", "mid", "big")
LABELS = ["favor", "against", "none"]
N = 120


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with votes, a task that replays them with a column `topic`, and data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ids, gold = [f"i{at}" for at in range(N)], rng.integers(0, 3, N)
    rows = []
    for j, link in enumerate(LINKS):
        for i, name in enumerate(ids):
            said = int(gold[i]) if rng.random() < 0.5 + 0.15 * j else int(rng.integers(0, 3))
            chance = float(rng.uniform(0.4, 0.9))
            words = [math.log(chance if k == said else (1 - chance) / 2) for k in range(3)]
            label = None if rng.random() < 0.05 else LABELS[said]
            rows.append(vote(name, link, label, round(chance, 2), label_logprobs=words, cost_usd=0.01))
    topics = ["tax" if i % 3 else "peace" for i in range(N)]
    items = pa.table(
        {
            "item_id": ids,
            "text": [f"text {i}" for i in range(N)],
            "topic": topics,
            "gold": [LABELS[g] for g in gold],
        }
    )
    write_votes(tmp_path / "votes", rows, items, labels=LABELS)
    chain = "".join(f"  - {{name: {name}, kind: replay, votes: votes}}\n" for name in LINKS)
    data = "data: {id: id, gold: stance}\n"
    task = f"instruction: q\nlabels: [favor, against, none]\n{data}chain:\n{chain}"
    (tmp_path / "task.yaml").write_text(task)
    lines = [f"{name},text {i},{topics[i]},{LABELS[gold[i]]}\n" for i, name in enumerate(ids)]
    (tmp_path / "data.csv").write_text("id,text,topic,stance\n" + "".join(lines))
    return tmp_path


@pytest.fixture
def run(here):
    """The finished run of the task."""
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    return here / "run"


@pytest.fixture
def ask(capsys):
    """Run a command and return its document."""

    def line(*arguments):
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return line


def test_a_run_is_scored_by_its_exported_labels(run, ask):
    """`final` is what labels.parquet says, whatever rule made it; and so are its intervals and confusion."""
    found = ask("evaluate", run)
    table = pq.read_table(run / "labels.parquet").to_pylist()
    right = [row["label"] == row["gold"] for row in table]
    assert found["final"]["accuracy"] == pytest.approx(np.mean(right))
    assert found["final"]["accuracy_low"] < np.mean(right) < found["final"]["accuracy_high"]
    assert sum(map(sum, found["final"]["confusion"])) == N == found["n"] == found["gold"]
    assert sum(found["final"]["confusion"][k][k] for k in range(3)) == sum(right)


def test_the_simulator_and_the_engine_give_the_same_figures(run, ask):
    """Every rule's scores, each link's counts and its scores on what it received, on replayed votes."""
    evaluated = ask("evaluate", run)
    simulated = ask("simulate", "votes", "--chain", ",".join(LINKS))
    for rule, figures in simulated["aggregates"].items():
        assert {key: evaluated["aggregates"][rule][key] for key in figures} == pytest.approx(figures)
    for ours, theirs in zip(simulated["links"], evaluated["links"], strict=True):
        assert ours["received"] == theirs["received"]
        assert (ours["accuracy"], ours["macro_f1"]) == pytest.approx((theirs["accuracy"], theirs["macro_f1"]))


def test_a_chain_over_a_vote_table_is_evaluated_as_its_run(run, ask):
    """The same chain, replayed or run: the same figures, tests and changes."""
    of_run, of_votes = ask("evaluate", run), ask("evaluate", "--votes", "votes", "--chain", ",".join(LINKS))
    assert of_votes["final"] == of_run["final"]
    assert of_votes["changes"] == of_run["changes"]
    # A run was asked no more than it needed; the table holds all votes.
    assert [test["n"] for test in of_run["tests"]] == [link["received"] for link in of_run["links"]]
    assert [test["n"] for test in of_votes["tests"]] == [N, N, N]


def test_changes_add_up(run, ask):
    """Errors fixed less errors made are the hits that `last` gains by each link."""
    found = ask("evaluate", run)
    gained = sum(each["fixed"] - each["broken"] for each in found["changes"])
    first = found["links"][0]["accuracy"]
    assert found["aggregates"]["last"]["accuracy"] == pytest.approx(first + gained / N)


def test_label_subsets(run, ask):
    """--labels favor,against: macro-F1 is the mean of two, as SemEval-2016 Task 6 scores stance."""
    found = ask("evaluate", run, "--labels", "favor,against")["final"]
    f1 = [found["per_class"][label]["f1"] for label in ("favor", "against")]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert found["macro_f1_low"] < found["macro_f1"] < found["macro_f1_high"]


def test_by_column(run, ask):
    """One row for each value, and their unweighted mean; of a run and of a vote table."""
    by = ask("evaluate", run, "--by", "topic")["by"]
    rows = pq.read_table(run / "labels.parquet").to_pylist()
    index = {label: k for k, label in enumerate(LABELS)} | {None: -1}
    assert [(row["value"], row["n"]) for row in by["values"]] == [("peace", 40), ("tax", 80)]
    part = [row for i, row in enumerate(rows) if i % 3 == 0]
    gold, label = (np.array([index[row[key]] for row in part], np.int16) for key in ("gold", "label"))
    assert by["values"][0]["macro_f1"] == pytest.approx(score(gold, label, LABELS).macro_f1)
    assert by["mean"][0]["accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in by["values"]]))
    links = ask("evaluate", "--votes", "votes", "--by", "topic")["by"]
    assert {row["of"] for row in links["values"]} == set(LINKS)


def test_values_that_drive_a_terminal_are_quoted(here, capsys):
    """A column is data: its escape sequences are shown, not obeyed."""
    write_votes(
        here / "odd",
        [vote("a"), vote("b")],
        pa.table({"item_id": ["a", "b"], "topic": ["\x1b[31mred", "[bold]"], "gold": ["favor", "favor"]}),
    )
    assert main(["evaluate", "--votes", "odd", "--by", "topic"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "x1b[31mred" in shown
    assert "[bold]" in shown


def test_probabilities_of_links_are_their_own(run, ask):
    """The calibration of a link is that of its exponentiated log-probabilities; `rank` gives no probability."""
    found = ask("evaluate", run)
    calibration = found["links"][0]["calibration"]
    filled = [each for each in calibration["bins"] if each["n"]]
    assert (
        sum(each["n"] for each in filled)
        == calibration["n"]
        == sum(sum(row[:3]) for row in found["links"][0]["confusion"])
    )
    assert all(each["low"] <= each["mean_probability"] <= each["high"] for each in filled)
    assert 0.4 <= filled[0]["mean_probability"] <= filled[-1]["mean_probability"] <= 0.9
    assert found["final"]["calibration"] is None
    of_votes = ask("evaluate", "--votes", "votes", "--chain", ",".join(LINKS))
    assert of_votes["links"][0]["calibration"]["ece"] == pytest.approx(calibration["ece"], abs=1e-6)


def test_labels_from_a_file(here, ask, capsys):
    """As `catena plan --labels` writes them: only its items are scored, and probabilities are checked as such."""
    ids = [f"i{at}" for at in range(0, N, 2)]
    labels = pa.table(
        {"item_id": ids, "label": ["favor"] * 60, "confidence": [0.5] * 60, "link": ["big"] * 60}
    )
    pq.write_table(labels, here / "labels.parquet")
    found = ask("evaluate", "--votes", "votes", "--result", "labels.parquet")
    assert found["gold"] == 60
    share = found["final"]["per_class"]["favor"]["support"] / 60
    assert found["final"]["accuracy"] == pytest.approx(share)
    assert found["final"]["calibration"]["ece"] == pytest.approx(abs(0.5 - share))
    assert main(["evaluate", "--votes", "votes", "--result", "labels.parquet"]) == 0
    assert "60 of 120 items" in capsys.readouterr().err


def test_the_screen_is_short_unless_more_is_asked_for(run, capsys):
    """Two tables and a line; --show all adds the others, and --json needs no --show."""
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    short = capsys.readouterr().out
    assert "Against gold" in short
    assert "kappa" not in short
    assert len(short.splitlines()) < 30
    assert main(["evaluate", str(run), "--show", "all"]) == 0
    long = capsys.readouterr().out
    for title in (
        "Per class",
        "Confusion",
        "What confidences say",
        "Reliability of",
        "kappa",
        "McNemar",
        "changes",
    ):
        assert title in long


def test_seeds_move_intervals_only(run, ask):
    """Another seed resamples otherwise; scores stay."""
    one, two = ask("evaluate", run), ask("evaluate", run, "--seed", "1")
    assert one == ask("evaluate", run)
    assert one["intervals"] == {
        "method": "percentile bootstrap over items",
        "level": 0.95,
        "resamples": 2000,
        "seed": 0,
    }
    assert one["final"]["macro_f1_low"] != two["final"]["macro_f1_low"]
    assert one["final"]["macro_f1"] == two["final"]["macro_f1"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "evaluate needs a run, or --votes"),
        (["run", "--votes", "votes"], "evaluate needs a run, or --votes"),
        (["run", "--chain", "small"], "go with --votes"),
        (["--votes", "votes", "--share", "1"], "go with --chain"),
        (["--votes", "votes", "--gold", "data.csv"], "--gold goes with a run"),
        (["--votes", "votes", "--chain", "small", "--result", "x"], "Give one of them"),
        (["--votes", "votes", "--labels", "favor,maybe"], "--labels: maybe: no such label"),
        (["--votes", "votes", "--by", "nope"], "no column nope"),
        (["--votes", "votes", "--chain", "nope"], "unknown link: nope"),
        (["--votes", "votes", "--result", "data.csv"], "not a readable Parquet file"),
        (["--votes", "nope"], "can't read the labels"),
        (["nope"], "holds no run"),
    ],
)
def test_wrong_usage_is_refused(here, capsys, line, says):
    """In one line, with exit code 2."""
    assert main(["evaluate", *line]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_column_of_a_run_is_refused(run, capsys):
    """With the columns that there are."""
    assert main(["evaluate", str(run), "--by", "nope"]) == 2
    assert "The columns are id, text, topic, stance." in capsys.readouterr().err


def test_without_gold_there_is_nothing_to_evaluate(here, capsys):
    """A vote table without a column gold."""
    write_votes(here / "bare", [vote("a"), vote("b")])
    assert main(["evaluate", "--votes", "bare"]) == 2
    assert "there is no gold to evaluate against" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["gold", "label"])
def test_gold_of_people_may_come_from_a_file(here, run, ask, column):
    """By id, for some rows, in any order: only those are scored, whatever gold the run has."""
    table = pq.read_table(run / "labels.parquet").to_pylist()
    rows = [f"{row['id']},{row['label'] or 'favor'}" for row in table[30:80:2]][::-1]
    (here / "people.csv").write_text(f"id,{column}\n" + "\n".join([*rows, f"{table[0]['id']},"]) + "\n")
    found = ask("evaluate", run, "--gold", "people.csv")
    labelled = [row["label"] is not None for row in table[30:80:2]]
    assert (found["n"], found["gold"]) == (N, 25)
    assert found["final"]["accuracy"] == pytest.approx(np.mean(labelled))


def test_gold_of_people_may_come_from_a_vote_table(here, run, ask, capsys):
    """Of one annotator, who is named where there are several; items of other data do not count."""
    table = pq.read_table(run / "labels.parquet").to_pylist()
    said = {row["id"]: row["label"] or "favor" for row in table[:40]} | {"elsewhere": "none"}
    rows = [vote(name, who, label) for name, label in said.items() for who in ("ada", "bo")]
    write_votes(here / "people", rows, list(said), labels=LABELS)
    found = ask("evaluate", run, "--gold", "people:ada")
    assert found["gold"] == 40
    assert found["final"]["accuracy"] == pytest.approx(
        np.mean([row["label"] is not None for row in table[:40]])
    )
    assert main(["evaluate", str(run), "--gold", "people:ada"]) == 0
    assert "1 of its items are none of the run" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--gold", "people"]) == 2
    assert "whose labels? It has votes of ada, bo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("id,gold\nnobody,favor\n", "ids that the run does not have: nobody"),
        ("id,gold\ni1,maybe\n", "gold values outside the labels: row 1 'maybe'"),
        ("id,who\ni1,favor\n", "has no column 'gold'"),
        ("id,gold\ni1,\n", "there is no gold to evaluate against"),
    ],
)
def test_gold_that_does_not_fit_is_refused(here, run, capsys, file, says):
    """In one line, with exit code 2."""
    (here / "people.csv").write_text(file)
    assert main(["evaluate", str(run), "--gold", "people.csv"]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_of_an_unfinished_run_the_votes_so_far_are_scored(run, ask, capsys):
    """On the rows with gold that have one, and it is said."""
    for name in LINKS:
        forget(run, name, range(50, N))
    assert ask("evaluate", run)["gold"] == 50
    assert main(["evaluate", str(run)]) == 0
    assert (
        "is not finished: what its votes so far come to is scored, on the 50 rows" in capsys.readouterr().err
    )
    for name in LINKS:
        forget(run, name, range(50))
    assert main(["evaluate", str(run)]) == 2
    assert "no row with gold has a vote yet" in capsys.readouterr().err


def test_where_no_row_has_a_label_it_is_said(here, capsys):
    """Beside figures that are all 0."""
    write_votes(here / "none", [vote(f"i{at}", "small", None) for at in range(N)], labels=LABELS)
    task = "instruction: q\nlabels: [favor, against, none]\ndata: {id: id, gold: stance}\nchain:\n  - {name: small, kind: replay, votes: none}\n"
    (here / "none.yaml").write_text(task)
    assert main(["run", "none.yaml", "data.csv", "--out", "failed"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "failed"]) == 0
    assert f"None of its {N} rows has a label: the column 'reason'" in capsys.readouterr().out
