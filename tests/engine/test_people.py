"""People in a chain: what reaches them waits, what they say becomes votes, and the run ends when nothing waits or on command."""

import json
import signal
import time

import pytest

from catena.cli import main
from catena.engine import people as engine
from catena.engine.people import finish_without, revise
from catena.engine.results import LABELS_FILE
from catena.engine.run import Run, go_on
from catena.errors import ChangedError
from catena.ledger import Ledger, WritableLedger
from catena.ledger.desk import Desk
from catena.types import Failure
from chains import (
    answers_in,
    chain_task,
    execute,
    finish,
    label_bytes,
    labels_of,
    rows_of,
    start,
    votes_in,
)
from people import at_desk, data_of, people, person, recorded, task_of, text_of

N = 12


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)


@pytest.fixture
def votes(tmp_path):
    """What the first link says: favor, surer of each item than of the one before."""
    return recorded(tmp_path / "votes", N)


def test_labels_of_people_are_votes_with_who_and_when(tmp_path, votes):
    """What reaches people waits for them; then the run ends, and its result has their labels."""
    before = time.time()
    with person(tmp_path / "r", 6, note="read twice") as who:
        labels = execute(task_of(votes), data_of(N), tmp_path / "r")
    assert {row["id"]: row["label"] for row in labels if row["link"] == "people"} == who.given
    assert [row["label"] for row in labels] == ["against"] * 6 + ["favor"] * 6
    answer = answers_in(tmp_path / "r", "people")[0]
    (said,) = json.loads(answer.text)
    assert (answer.label, answer.confidence, answer.source, answer.model) == ("against", 1.0, "people", "Ada")
    assert (said["who"], said["label"], said["note"]) == ("Ada", "against", "read twice")
    at = time.mktime(time.strptime(said["at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert before - 2 <= at <= time.time() + 2
    assert votes_in(tmp_path / "r") == {"small": N, "people": 6}


def test_a_replay_gives_the_same_labels(tmp_path, votes):
    """Votes of people are votes like all others: exported and replayed, they give the same file, byte for byte."""
    with person(tmp_path / "r", 6, says=lambda claim: "none" if claim.row % 2 else "against"):
        execute(task_of(votes), data_of(N), tmp_path / "r")
    assert main(["results", str(tmp_path / "r"), "--votes", str(tmp_path / "all")]) == 0
    replays = [{"name": n, "kind": "replay", "votes": str(tmp_path / "all")} for n in ("small", "people")]
    task = chain_task(*replays, data={"id": "id"}, policy={"share": ["0.5", "0.5"]}, aggregate="last")
    execute(task, data_of(N), tmp_path / "again")
    assert label_bytes(tmp_path / "again") == label_bytes(tmp_path / "r")


def test_answers_given_while_no_run_is_at_work_are_taken_in(tmp_path, votes):
    """Ctrl+C stops a run that waits; people go on; the same command takes their answers in and asks nobody again."""
    (tmp_path / "task.yaml").write_text(text_of(votes), "utf-8")
    data_of(N).to_csv(tmp_path / "rows.csv", index=False)
    command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
    run = start(*command)
    with person(tmp_path / "r", 2):
        pass
    run.send_signal(signal.SIGINT)
    code, _, err = finish(run)
    assert (code, "stopped by Ctrl+C" in err) == (3, True), err
    with person(tmp_path / "r", 4):
        pass
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert [row["link"] for row in labels_of(tmp_path / "r")] == ["people"] * 6 + ["small"] * 6


def test_the_run_says_what_it_waits_for(tmp_path, votes):
    """How many items, and how to open the page."""
    seen = []
    with at_soon(tmp_path / "r") as sit:
        Run(task_of(votes), data_of(N), tmp_path / "r").execute(watch=lambda progress: sit(progress, seen))
    assert f"waits for people: 6 items; open: catena serve {tmp_path / 'r'}" in seen
    assert seen[-1] != ""


class at_soon:  # noqa: N801 - a context manager that reads as a word
    """Lets somebody label all when the run has said what it waits for."""

    def __init__(self, out):
        self.out = out

    def __enter__(self):
        import threading

        def work(progress, seen):
            end = time.monotonic() + 20
            while not progress.links[1].waits_for and time.monotonic() < end:
                time.sleep(0.01)
            seen.append(progress.links[1].waits_for)
            with at_desk(self.out) as (seat, _, queue):
                while claim := seat.next():
                    seat.label(claim.item, "against", labels=queue.labels)

        self.threads = []

        def sit(progress, seen):
            self.threads.append(threading.Thread(target=work, args=(progress, seen)))
            self.threads[-1].start()

        return sit

    def __exit__(self, *error):
        for thread in self.threads:
            thread.join(30)


def test_without_people_earlier_votes_label(tmp_path, votes):
    """On command nobody is waited for: what they have not labelled is a failure, never a label; what they have is kept."""
    out = tmp_path / "r"
    Run(task_of(votes), data_of(N), out)  # nothing begins yet
    labels = execute(task_of(votes), data_of(N), out, without_people=True)
    assert {(row["label"], row["link"]) for row in labels} == {("favor", "small")}
    failed = answers_in(out, "people")
    assert len(failed) == 6
    assert {(answer.reason, answer.message) for answer in failed.values()} == {
        ("missing", "no person has labelled it")
    }
    assert Run(task_of(votes), data_of(N), out).execute().did_nothing


def test_late_labels_change_the_result(tmp_path, votes):
    """After a run was finished without people, what they say is taken in by the same command; the rest stays as it is."""
    out = tmp_path / "r"
    execute(task_of(votes), data_of(N), out, without_people=True)
    with Desk(out) as desk:
        queue = desk.queues()[0].number
        assert not desk.finishing(queue)
        items = desk.find(queue, keys_of(out))
        from catena.ledger.marks import Mark

        desk.answer_all([(min(items.values()), Mark("Bo", "none", at=time.time(), how="argilla"))])
    labels = execute(task_of(votes), data_of(N), out)
    assert [row["label"] for row in labels] == ["none"] + ["favor"] * 11


def keys_of(out):
    """Return the keys of the votes of people."""
    with Ledger(out) as ledger:
        return ledger.failed_keys(ledger.links()["people"][0], "missing")


def test_people_are_asked_again_with_retry_failed(tmp_path, votes):
    """What was finished without them waits for them anew."""
    out = tmp_path / "r"
    execute(task_of(votes), data_of(N), out, without_people=True)
    with person(out, 6):
        labels = execute(task_of(votes), data_of(N), out, retry_failed=True)
    assert [row["link"] for row in labels] == ["people"] * 6 + ["small"] * 6


def test_finished_while_the_run_waits(tmp_path, votes):
    """From the page or another command: what is labelled by then counts, the run ends."""
    out = tmp_path / "r"
    task = task_of(votes)
    import threading

    def later():
        with person(out, 2):
            pass
        finish_without(out, Run(task, data_of(N), out).links)

    thread = threading.Thread(target=later)
    thread.start()
    labels = execute(task, data_of(N), out)
    thread.join()
    assert [row["link"] for row in labels] == ["people"] * 2 + ["small"] * 10


def test_several_people_per_item(tmp_path, votes):
    """The label that most gave, of two the one given first; the confidence is the share of people who gave it."""
    says = {
        "Ada": ["against", "none", "favor"],
        "Bo": ["against", "favor", "favor"],
        "Cy": ["none", "none", "none"],
    }
    out = tmp_path / "r"
    task = task_of(votes, {"policy": {"share": ["0.75", "0.25"]}}, annotators=3)
    with contextlib_stack(
        person(out, 3, says=lambda claim: says["Ada"][claim.row], name="Ada"),
        person(out, 3, says=lambda claim: says["Bo"][claim.row], name="Bo"),
        person(out, 3, says=lambda claim: says["Cy"][claim.row], name="Cy"),
    ):
        execute(task, data_of(N), out)
    found = answers_in(out, "people")
    assert [found[row].label for row in range(3)] == ["against", "none", "favor"]
    assert [found[row].confidence for row in range(3)] == [2 / 3, 2 / 3, 2 / 3]
    assert all(sorted(found[row].model.split(", ")) == ["Ada", "Bo", "Cy"] for row in range(3))


def contextlib_stack(*contexts):
    """Return all contexts as one."""
    import contextlib

    stack = contextlib.ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack


def test_a_label_that_is_taken_back_is_voted_on_anew(tmp_path, votes):
    """Also after the run has taken it in, and after it is finished: the same result as if it had been so from the start."""
    out = tmp_path / "r"
    with person(out, 6):
        execute(task_of(votes), data_of(N), out)
    before = label_bytes(out)
    with at_desk(out) as (seat, _, queue):
        claim = seat.undo()
        seat.label(claim.item, "none", labels=queue.labels)
    assert not go_on(out).did_nothing
    assert [row["label"] for row in labels_of(out)] == ["against"] * 5 + ["none"] + ["favor"] * 6
    with at_desk(out) as (seat, _, queue):
        seat.label(seat.undo().item, "against", labels=queue.labels)
    go_on(out)
    assert label_bytes(out) == before
    assert go_on(out).did_nothing


def test_undone_while_the_run_waits_for_others(tmp_path, votes):
    """The run has taken a label in; its author takes it back and gives another one; the run ends with that one."""
    out = tmp_path / "r"
    import threading

    def work():
        with at_desk(out) as (seat, desk, queue):
            while not (claim := seat.next()):
                time.sleep(0.01)
            seat.label(claim.item, "against", labels=queue.labels)
            while desk.ready(queue.number, 1):
                time.sleep(0.01)
            time.sleep(0.1)  # it is in the ledger by now
            again = seat.undo()
            assert again.item == claim.item
            seat.label(again.item, "none", labels=queue.labels)
            while claim := seat.next():
                seat.label(claim.item, "against", labels=queue.labels)

    thread = threading.Thread(target=work)
    thread.start()
    labels = execute(task_of(votes), data_of(N), out)
    thread.join()
    assert [row["label"] for row in labels] == ["none"] + ["against"] * 5 + ["favor"] * 6


def test_what_a_killed_run_did_not_tell_the_desk(tmp_path, votes):
    """A vote is in the ledger and the desk does not know: it is found out, and nobody is asked again."""
    out = tmp_path / "r"
    with person(out, 6):
        execute(task_of(votes), data_of(N), out)
    with Desk(out) as desk, desk.changing() as db:
        db.execute("UPDATE items SET taken = NULL, open = 1")
    task = task_of(votes)
    with WritableLedger(out) as ledger:
        links = Run(task, data_of(N), out).links
        assert revise(ledger, links) == 0
    with Desk(out) as desk:
        assert not desk.waits(1)
    assert Run(task, data_of(N), out).execute().did_nothing


def test_people_first_then_a_link(tmp_path, votes):
    """People may stand anywhere: what they are less sure of together goes on to the next link."""
    task = chain_task(
        people(annotators=2),
        {"name": "small", "kind": "replay", "votes": str(votes)},
        data={"id": "id"},
        policy={"threshold": [0.75]},
        aggregate="last",
    )
    out = tmp_path / "r"
    with (
        person(out, N, name="Ada"),
        person(out, N, says=lambda c: "none" if c.row % 3 else "against", name="Bo"),
    ):
        labels = execute(task, data_of(N), out)
    assert [row["link"] for row in labels] == ["people" if at % 3 == 0 else "small" for at in range(N)]


def test_an_empty_text_waits_for_nobody(tmp_path):
    """It is a failed row, as with every link."""
    out = tmp_path / "r"
    with person(out, 1):
        labels = execute(chain_task(people(), data={"id": "id"}), rows_of(["", "something"]), out)
    assert [(row["status"], row["label"]) for row in labels] == [("failed", None), ("labelled", "against")]


def test_words_for_people_may_change_and_labels_may_not(tmp_path, votes):
    """Other guidelines lose no label; another set of labels is another question, and refused."""
    out = tmp_path / "r"
    with person(out, 6):
        execute(task_of(votes, guidelines="Be careful."), data_of(N), out)
    assert (
        Run(task_of(votes, guidelines="Be very careful.", blind=True), data_of(N), out).execute().did_nothing
    )
    task = task_of(votes, {"labels": ["favor", "against", "none", "unclear"]})
    with pytest.raises(ChangedError, match="link 'people' has other settings or labels"):
        Run(task, data_of(N), out).execute()


def test_what_waits_is_not_in_memory(tmp_path, votes, monkeypatch):
    """The stage holds no row that lies on the desk."""
    held = []
    real = engine.PeopleAsker._say

    async def look(self):
        held.append(len(self.rows))
        await real(self)

    monkeypatch.setattr(engine.PeopleAsker, "_say", look)
    with person(tmp_path / "r", 6):
        execute(task_of(votes), data_of(N), tmp_path / "r")
    assert held
    assert held[-1] == 0


def test_a_run_goes_on_from_what_it_knows(tmp_path, votes):
    """Without the data file at hand, from the ledger alone; it stops where people are waited for no longer."""
    out = tmp_path / "r"
    with person(out, 6):
        execute(task_of(votes), data_of(N), out)
    before = label_bytes(out)
    (out / LABELS_FILE).unlink()
    go_on(out)
    assert label_bytes(out) == before


def test_abstaining_people(tmp_path, votes):
    """Where the task has a word for none, people may say it: no label, and the earlier vote stands."""
    out = tmp_path / "r"
    with person(out, 6, says=lambda claim: "unclear"):
        labels = execute(task_of(votes, {"abstain": "unclear"}), data_of(N), out)
    assert {(row["label"], row["link"]) for row in labels} == {("favor", "small")}
    answer = answers_in(out, "people")[0]
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.model) == ("abstained", "Ada")


def test_people_have_the_last_word(tmp_path, votes):
    """Unless the task says otherwise, in which case it is warned."""
    chain = [{"name": "small", "kind": "replay", "votes": str(votes)}, people()]
    assert chain_task(*chain).aggregate == "last"
    assert chain_task(*chain[:1]).aggregate == "rank"
    task = chain_task(*chain, data={"id": "id"}, aggregate="rank")
    said = []
    execute(
        task,
        data_of(N),
        tmp_path / "r",
        without_people=True,
        watch=lambda progress: said.append(progress.warnings),
    )
    assert "with aggregate: rank an earlier vote can outrank that of people" in said[0][0]


def test_a_chain_without_people_waits_for_nobody(tmp_path, votes):
    """What was on the desk of a link that is no longer in the chain waits no more; what was said stays."""
    out = tmp_path / "r"
    execute(task_of(votes), data_of(N), out, without_people=True)
    with Desk(out) as desk, desk.changing() as db:
        db.execute("UPDATE items SET open = 1, taken = NULL")
    with person(out, 1):
        pass
    chain = [{"name": "small", "kind": "replay", "votes": str(votes)}]
    execute(chain_task(*chain, data={"id": "id"}), data_of(N), out)
    with Desk(out) as desk:
        assert desk.counts(1).waiting == 0
        assert desk.annotators(1) == {"Ada": 1}
