"""The review queue without a browser: every change is a form of a session, names and labels are checked, nothing is lost."""

import contextlib
import re
import signal
import time

import pytest

from catena.cli import main
from catena.ledger import Ledger
from catena.ledger.desk import Desk
from catena.ledger.lock import holder
from catena.web.guidelines import blocks
from chains import answers_in, finish, labels_of, start
from payloads import PAYLOADS
from people import at_desk, data_of, recorded, text_of
from web_session import serving

N = 40


class Work:
    """A run that waits for people, in a process of its own, and its page.

    Attributes:
        out: The run's folder.
        command: What begins it.
        run: Its process.
        page: The page.
    """

    def __init__(self, folder, page, run, command):
        self.out, self.page, self.run, self.command = folder / "r", page, run, command

    def sit(self, name="Ada"):
        """Say who one is."""
        return self.page.post("/review/sit", name=name)

    def look(self):
        """Return what the page shows."""
        return self.page.ask("/review").text

    def item(self):
        """Return the number and the id of the item that is shown; None where there is none."""
        text = self.look()
        found = re.search(r'name="item" value="(\d+)"', text)
        return (found[1], re.search(r'data-item="([^"]*)"', text)[1]) if found else None

    def say(self, **form):
        """Label or pass over what is shown."""
        return self.page.post("/review/say", item=self.item()[0], **form)


@pytest.fixture
def work(tmp_path):
    """A run whose first link has kept 20 of 40 items; the others wait for people."""
    votes = recorded(tmp_path / "votes", N)
    (tmp_path / "task.yaml").write_text(text_of(votes, guidelines="# Read\n\n- all of it"), "utf-8")
    data_of(N).to_csv(tmp_path / "rows.csv", index=False)
    command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
    run = start(*command)
    try:
        with at_desk(tmp_path / "r") as (_, desk, queue):
            while desk.counts(queue.number).waiting < N // 2:
                time.sleep(0.02)
        with serving(tmp_path / "r") as page:
            page.enter()
            yield Work(tmp_path, page, run, command)
    finally:
        run.kill()
        run.communicate()


def test_labels_notes_skips_and_undo(work):
    """Who one is is asked once; what one says is on the desk with it; the next item comes, and the last one back."""
    assert "20 items wait" in work.look()
    assert work.sit("  Ada  L ").status == 303
    first = work.item()
    assert work.say(label="against", note="hm").status == 303
    second = work.item()
    assert second != first
    work.say(skip="1")
    third = work.item()
    work.say(label="none")
    assert work.page.post("/review/undo").status == 303
    assert work.item() == third
    assert "taken back: none" in work.look()
    with Desk(work.out) as desk:
        seen = desk.seen(1, [first[1], second[1], third[1]])
    (mark,) = seen[first[1]][1]
    assert (mark.annotator, mark.label, mark.note, mark.how) == ("Ada L", "against", "hm", "page")
    assert abs(mark.at - time.time()) < 60
    assert (seen[second[1]], seen[third[1]]) == ((True, []), (True, []))


def test_the_run_sends_people_to_the_review(work):
    """Its page has no calls at a time for people to set, and says where they label instead of naming the command."""
    until_shown = time.monotonic() + 30
    while "waits for people" not in (text := work.page.ask("/").text) and time.monotonic() < until_shown:
        time.sleep(0.05)
    assert re.search(r'<a class="small" href="/review">waits for people: \d+ items</a>', text)
    assert "people: people, who label under Review." in text


def test_what_links_said_and_what_people_are_told(work):
    """Suggestions beside the labels, and the guidelines; the question as it is asked about this item."""
    work.sit()
    text = work.look()
    assert re.search(r"<b dir=\"auto\">small</b>: <span dir=\"auto\">favor</span>", text)
    assert "What does it say?" in text
    assert re.search(r"<li dir=\"auto\">all of it</li>", text)


def test_forms_are_checked(work):
    """A name that is none, a label that the task lacks, an item that is none, somebody who has not said who they are."""
    assert work.page.post("/review/next").status == 409
    for name in ("", " ", "x" * 65, "a\x00b"):
        answer = work.page.post("/review/sit", name=name)
        assert (answer.status, "A name has 1 to 64 characters" in answer.text) == (400, True)
    work.sit()
    for form in (
        {"label": "maybe"},
        {"label": ""},
        {"item": "x"},
        {"item": "99999"},
        {"note": "x" * 4001, "label": "none"},
    ):
        given = {"item": work.item()[0], "label": "none"} | form
        assert work.page.post("/review/say", **given).status == 400
    with Desk(work.out) as desk:
        assert desk.annotators(1) == {}


def test_a_look_claims_nothing(work):
    """GET changes nothing: what nobody has asked for by a form is nobody's."""
    work.sit()
    work.page.post("/review/leave")
    work.look()
    with Desk(work.out) as desk, desk.reading() as db:
        (claims,) = db.execute("SELECT count(*) FROM claims").fetchone()
    assert claims == 1


def test_after_the_last_label_the_result_changes(work):
    """A run at work ends by itself; its result has what people said."""
    work.sit()
    while work.item():
        work.say(label="against")
    code, _, err = finish(work.run)
    assert code == 0, err
    assert [row["label"] for row in labels_of(work.out)] == ["against"] * 20 + ["favor"] * 20
    assert "20 items have a vote of people" in work.look()


def test_gold_that_is_all_there_is_said_to_be(work):
    """It is no vote: the page says how many items have it, and how it is written down."""
    work.sit()
    while work.item():
        work.say(label="against")
    assert finish(work.run)[0] == 0
    assert main(["review", str(work.out), "--gold", "3"]) == 0
    work.sit()
    while work.item():
        work.say(label="none")
    with Desk(work.out) as desk:
        (number,) = (queue.number for queue in desk.queues() if queue.name == "gold")
    said = work.page.ask(f"/review?queue={number}").text
    assert "Nothing waits: gold of 3 items is there." in said
    assert "--gold-out FILE" in said


def test_where_no_process_is_at_work_the_page_takes_answers_in(work):
    """After the last label it does what the same catena run command would; and so for a label that is taken back."""
    work.run.send_signal(signal.SIGINT)
    assert finish(work.run)[0] == 3
    work.sit()
    while work.item():
        work.say(label="against")
    assert ended(work)
    assert [row["label"] for row in labels_of(work.out)] == ["against"] * 20 + ["favor"] * 20
    work.page.post("/review/undo")
    work.say(label="none")
    end = time.monotonic() + 20
    while labels_of(work.out)[19]["label"] != "none" and time.monotonic() < end:
        time.sleep(0.05)
    assert labels_of(work.out)[19]["label"] == "none"


def ended(work):
    """Wait until the run is finished and nobody works on it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if "The run is finished" in work.look() and holder(work.out) is None:
            return True
        time.sleep(0.05)
    return False


def test_finish_without_people(work):
    """A button: the run ends with what there is, and says that the others failed to get a label of people."""
    work.sit()
    work.say(label="none")
    assert work.page.post("/review/finish").status == 303
    code, _, err = finish(work.run)
    assert code == 0, err
    links = [row["link"] for row in labels_of(work.out)]
    assert links == ["people"] + ["small"] * 39
    assert {getattr(answer, "reason", "") for answer in answers_in(work.out, "people").values()} == {
        "",
        "missing",
    }


def test_the_server_is_killed_and_nothing_that_was_said_is_lost(work):
    """Kill -9 of the page in the midst of labels: every answered form is on the desk, and nobody is asked for it again."""
    given = []
    pages = contextlib.ExitStack()
    with pages:
        for _ in range(3):
            work.sit()
            for _ in range(3):
                assert work.item()[1] not in given
                given.append(work.item()[1])
                assert work.say(label="against").status == 303
            work.page.process.kill()
            work.page = pages.enter_context(serving(work.out))
            work.page.enter()
    with Desk(work.out) as desk:
        found = desk.seen(1, given)
    assert {name: marks[0].label for name, (_, marks) in found.items()} == dict.fromkeys(given, "against")


def test_rows_that_changed_meanwhile_are_not_shown(work):
    """Where the run's rows are others than the desk knows, no text is shown with another one's number."""
    work.sit()
    with Desk(work.out) as desk, desk.changing() as db:
        db.execute("UPDATE items SET id = 'other' WHERE item = ?", (work.item()[0],))
    assert work.item() is None


def test_a_run_without_people_says_so(page):
    """And how to have some."""
    text = page.ask("/review").text
    assert "No link of this run is a person." in text
    assert page.post("/review/next").status == 409


def test_guidelines_are_text():
    """Headings, lists and paragraphs are told apart; whatever else stands there is shown as it is."""
    found = blocks("# For\nIt says\nyes.\n\n- one\n  goes on\n* two\n#no heading\n<b>x</b>")
    assert found == [
        ("heading", ["For"]),
        ("text", ["It says", "yes."]),
        ("list", ["one goes on", "two #no heading <b>x</b>"]),
    ]
    assert blocks("") == []
    for payload in PAYLOADS:
        assert "".join("".join(block.lines) for block in blocks(payload)) in payload


def test_the_ledger_stays_with_the_run(work):
    """The page reads the ledger and never writes it while somebody else works on the run."""
    before = holder(work.out)
    work.sit()
    work.say(label="none")
    assert holder(work.out) == before
    with Ledger(work.out) as ledger:
        assert ledger.get("finished") is None
