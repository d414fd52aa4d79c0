"""catena run, status, results and check over a replayed run: what they refuse, and what they say."""

import json
import re
from pathlib import Path

import pytest

from catena.cli import main
from catena.cli.watch import Watcher, _seconds_left
from catena.engine.endpoint import Endpoint, Gate
from catena.engine.progress import LinkProgress, Progress
from catena.ledger import RunLock
from catena.report.words import clock
from catena.testing.provider import FakeProvider
from catena.types import Capabilities, Failure, Vote
from chains import chain_text, openai, rows_of, texts
from tables import vote, write_votes

LINKS = ("small", "big")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with votes, a task that replays them, data, and the finished run."""
    monkeypatch.chdir(tmp_path)
    ids = [f"i{at}" for at in range(4)]
    rows = [vote(name, link, "favor", at / 10) for at, name in enumerate(ids) for link in LINKS]
    write_votes(tmp_path / "votes", rows, ids)
    chain = "".join(f"  - {{name: {name}, kind: replay, votes: votes}}\n" for name in LINKS)
    task = f"instruction: q\nlabels: [against, favor]\ndata: {{id: id}}\nchain:\n{chain}"
    (tmp_path / "task.yaml").write_text(task)
    (tmp_path / "data.csv").write_text("id,text\n" + "".join(f"{name},hello {name}\n" for name in ids))
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["results", "run", "--out", "run/labels.parquet"], "inside the run's folder"),
        (["results", "run", "--out", "run/new.csv"], "inside the run's folder"),
        (["results", "run", "--out", "data.csv"], "is the input of this run"),
        (["results", "run", "--out", "./no/../data.csv"], "is the input of this run"),
        (["results", "run", "--out", "no/labels.csv"], "no is no folder"),
        (["results", "run", "--join"], "--join goes with --out"),
        (["run", "task.yaml", "data.csv", "--out", "run", "--update", "--fresh"], "Give one of them."),
        (["run", "task.yaml", "data.csv", "--out", "data.csv"], "data.csv"),
        (["demo", "--out", "data.csv"], "data.csv"),
        (["results", "run", "--votes", "data.csv"], "data.csv"),
        (["status", "data.csv"], "data.csv"),
    ],
)
def test_what_would_do_harm_is_refused(here, capsys, line, says):
    """With exit code 2 and one line; every file stays as it is."""
    files = {path: path.read_bytes() for path in here.rglob("*") if path.is_file() and path.name != "lock"}
    capsys.readouterr()
    assert main(line) == 2
    said = capsys.readouterr().err.splitlines()
    assert says in said[-1]
    assert "internal error" not in said[-1]
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_run_that_another_process_holds_is_running(here, capsys):
    """`status` names the process; scripts read the state."""
    lock = RunLock(here / "run")
    try:
        assert main(["status", "run"]) == 0
        assert "run: running (process" in capsys.readouterr().out
        assert main(["status", "run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["state"] == "running"
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("damage", "state", "says"),
    [(b"x", "changed", "is not what the run has written"), (None, "missing", "is missing")],
)
def test_labels_that_are_not_the_runs_are_noticed(here, capsys, damage, state, says):
    """`status` says so in a line and how to have them again; the same command writes them anew."""
    labels = here / "run" / "labels.parquet"
    whole = labels.read_bytes()
    capsys.readouterr()
    assert main(["status", "run"]) == 0
    assert "Labels: run/labels.parquet" in capsys.readouterr().out
    labels.write_bytes(damage) if damage else labels.unlink()
    assert main(["status", "run"]) == 0
    captured = capsys.readouterr()
    assert f"run/labels.parquet {says}: the same catena run command writes it again" in captured.err
    assert "Labels:" not in captured.out
    assert main(["status", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == state
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    assert labels.read_bytes() == whole


def test_a_check_says_what_each_link_can_do(here, capsys):
    """And many labels are cut short."""
    text = (here / "task.yaml").read_text()
    labels = ", ".join(["against", "favor", *map(str, range(198))])
    (here / "many.yaml").write_text(text.replace("against, favor", labels))
    assert main(["check", "task.yaml", "data.csv"]) == 0
    out = capsys.readouterr().out
    assert "Labels: against, favor." in out
    assert "at a time" in out
    main(["check", "many.yaml", "data.csv"])
    assert "200 labels: against, favor, 0, 1, 2, 3, 4, 5, 6, 7, ..." in capsys.readouterr().out


def test_a_check_speaks_of_people_as_people(here, capsys):
    """They take no prompts and no calls at a time."""
    text = (here / "task.yaml").read_text() + "  - {name: ann, kind: human}\n"
    (here / "people.yaml").write_text(text)
    assert main(["check", "people.yaml", "data.csv"]) == 0
    out = capsys.readouterr().out
    (_, own) = out.split("ok  ann (human, people): people label on the page")
    assert "prompts per call" not in own


def test_a_link_that_names_no_label_is_bad(here, capsys, monkeypatch):
    """Its name stands once in the line; a replay link may lack the vote."""
    link = {
        "link": "gpt",
        "kind": "openai",
        "model": "m",
        "answered": False,
        "label": None,
        "confidence": "none",
    }
    link |= {"latency_ms": 5.0, "error": "link 'gpt' answered 'maybe'", "most_usd": 0.5}
    replay = link | {"link": "old", "kind": "replay", "answered": True, "error": "no vote is recorded"}
    result = {"name": "t", "n": 4, "links": [link, replay], "most_usd": 1.0, "paid_usd": 0.0}
    monkeypatch.setattr("catena.engine.check.check_task", lambda *_: result)
    assert main(["check", "task.yaml", "data.csv"]) == 1
    said = capsys.readouterr()
    assert "BAD gpt (openai, m): answered 'maybe' in 5 ms\n" in said.out
    assert "ok  old (replay, m): no vote is recorded" in said.out
    assert said.err == "catena: gpt gave no label. Put that right before you run the task.\n"


def test_the_time_left_is_that_of_the_slowest_link():
    """By its own rate of late; unknown while a link with work has answered nothing."""
    links = [LinkProgress("small", "m", 100), LinkProgress("big", "m", 50)]
    watcher = Watcher()
    watcher.begin(Progress(100, links))
    assert watcher._left() is None
    assert watcher._line(watcher._progress).endswith("spent $0")
    watcher._seen.extend([(0.0, [0, 0]), (10.0, [50, 0])])
    links[0].answered = 50
    assert watcher._left() is None
    watcher._seen.append((20.0, [90, 10]))
    links[0].answered, links[1].answered = 90, 10
    assert watcher._left() == pytest.approx(80.0)
    assert watcher._line(watcher._progress).endswith("; 1:20 left")
    assert _seconds_left(LinkProgress("done", "m", 5, answered=5), None) == 0.0
    assert (clock(None), clock(80.0), clock(3700.0)) == ("-", "1:20", "1:01:40")


def test_an_outage_is_seen_while_it_is_waited_out():
    """The link says that no call works and why, until one does; a link that has made no call says nothing."""
    endpoint = Endpoint("server", [Capabilities(), Capabilities()])
    small, big = (LinkProgress(name, "m", 100, gate=Gate(endpoint, Capabilities())) for name in LINKS)
    watcher, progress = Watcher(), Progress(100, [small, big])
    watcher.begin(progress)
    refused = Failure("transport", "Connection refused")
    for at in range(10):
        assert "no call works" not in watcher._line(progress)
        small.gate.note(refused)
        endpoint.circuit.end([f"prompt {at}"], [refused], at, at)
    of_small, of_big = watcher._line(progress).split("; ")[:2]
    assert of_small.endswith("0 failed, no call works, still trying: Connection refused")
    assert of_big.endswith("at a time")
    endpoint.circuit.end(["prompt"], [Vote("favor")], 10, 10)
    assert "no call works" not in watcher._line(progress)


def test_a_check_shows_what_servers_give_and_recommends(tmp_path, monkeypatch, capsys):
    """One table for people: log-probabilities, where labels part, limits, price; with --json all that was found."""
    monkeypatch.chdir(tmp_path)
    labels = ["pro-war", "pro-peace", "neutral"]
    serves = ["tokenize", "json_schema", "prompt_logprobs"]
    with (
        FakeProvider(labels=labels, serves=serves, rate=500, burst=500, quirk="vllm") as local,
        FakeProvider(labels=labels, no_logprobs=True) as silent,
    ):
        links = (
            openai(local, price={"input": 0.15, "output": 0.6}),
            openai(silent, "quiet", confidence="auto"),
        )
        Path("task.yaml").write_text(chain_text(*links, labels=labels, data={"id": "id"}))
        rows_of(texts(4)).to_csv("data.csv", index=False)
        assert main(["check", "task.yaml", "data.csv"]) == 0
        out = capsys.readouterr().out
        assert main(["check", "task.yaml", "data.csv", "--json"]) == 0
        small, quiet = json.loads(capsys.readouterr().out)["links"]
    for line in (
        r"log-probabilities +yes, 20 a token +no",
        r"labels part at +tokens 1 to 3 +-",
        r"share a first token +pro-war, pro-peace +-",
        r"JSON schema +yes +no",
        r"scores labels itself +whole labels +no",
        r"its limits +500 requests +not said",
        r"USD per 1M tokens +0.15 in, 0.6 out +free",
        r"best confidence +confidence: logprobs +confidence: samples",
    ):
        assert re.search(line, out), line
    assert "recommended: confidence: samples (its server answers without log-probabilities)" in out
    assert small["gives"]["tokens"]["pro-war"] == ["pro", "-", "war"]
    assert small["gives"]["scoring"] == ["likelihood"]
    assert "its server scores labels itself: write scoring: likelihood (3 calls a row)" in " ".join(
        out.split()
    )
    assert [each["outcome"] for each in quiet["recommended"]["tried"]] == ["gives_none", "gives"]


def test_links_that_are_never_heard_are_named(tmp_path, monkeypatch, capsys):
    """Votes without a confidence rank lowest: paid for, and no label is theirs. `last` takes them, without a call."""
    monkeypatch.chdir(tmp_path)
    rows_of(texts(12)).to_csv("data.csv", index=False)
    with FakeProvider(no_logprobs=True) as silent:
        links = openai(silent, "small"), openai(silent, "big")
        Path("task.yaml").write_text(chain_text(*links, data={"id": "id"}))
        assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
        said = capsys.readouterr().err
        assert "no label is that of big, where 6 rows ended: such votes have no confidence" in said
        calls = len(silent.calls())
        Path("last.yaml").write_text(chain_text(*links, data={"id": "id"}, aggregate="last"))
        assert main(["run", "last.yaml", "data.csv", "--out", "run"]) == 0
        assert "no label is that of" not in capsys.readouterr().err
        assert len(silent.calls()) == calls
    capsys.readouterr()
    assert main(["run", "last.yaml", "data.csv", "--out", "run", "--json"]) == 0
    assert [link["labels"] for link in json.loads(capsys.readouterr().out)["links"]] == [6, 6]


def test_links_that_only_failed_are_not_said_to_be_unheard(tmp_path, monkeypatch, capsys):
    """Empty texts reach them and have no label: nothing is lost there."""
    monkeypatch.chdir(tmp_path)
    rows_of(["fine", "", " "]).to_csv("data.csv", index=False)
    with FakeProvider() as provider:
        text = chain_text(openai(provider, "small"), openai(provider, "big"), data={"id": "id"})
        Path("task.yaml").write_text(text)
        assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    said = capsys.readouterr()
    assert "2 of 3 rows without a label" in said.out
    assert "no label is that of" not in said.err


def test_a_status_says_where_confidences_come_from(tmp_path, monkeypatch, capsys):
    """What a run resolved is shown, and is in the document."""
    monkeypatch.chdir(tmp_path)
    with FakeProvider(labels=["favor", "against"], no_logprobs=True) as provider:
        text = chain_text(openai(provider, confidence="auto"), labels=["favor", "against"], data={"id": "id"})
        Path("task.yaml").write_text(text)
        rows_of(texts(4)).to_csv("data.csv", index=False)
        assert main(["run", "task.yaml", "data.csv", "--out", "run", "--json"]) == 0
        (link,) = json.loads(capsys.readouterr().out)["links"]
    assert (link["confidence"], link["resolution"]["by"]) == ("samples", "probe")
    assert main(["status", "run"]) == 0
    assert "confidence from samples" in capsys.readouterr().out
