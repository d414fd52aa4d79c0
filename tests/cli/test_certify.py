"""catena certify and catena check --certificate: what is promised, written down, and noticed if touched."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest
import yaml

from catena.cli import main
from panels import panel
from tables import vote, write_votes

KEYS = {
    "certified", "chain", "reference", "agreement", "delta", "n", "allowed_wrong", "feasibility", "policy", "aggregate",
    "sample", "links", "escalated", "calls", "cost_usd", "cost_share", "cuts",
}  # fmt: skip


def table(folder, keep=None, **changed):
    """Write a panel of three links as a vote table; of the last link only the votes on `keep`, if given."""
    votes, _ = panel([0.6, 1.3, 2.2], n=400, uneven=0.2)
    for (link, item), label in changed.get("labels", {}).items():
        votes.label[link, item] = label
    last = len(votes.links) - 1
    rows = [
        vote(
            item,
            link,
            votes.labels[votes.label[j, i]],
            float(votes.confidence[j, i]),
            cost_usd=float(votes.cost_usd[j, i]),
        )
        for j, link in enumerate(votes.links)
        for i, item in enumerate(votes.item_ids)
        if j < last or keep is None or item in keep
    ]
    gold = [votes.labels[k] for k in votes.gold] if changed.get("gold", True) else None
    return write_votes(folder, rows, votes.item_ids.tolist(), gold=gold, labels=list(votes.labels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A vote table."""
    return table(tmp_path_factory.mktemp("certify") / "votes")


@pytest.fixture
def run(capsys):
    """Run a command and return its exit code and document."""

    def go(*arguments):
        capsys.readouterr()
        code = main([*map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return go


def certify(run, folder, *more, chain="link0,link1,link2"):
    """Run the command and return its document."""
    code, document = run("certify", folder, "--chain", chain, "--agreement", "0.8", *more)
    assert code == 0
    return document


def test_the_document(run, folder):
    """It has its keys, its counts add up, and the calls are those of draw and chain together."""
    found = certify(run, folder)
    assert set(found) == KEYS
    assert sum(link["kept"] for link in found["links"]) == found["n"] == 400
    assert found["links"][-1]["kept"] == found["escalated"]["n"] <= found["calls"]["n"]
    assert found["calls"]["n"] <= found["escalated"]["n"] + found["sample"]["n"]
    assert found["calls"]["share"] == found["calls"]["n"] / 400
    assert 0 < found["cost_share"] < 1.2
    assert len(found["policy"]["threshold"]) == 2


def test_nothing_is_written_into_the_table(run, folder):
    """Names and times of change are the same after as before."""
    before = sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder))
    certify(run, folder)
    assert sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder)) == before


@pytest.mark.parametrize("reference", ["link2", "gold"])
def test_other_items_votes_of_the_reference_are_not_needed(run, folder, tmp_path, reference):
    """The document and the certificate are the same without them, but for the folder's name."""
    share = "0.8" if reference == "link2" else "0.6"
    options = ["--agreement", share, "--reference", reference, "--certificate"]
    whole = certify(run, folder, *options, tmp_path / "whole.json")
    said = json.loads((tmp_path / "whole.json").read_text("utf-8"))
    drawn = {each["item"] for each in said["fit"] + said["sample"]}
    part = table(tmp_path / "votes", drawn)
    assert certify(run, part, *options, tmp_path / "part.json") == whole
    assert json.loads((tmp_path / "part.json").read_text("utf-8")) | {"votes": said["votes"]} == said


def test_the_task_file_routes_as_certified(run, folder, tmp_path):
    """Its thresholds, applied to the votes, keep the promised numbers of items."""
    found = certify(run, folder, "--task", tmp_path / "task.yaml")
    task = yaml.safe_load((tmp_path / "task.yaml").read_text("utf-8"))
    votes, _ = panel([0.6, 1.3, 2.2], n=400, uneven=0.2)
    first, second = (
        np.array(votes.confidence[j]) >= least for j, least in enumerate(task["policy"]["threshold"])
    )
    assert [link["name"] for link in task["chain"]] == ["link0", "link1", "link2"]
    assert [first.sum(), (second & ~first).sum()] == [link["kept"] for link in found["links"][:2]]
    assert (task["aggregate"], task["labels"]) == ("last", list(votes.labels))


def test_a_certificate_is_worked_out_again(run, folder, tmp_path):
    """From its votes where they were, or where they are now."""
    file = tmp_path / "promise.json"
    certify(run, folder, "--certificate", file)
    for more in ([], [folder]):
        code, document = run("check", "--certificate", file, *more)
        assert (code, document["well"], document["differs"]) == (0, True, [])
    moved = table(tmp_path / "moved")
    assert run("check", "--certificate", file, moved)[0] == 0


def leaves(value, path=()):
    """Yield the path and value of every number and text in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        yield path, value
    for key, each in inner:
        yield from leaves(each, (*path, key))


def test_tampering_is_noticed(run, folder, tmp_path):
    """Whatever single value is changed but the folder: the check ends with exit code 1, or 2 where it makes no sense."""
    file, bad = tmp_path / "promise.json", tmp_path / "bad.json"
    certify(run, folder, "--certificate", file)
    said = json.loads(file.read_text("utf-8"))
    places = [(path, value) for path, value in leaves(said) if path != ("votes",)]
    chosen = [each for a, each in pairwise([(("",), None), *places]) if a[0][0] != each[0][0]] + places[::41]
    assert len(chosen) > 20
    for path, value in chosen:
        document = json.loads(json.dumps(said))
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = (
            value + 1 if isinstance(value, int) else value * 1.001 + 1e-7 if isinstance(value, float) else "x"
        )
        bad.write_text(json.dumps(document), "utf-8")
        assert run("check", "--certificate", bad)[0] in {1, 2}, path


@pytest.mark.parametrize("link", [0, 2])
def test_changed_votes_are_noticed(run, folder, tmp_path, link):
    """A vote of an earlier link anywhere, or of the reference on a drawn item."""
    file = tmp_path / "promise.json"
    certify(run, folder, "--certificate", file)
    drawn = json.loads(file.read_text("utf-8"))["sample"][0]
    item, label = int(drawn["item"][1:]), int(drawn["reference"][-1])
    changed = table(tmp_path / "votes", labels={(link, item): (label + 1) % 3, (0, 7): 2, (0, 8): 2})
    code, document = run("check", "--certificate", file, changed)
    assert code == 1
    assert document["differs"]


def test_people_read_the_feasibility_first(folder, capsys):
    """Then the chain, the promise and the calls."""
    assert main(["certify", str(folder), "--chain", "link0,link2", "--agreement", "0.9"]) == 0
    said = capsys.readouterr().out
    order = [
        said.index(words)
        for words in ("Feasibility: link0 disagrees", "keeps from", "With chance 90 %", "It takes")
    ]
    assert order == sorted(order)
    assert order[0] == 0


def test_a_promise_that_can_not_be_given(run, folder, tmp_path, capsys):
    """Is no error; it is said, and no task file is written."""
    found = certify(
        run, folder, "--reference", "gold", "--agreement", "0.97", "--task", tmp_path / "task.yaml"
    )
    assert found["certified"] is False
    assert not (tmp_path / "task.yaml").exists()
    assert (
        main(["certify", str(folder), "--chain", "link0,link2", "--reference", "gold", "--agreement", "0.97"])
        == 0
    )
    assert "nothing can be promised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--chain", "link0,nope"], "unknown link: nope"),
        (["--chain", "link0"], "at least two links"),
        (["--chain", "link0,link0"], "names each of its links once"),
        (["--chain", "link0,link2", "--reference", "nope"], "unknown link: nope"),
        (["--chain", "link0,link2", "--reference", "link0"], "can't be the reference"),
        (["--chain", "link0,link2", "--agreement", "much"], "not a share"),
        (["--chain", "link0,link2", "--agreement", "1.2"], "from 0 to 1"),
        (["--chain", "link0,link2", "--delta", "0"], "above 0 and below 1"),
        (["--chain", "link0,link2", "--delta", "nan"], "above 0 and below 1"),
        (["--chain", "link0,link2", "--sample", "0"], "at least one item"),
        (["--chain", "link0,link2", "--task", "votes/x.yaml"], "inside the vote table"),
        (["--chain", "link0,link2", "--certificate", "no/x.json"], "no is no folder"),
    ],
)
def test_wrong_wishes_are_refused(folder, capsys, monkeypatch, how, says):
    """In one line, with exit code 2."""
    monkeypatch.chdir(folder.parent)
    assert main(["certify", "votes", *how]) == 2
    assert says in capsys.readouterr().err


def test_gold_must_be_there(tmp_path, capsys):
    """A table without gold can't be held against it."""
    bare = table(tmp_path / "votes", gold=False)
    assert main(["certify", str(bare), "--chain", "link0,link2", "--reference", "gold"]) == 2
    assert "no gold" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"certificate": 1, "sure": true}', "\x00"])
def test_what_is_no_certificate_is_refused(tmp_path, capsys, text):
    """In one line, with exit code 2."""
    file = tmp_path / "promise.json"
    file.write_text(text, "utf-8")
    assert main(["check", "--certificate", str(file)]) == 2
    assert "not a certificate" in capsys.readouterr().err
    assert main(["check", "--certificate", str(tmp_path / "none.json")]) == 2
    assert "can't read the certificate" in capsys.readouterr().err


def test_a_certificate_is_checked_by_itself(tmp_path, capsys):
    """Together with a ledger, a repair or data it makes no sense."""
    for more in (["--ledger", "run"], ["--repair"], ["votes", "data.csv"]):
        assert main(["check", "--certificate", str(tmp_path), *more]) == 2
        assert "--certificate goes with" in capsys.readouterr().err


def test_the_task_file_replays_as_it_was_certified(run, folder, tmp_path):
    """`simulate --task` keeps on each link what the certificate says, and asks the last link about the rest."""
    task = tmp_path / "certified.yaml"
    code, document = run(
        "certify", folder, "--chain", "link0,link1,link2", "--agreement", "0.8", "--task", task
    )
    assert (code, document["certified"]) == (0, True)
    code, replayed = run("simulate", folder, "--task", task)
    assert code == 0
    assert replayed["aggregate"] == "last"
    assert replayed["links"][-1]["received"] == document["escalated"]["n"]
