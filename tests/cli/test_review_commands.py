"""catena review, export, import: what waits, gold from people, and labels from other tools."""

import json
import threading
import time
from uuid import uuid5

import pytest

from catena.cli import main
from catena.data.argilla import SPACE
from catena.engine import people as engine
from catena.engine.run import Run
from catena.ledger import Ledger, WritableLedger
from catena.ledger.desk import Desk
from chains import execute, labels_of, votes_in
from people import at_desk, data_of, person, recorded, task_of, text_of

N = 12


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)


@pytest.fixture
def out(tmp_path):
    """A run of which people have labelled 6 items of 12."""
    votes = recorded(tmp_path / "votes", N)
    with person(tmp_path / "r", 6, says=lambda claim: "none" if claim.row < 2 else "favor"):
        execute(task_of(votes), data_of(N, topic=["parks"] * N), tmp_path / "r")
    return tmp_path / "r"


def run(capsys, *words):
    """Run a command, and return its exit code and its document."""
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_review_says_who_has_labelled(out, capsys):
    """And what waits, and how far people agree."""
    code, document = run(capsys, "review", out)
    (queue,) = document["queues"]
    assert code == 0
    assert (queue["link"], queue["waiting"], queue["labelled"], queue["people"]) == (
        "people",
        0,
        6,
        {"Ada": 6},
    )
    assert queue["agreement"] == {"items": 0, "alpha": None, "pairs": []}


def test_review_needs_people(tmp_path, capsys):
    """A run without any says how to have some."""
    votes = recorded(tmp_path / "votes", N)
    execute(task_of(votes), data_of(N), tmp_path / "r", without_people=True)
    (tmp_path / "r" / "desk.sqlite").unlink()
    code, document = run(capsys, "review", tmp_path / "r")
    assert (code, "nothing has reached a person" in document["error"]) == (2, True)


@pytest.mark.parametrize("name", ["label-studio", "argilla", "crowd-kit"])
def test_labels_of_other_tools_change_the_result(out, tmp_path, capsys, name):
    """A run is exported, labelled elsewhere by somebody else, and imported; the same command takes it in."""
    file = tmp_path / ("f.csv" if name == "crowd-kit" else "f.json")
    code, document = run(capsys, "export", out, file, "--to", name)
    assert (code, document["items"], document["people_labels"]) == (0, N, 6)
    text = file.read_text("utf-8")
    file.write_text(
        text.replace("Ada", "Bo").replace('"none"', '"against"').replace(",none,", ",against,"), "utf-8"
    )
    if name == "argilla":
        assert str(uuid5(SPACE, "Ada")) in text
    code, document = run(capsys, "import", out, file, "--from", name)
    assert (code, document["labels"], document["new"], document["people"]) == (0, 6, 6, 1)
    code, document = run(capsys, "import", out, file, "--from", name)
    assert (code, document["new"]) == (0, 0)
    execute(task_of(tmp_path / "votes"), data_of(N, topic=["parks"] * N), out)
    with Ledger(out) as ledger:
        answers = {row: answer for row, _, answer, _ in ledger.answers(ledger.links()["people"][0])}
    assert answers[0].model == "Ada, Bo"
    assert (answers[0].label, answers[0].confidence) == ("none", 0.5)


def test_only_some_items(out, tmp_path, capsys):
    """Those on which votes differ: people said otherwise than the link on two. None waits."""
    _, document = run(capsys, "export", out, tmp_path / "d.json", "--to", "argilla", "--only", "disagreeing")
    assert document["items"] == 2
    _, document = run(capsys, "export", out, tmp_path / "w.json", "--to", "argilla", "--only", "waiting")
    assert (document["items"], json.loads((tmp_path / "w.json").read_text("utf-8"))) == (0, [])


def test_waiting_items_with_suggestions(tmp_path, capsys):
    """Of a run that waits for people, what waits is exported with what links said; imported, the run needs nobody."""
    votes = recorded(tmp_path / "votes", N)
    out = tmp_path / "r"
    task, data = task_of(votes), data_of(N)

    thread = threading.Thread(target=lambda: Run(task, data, out).execute())
    thread.start()
    with at_desk(out) as (_, desk, queue):
        while desk.counts(queue.number).waiting < 6:
            time.sleep(0.01)
    document = run(capsys, "status", out)[1]
    while document["links"][0]["answered"] < N:  # votes are committed in groups
        document = run(capsys, "status", out)[1]
    assert document["waiting_for_people"] == {"people": 6}
    _, document = run(capsys, "export", out, tmp_path / "w.json", "--to", "label-studio", "--only", "waiting")
    assert document["items"] == 6
    tasks = json.loads((tmp_path / "w.json").read_text("utf-8"))
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"small"}
    for each in tasks:
        result = each["predictions"][0]["result"][0] | {"value": {"choices": ["against"]}}
        each["annotations"] = [{"completed_by": {"email": "ada@example.org"}, "result": [result]}]
    (tmp_path / "w.json").write_text(json.dumps(tasks), "utf-8")
    code, document = run(capsys, "import", out, tmp_path / "w.json", "--from", "label-studio")
    assert (code, document["new"], document["waiting"]) == (0, 6, 0)
    thread.join(30)
    assert [row["label"] for row in labels_of(out)] == ["against"] * 6 + ["favor"] * 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,worker,label\ni0,Bo,favor\nzz,Bo,favor\n", "items that are not in the run: row 2: 'zz'"),
        ("task,worker,label\ni0,Bo,maybe\ni1,Bo,favor\n", "labels that the task lacks: row 1: 'maybe'"),
        ("task,worker,label\ni0," + "x" * 70 + ",favor\n", "row 1: a name has 1 to 64"),
    ],
)
def test_what_does_not_fit_is_refused_whole(out, tmp_path, capsys, text, said):
    """An unknown item, label or name: one line with the places, and nothing is taken in."""
    (tmp_path / "f.csv").write_text(text, "utf-8")
    code, document = run(capsys, "import", out, tmp_path / "f.csv", "--from", "crowd-kit")
    assert (code, said in document["error"]) == (2, True), document
    with Desk(out) as desk:
        assert desk.annotators(1) == {"Ada": 6}


def test_items_that_never_reached_people_keep_what_is_said_of_them(out, tmp_path, capsys):
    """They are known at the desk; if another decision forwards them, nobody is asked."""
    (tmp_path / "f.csv").write_text("task,worker,label\ni11,Bo,none\n", "utf-8")
    code, document = run(capsys, "import", out, tmp_path / "f.csv", "--from", "crowd-kit")
    assert (code, document["new"], document["waiting"]) == (0, 1, 0)
    task = task_of(tmp_path / "votes", {"policy": {"share": [0, 1]}})
    with person(out, 5, says=lambda claim: "against", name="Cy"):
        labels = execute(task, data_of(N, topic=["parks"] * N), out)
    assert labels[11]["label"] == "none"


def test_a_run_is_finished_on_command(tmp_path, capsys):
    """`catena run --without-people`, and `catena review --finish` where nobody works on the run any more."""
    votes = recorded(tmp_path / "votes", N)
    (tmp_path / "task.yaml").write_text(text_of(votes), "utf-8")
    data_of(N).to_csv(tmp_path / "rows.csv", index=False)
    files = [tmp_path / "task.yaml", tmp_path / "rows.csv", "--out"]
    code, document = run(capsys, "run", *files, tmp_path / "r", "--without-people")
    assert (code, document["labelled"], document["links"][1]["failed"]) == (0, N, 6)
    code, document = run(capsys, "run", *files, tmp_path / "r", "--retry-failed", "--without-people")
    assert (code, document["labelled"]) == (0, N)
    with Desk(tmp_path / "r") as desk, desk.changing() as db:
        db.execute("UPDATE items SET open = 1, taken = NULL")
    with WritableLedger(tmp_path / "r") as ledger:
        number = ledger.links()["people"][0]
        ledger.forget(number, ledger.failed_keys(number, "missing"))
    assert votes_in(tmp_path / "r")["people"] == 0
    code, document = run(capsys, "review", tmp_path / "r", "--finish")
    assert (code, document["finished"]) == (0, True)
    assert votes_in(tmp_path / "r")["people"] == 6


def test_gold_from_people(out, tmp_path, capsys):
    """A random sample waits, blind; what people say of it is gold for `catena estimate`."""
    code, document = run(capsys, "review", out, "--gold", 8)
    assert code == 0
    assert {queue["link"]: queue["waiting"] for queue in document["queues"]} == {"people": 0, "gold": 8}
    with at_desk(out, queue=1) as (seat, _, queue):
        assert queue.blind
        while claim := seat.next():
            seat.label(claim.item, "favor" if claim.row % 2 else "none", labels=queue.labels)
    code, document = run(capsys, "review", out, "--gold-out", tmp_path / "gold.csv")
    assert code == 0
    lines = (tmp_path / "gold.csv").read_text("utf-8").splitlines()
    assert (lines[0], len(lines)) == ("id,gold", 9)
    code, document = run(capsys, "review", out, "--gold", 11)
    assert document["queues"][1]["waiting"] == 3
    code, document = run(capsys, "review", out, "--gold", 13)
    assert (code, "the run has 12 rows" in document["error"]) == (2, True)
