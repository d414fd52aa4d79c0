"""A plan of five links, all the way: the task file, its replay, a run, the report, and what people are shown."""

import csv
import json
from collections import Counter

import pytest
import yaml

from catena.cli import main
from catena.task import load_task
from catena.testing.provider import FakeProvider
from chains import LABELS, chain_text, label_bytes, openai, texts
from panels import panel
from tables import vote, write_votes

NAMES = ("a-small-one", "a-second-one", "a-third-one", "a-fourth-one", "a-fifth-one")
N, PILOT = 700, 160


def write_five(folder, uneven, full):
    """Write five links of equal skill that err apart as a vote table."""
    votes, words = panel([1.2] * 5, shared=0.1, prices=[1] * 5, uneven=uneven, lost=0.01)
    rows = [
        vote(
            item,
            name,
            votes.labels[votes.label[j, i]],
            float(votes.confidence[j, i]),
            cost_usd=float(votes.cost_usd[j, i]),
            label_logprobs=words[j, i].tolist() if full else None,
        )
        for j, name in enumerate(NAMES)
        for i, item in enumerate(votes.item_ids)
        if votes.recorded[j, i]
    ]
    gold = [votes.labels[k] for k in votes.gold]
    return write_votes(folder, rows, votes.item_ids.tolist(), gold=gold, labels=list(votes.labels))


@pytest.mark.parametrize(("uneven", "full"), [(0.3, False), (0.0, True)])
def test_simulate_replays_five_links(tmp_path, capsys, uneven, full):
    """The task file holds all that decides: the same labels byte for byte, at the same cost, with five shares."""
    votes = write_five(tmp_path / "votes", uneven, full)
    task, first, again = (tmp_path / name for name in ("plan.yaml", "first.parquet", "again.parquet"))
    asked = ["--pilot", "200", "--budget", "4.5x:a-small-one", "--task", str(task), "--labels", str(first)]
    assert main(["plan", str(votes), *asked, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert len(planned["chain"]) == len(planned["policy"]["share"]) == 5
    assert [len(weights) for weights in planned["aggregate"]["calibrated"]["weights"]] == [1, 2, 3, 4, 5]
    assert main(["simulate", str(votes), "--task", str(task), "--labels", str(again), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert first.read_bytes() == again.read_bytes()
    assert replayed["cost_usd"] == pytest.approx(planned["held_out"]["cost_usd"])


def test_links_limits_chains(tmp_path, capsys):
    """--links 3 plans no longer chain; 0 is refused."""
    votes = write_five(tmp_path / "votes", 0.0, full=False)
    asked = ["plan", str(votes), "--pilot", "200", "--budget", "4.5x:a-small-one", "--json"]
    assert main([*asked, "--links", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert max(len(each["chain"]) for each in found["frontier"]) == 3
    assert main([*asked, "--links", "0"]) == 2


def test_people_can_read_five_links(tmp_path, capsys):
    """Shares of a long chain stand four to a line, so that no number is cut in two."""
    votes = write_five(tmp_path / "votes", 0.0, full=False)
    assert main(["plan", str(votes), "--pilot", "200", "--budget", "4.5x:a-small-one"]) == 0
    said = capsys.readouterr().out
    assert max(line.count("%/") for line in said.splitlines()) == 4
    assert "Take " in said
    assert said.partition("Take ")[2].partition(":")[0].count(" > ") == 4


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a task of five links that err apart, and its data; they cost the same."""
    gold = {text: LABELS[at % 3] for at, text in enumerate(texts(N))}
    accuracy = dict.fromkeys(NAMES, 0.62)
    with FakeProvider(labels=list(LABELS), gold=gold, accuracy=accuracy, sharpness=1.0) as provider:
        monkeypatch.chdir(tmp_path)
        chain = [openai(provider, name, price={"input": 1.0, "output": 1.0}) for name in NAMES]
        task = chain_text(*chain, data={"id": "id", "gold": "gold"})
        (tmp_path / "task.yaml").write_text(task, "utf-8")
        with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "text", "gold"])
            rows.writerows((f"i{at}", text, label) for at, (text, label) in enumerate(gold.items()))
        yield provider


def test_five_links_are_planned_run_replayed_and_reported(here, tmp_path, capsys):
    """The run buys no vote twice and keeps to the money, a replay of its votes decides the same, the report shows all links."""
    asked = ["--pilot", str(PILOT), "--budget", "4.5x:a-small-one", "--json"]
    assert main(["plan", "task.yaml", "data.csv", "--out", "run", *asked]) == 0
    chain = json.loads(capsys.readouterr().out)["chain"]
    assert len(chain) == 5
    assert main(["run", "run/plan.yaml", "data.csv", "--out", "run"]) == 0
    assert set(Counter((call.model, call.key) for call in here.calls()).values()) == {1}
    calls = Counter(call.model for call in here.calls())
    assert 4.2 * N <= sum(calls.values()) <= 4.5 * N + 5 * PILOT
    assert main(["results", "run", "--votes", "votes"]) == 0
    task = load_task(tmp_path / "run" / "plan.yaml")
    links = [{"name": link.name, "kind": "replay", "votes": "votes"} for link in task.chain]
    replayed = yaml.safe_load((tmp_path / "run" / "plan.yaml").read_text("utf-8"))
    (tmp_path / "replay.yaml").write_text(yaml.safe_dump(replayed | {"chain": links}), "utf-8")
    assert main(["run", "replay.yaml", "data.csv", "--out", "again"]) == 0
    assert label_bytes(tmp_path / "run") == label_bytes(tmp_path / "again")
    assert main(["check", "run/plan.yaml", "data.csv", "--estimate"]) == 0
    pytest.importorskip("altair")
    assert main(["report", "run"]) == 0
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert all(name in page for name in NAMES)
