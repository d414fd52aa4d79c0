"""catena plan: what scripts read from it, and the task file that it writes."""

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from catena.cli import main
from panels import panel
from tables import vote, write_votes

KEYS = {"chain", "policy", "aggregate", "pilot", "expected", "held_out", "best_single", "frontier"}
EXPECTED = {"accuracy", "accuracy_low", "accuracy_high", "macro_f1", "cost_share"}


def table(folder, uneven=0.3, full=False):
    """Write a panel as a vote table."""
    votes, logprobs = panel([0.6, 1.2, 1.9], n=500, uneven=uneven, lost=0.01)
    rows = [
        vote(
            item,
            link,
            None if votes.label[j, i] < 0 else votes.labels[votes.label[j, i]],
            None if np.isnan(votes.confidence[j, i]) else float(votes.confidence[j, i]),
            cost_usd=float(votes.cost_usd[j, i]),
            label_logprobs=logprobs[j, i].tolist() if full else None,
        )
        for j, link in enumerate(votes.links)
        for i, item in enumerate(votes.item_ids)
        if votes.recorded[j, i]
    ]
    gold = [votes.labels[k] for k in votes.gold]
    return write_votes(folder, rows, votes.item_ids.tolist(), gold=gold, labels=list(votes.labels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A vote table with prices that differ by item."""
    return table(tmp_path_factory.mktemp("plan") / "votes")


@pytest.fixture
def plan(folder, capsys):
    """Run the command and return its document."""

    def run(*arguments):
        capsys.readouterr()
        assert main(["plan", str(folder), "--pilot", "120", "--json", *map(str, arguments)]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_the_document(plan):
    """It has the promised keys, and the frontier those of a plan."""
    found = plan("--budget", "0.5x:link2")
    assert set(found) >= KEYS
    assert set(found["expected"]) == EXPECTED
    assert set(found["pilot"]) == {"n", "accuracy", "cost_usd"}
    assert set(found["held_out"]) >= {"n", "accuracy", "macro_f1", "cost_usd", "cost_share"}
    assert set(found["best_single"]) == {"link", "accuracy", "macro_f1"}
    assert set(found["frontier"][0]) == {"chain", "shares"} | EXPECTED
    assert (found["pilot"]["n"], found["held_out"]["n"]) == (120, 380)
    assert found["held_out"]["cost_share"] <= 0.51


@pytest.mark.parametrize(("uneven", "full"), [(0.3, False), (0.0, False), (0.3, True), (0.0, True)])
@pytest.mark.parametrize("budget", ["0.2x:link2", "1x:link2"])
def test_simulate_gives_the_same_labels(tmp_path, capsys, uneven, full, budget):
    """The task file holds all that decides: the labels are the same byte for byte, and so are the figures."""
    votes = table(tmp_path / "votes", uneven, full)
    task, first, again = (tmp_path / name for name in ("plan.yaml", "first.parquet", "again.parquet"))
    options = ["--pilot", "120", "--budget", budget, "--task", str(task), "--labels", str(first), "--json"]
    assert main(["plan", str(votes), *options]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(["simulate", str(votes), "--task", str(task), "--labels", str(again), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert first.read_bytes() == again.read_bytes()
    assert replayed["chain"] == planned["chain"]
    assert replayed["cost_usd"] == pytest.approx(planned["held_out"]["cost_usd"])
    assert replayed["aggregates"]["calibrated"]["accuracy"] == planned["held_out"]["accuracy"]


def test_the_labels_file(plan, tmp_path):
    """item_id, label, confidence and link of the items outside the pilot, in input order."""
    file = tmp_path / "labels.parquet"
    plan("--budget", "0.5x", "--labels", file)
    found = pq.read_table(file)
    assert found.column_names == ["item_id", "label", "confidence", "link"]
    numbers = [int(item[1:]) for item in found["item_id"].to_pylist()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 380
    assert all(0 < sure <= 1 for sure in found["confidence"].to_pylist() if sure is not None)


def test_the_same_command_gives_the_same_plan(plan):
    """Another seed gives another pilot."""
    assert plan("--budget", "0.5x") == plan("--budget", "0.5x")
    assert plan("--budget", "0.5x", "--seed", 1)["pilot"] != plan("--budget", "0.5x")["pilot"]


def test_nothing_is_written_into_the_table(folder, plan):
    """Names, sizes and times of change are the same after as before."""
    before = sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder))
    plan("--budget", "0.5x")
    assert sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder)) == before


def test_people_get_a_recommendation(folder, capsys):
    """The frontier with intervals, the single links, one sentence, the pilot's cost, and when the plan pays."""
    assert main(["plan", str(folder), "--pilot", "120", "--budget", "0.5x:link2"]) == 0
    said = capsys.readouterr().out
    for words in (
        "95 % interval",
        "link0",
        "Take ",
        "The pilot of 120 items cost",
        "rows.",
        "On the other 380",
    ):
        assert words in said


def test_what_is_chosen_by_is_shown(folder, capsys):
    """Macro-F1 of the frontier, of each link and of the plan; agreement is called so, and nothing accuracy."""
    assert main(["plan", str(folder), "--pilot", "120", "--metric", "macro_f1", "--budget", "1x:link2"]) == 0
    said = capsys.readouterr().out
    assert sum("macro-F1" in line and line.endswith("cost") for line in said.splitlines()) == 2
    assert ": macro-F1 0." in said
    assert main(["plan", str(folder), "--pilot", "120", "--metric", "agreement"]) == 0
    said = capsys.readouterr().out
    assert "% agreement expected" in said
    assert "% agreement, macro-F1" in said
    assert " accuracy" not in said
    assert "The plan asks link2 alone, and saves nothing." in said


def test_a_table_without_gold_is_planned_by_a_link(folder, tmp_path, capsys):
    """The refusal names the way: agreement with a link."""
    ids = [f"i{at}" for at in range(60)]
    bare = write_votes(tmp_path / "bare", [vote(each, cost_usd=1.0) for each in ids], ids)
    assert main(["plan", str(bare), "--pilot", "30"]) == 2
    assert (
        "no item has gold to plan by. Plan by agreement with a link: --reference" in capsys.readouterr().err
    )


def test_a_target_out_of_reach_is_said(folder, capsys):
    """On stderr; the best plan is given all the same."""
    assert main(["plan", str(folder), "--pilot", "120", "--target", "accuracy=0.999"]) == 0
    assert "target" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--budget", "much"], "not a budget"),
        (["--budget", ""], "not a budget"),
        (["--target", ""], "not a target"),
        (["--pilot", "500"], "none is left to plan for"),
        (["--budget", "1x:nope"], "no link 'nope'"),
        (["--budget", "0.001x"], "surely pays for no link"),
        (["--target", "much"], "not a target"),
        (["--pilot", "9999"], "have gold"),
        (["--labels", "votes/x.parquet"], "inside the vote table"),
        (["--task", "no/x.yaml"], "no is no folder"),
    ],
)
def test_wrong_wishes_are_refused(folder, capsys, monkeypatch, how, says):
    """In one line, with exit code 2."""
    monkeypatch.chdir(folder.parent)
    assert main(["plan", "votes", *how]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("weights:", "weight:", "unknown key 'weight'"),
        ("- name: link", "- name: other", "policy.spend: usd and follows lack: other"),
        ("rank_by: calibrated", "rank_by: luck", "policy: rank_by: unknown choice"),
        ("label0", "label9", "labels of the task"),
    ],
)
def test_a_broken_plan_is_refused(folder, plan, tmp_path, capsys, old, new, says):
    """In one line, with exit code 2."""
    file = tmp_path / "plan.yaml"
    plan("--budget", "0.5x:link2", "--task", file)
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    assert main(["simulate", str(folder), "--task", str(file)]) == 2
    assert says in capsys.readouterr().err
