"""The desk: who gets which item, and what of what they say is in force; nothing is lost, whoever writes at the same time."""

import sqlite3
import stat
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from catena.errors import InputError, LedgerError
from catena.ledger.desk import FILE, Desk, desk_of
from catena.ledger.marks import Mark
from catena.ledger.seat import CLAIM_SECONDS, LONGEST_NOTE, Seat, annotator_name

LABELS = ("yes", "no")


class Clock:
    """A clock that one sets."""

    now = 1000.0

    def __call__(self):
        """Return the time."""
        return self.now


def lay(folder, needs):
    """Return a desk with a queue of items, one for each number of people that it needs, and the queue's number."""
    desk = Desk(folder)
    queue = desk.begin("people", {"labels": LABELS})
    desk.put(queue, [(b"key%d" % at, at, f"i{at}", each) for at, each in enumerate(needs)])
    return desk, queue


@pytest.fixture
def desk(tmp_path):
    """A desk of three items for one person each, and its queue's number."""
    opened, queue = lay(tmp_path, [1, 1, 1])
    yield opened, queue
    opened.close()


def test_items_come_in_order_and_one_person_gets_each(desk):
    """Two people at once never get the same item; each keeps theirs until they have said something."""
    ada, bo = Seat(*desk, "Ada"), Seat(*desk, "Bo")
    assert [ada.next().id, bo.next().id, ada.next().id] == ["i0", "i1", "i0"]
    assert ada.label(ada.current().item, "yes", labels=LABELS).id == "i2"
    assert bo.label(bo.current().item, "no", labels=LABELS) is None
    assert ada.label(ada.current().item, "no", labels=LABELS) is None
    assert desk[0].counts(desk[1]).waiting == 0
    assert desk[0].annotators(desk[1]) == {"Ada": 2, "Bo": 1}


def test_what_nobody_says_anything_about_is_given_to_somebody_else(tmp_path):
    """A claim ends after a while; an answer that comes later is kept all the same."""
    desk, queue = lay(tmp_path, [1])
    clock = Clock()
    ada, bo = Seat(desk, queue, "Ada", clock), Seat(desk, queue, "Bo", clock)
    claim = ada.next()
    assert bo.next() is None
    clock.now += CLAIM_SECONDS + 1
    assert ada.current() is None
    assert bo.next().item == claim.item
    ada.label(claim.item, "yes", labels=LABELS)
    bo.label(claim.item, "no", labels=LABELS)
    (ready,) = desk.ready(queue, 10)
    assert [(mark.annotator, mark.label) for mark in ready.marks] == [("Ada", "yes"), ("Bo", "no")]
    desk.close()


def test_an_item_for_two_is_labelled_by_two(tmp_path):
    """Each of them once, whoever comes first; others get what is begun before what nobody has seen."""
    desk, queue = lay(tmp_path, [1, 2, 1])
    ada, bo = Seat(desk, queue, "Ada"), Seat(desk, queue, "Bo")
    for _ in range(3):
        ada.label(ada.next().item, "yes", labels=LABELS)
    assert ada.next() is None
    assert not desk.ready(queue, 10)[2:]
    assert desk.counts(queue).waiting == 1
    assert bo.next().id == "i1"
    bo.label(bo.next().item, "no", labels=LABELS)
    assert bo.next() is None
    assert len(desk.ready(queue, 10)) == 3
    desk.close()


def test_what_is_passed_over_comes_last(desk):
    """To the same person when nothing else waits, and at once to others."""
    ada, bo = Seat(*desk, "Ada"), Seat(*desk, "Bo")
    first = ada.next()
    assert ada.skip(first.item).id == "i1"
    assert bo.next().id == "i0"
    bo.skip(bo.next().item)
    again = ada.label(ada.next().item, "yes", labels=LABELS)
    assert (again.id, again.again) == ("i0", True)
    assert ada.skip(again.item).id == "i0"
    ada.label(again.item, "no", labels=LABELS)
    assert (bo.next().id, ada.next()) == ("i2", None)
    assert desk[0].counts(desk[1]).labelled == 2


def test_undo_gives_the_last_one_back(desk):
    """With what was said; again and again, as far as one goes; what was taken back stays on record."""
    ada = Seat(*desk, "Ada")
    assert ada.undo() is None
    ada.label(ada.next().item, "yes", "surely", LABELS)
    ada.label(ada.next().item, "no", labels=LABELS)
    assert ada.undo().id == "i1"
    back = ada.undo()
    assert (back.id, back.before.label, back.before.note) == ("i0", "yes", "surely")
    assert ada.undo() is None
    assert ada.next().id == "i0"
    with desk[0].reading() as db:
        assert db.execute("SELECT count(*), sum(live) FROM marks").fetchone() == (2, 0)


def test_what_was_passed_over_and_is_another_ones_by_now_stays_theirs(desk):
    """Undo takes the passing over back, and gives the next item."""
    ada, bo = Seat(*desk, "Ada"), Seat(*desk, "Bo")
    ada.skip(ada.next().item)
    assert bo.next().id == "i0"
    assert ada.undo().id == "i1"
    assert bo.current().id == "i0"


def test_an_answer_that_changes_after_it_was_taken_in_is_known(desk):
    """Undone or given anew, the run learns of it; the item waits again where it lacks a label."""
    opened, queue = desk
    ada = Seat(*desk, "Ada")
    ada.label(ada.next().item, "yes", labels=LABELS)
    opened.take(opened.ready(queue, 10))
    assert (opened.ready(queue, 10), opened.revised(queue, 10)) == ([], [])
    ada.undo()
    (revised,) = opened.revised(queue, 10)
    assert (revised.key, revised.marks) == (b"key0", ())
    assert opened.waits(queue)
    ada.label(ada.current().item, "no", labels=LABELS)
    (revised,) = opened.revised(queue, 10)
    opened.put_back([revised])
    assert not opened.revised(queue, 10)


def test_items_that_another_decision_does_not_need_go_and_their_answers_stay(desk):
    """A new round; what is put down again keeps its label."""
    opened, queue = desk
    ada = Seat(*desk, "Ada")
    for _ in range(2):
        ada.label(ada.next().item, "yes", labels=LABELS)
    assert opened.begin("people", {"labels": LABELS}) == queue
    opened.put(queue, [(b"key0", 7, "i0", 1)])
    opened.close_others(queue)
    assert (opened.counts(queue).waiting, ada.next()) == (0, None)
    (ready,) = opened.ready(queue, 10)
    assert (ready.key, ready.row, ready.marks[0].label) == (b"key0", 7, "yes")


def test_labels_notes_and_names_are_checked(desk):
    """A label is one of the queue's, a note has a bound, a name can be seen; items of elsewhere are not there."""
    ada = Seat(*desk, "  Ada   Lovelace ")
    assert ada.annotator == "Ada Lovelace"
    item = ada.next().item
    with pytest.raises(InputError, match="'maybe' is none of the labels: yes, no"):
        ada.label(item, "maybe", labels=LABELS)
    with pytest.raises(InputError, match="at most 4,000 characters"):
        ada.label(item, "yes", "x" * (LONGEST_NOTE + 1), LABELS)
    with pytest.raises(InputError, match="no item 99"):
        ada.label(99, "yes", labels=LABELS)
    for name in ("", "   ", "x" * 65, "a\x00b", "a\u202eb"):
        with pytest.raises(InputError, match="a name has 1 to 64"):
            annotator_name(name)


def test_the_desk_is_private_and_whole(tmp_path):
    """Only its owner reads it; a changed answer, another file and a newer version are refused in one line."""
    assert desk_of(tmp_path) is None
    desk, queue = lay(tmp_path, [1])
    ada = Seat(desk, queue, "Ada")
    ada.label(ada.next().item, "yes", labels=LABELS)
    desk.close()
    path = tmp_path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as db:
        db.execute("UPDATE marks SET label = 'no'")
    db.close()
    with desk_of(tmp_path) as desk, pytest.raises(LedgerError, match="an answer is not what was stored"):
        desk.ready(queue, 10)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match="version 99"):
        Desk(tmp_path)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(LedgerError, match=r"desk\.sqlite: file is not a database"):
        Desk(tmp_path)


def test_people_who_write_at_the_same_time_lose_nothing(tmp_path):
    """Four people with a connection each: every item has one label, of who got it."""
    desk, queue = lay(tmp_path, [1] * 80)
    said = {}

    def work(name):
        with Desk(tmp_path) as own:
            seat, mine = Seat(own, queue, name), []
            claim = seat.next()
            while claim:
                mine.append(claim.id)
                claim = seat.label(claim.item, "yes", labels=LABELS)
            said[name] = mine

    threads = [threading.Thread(target=work, args=(f"p{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for mine in said.values() for name in mine) == sorted(f"i{at}" for at in range(80))
    assert desk.annotators(queue) == {name: len(mine) for name, mine in said.items() if mine}
    desk.close()


def test_marks_from_files_take_the_place_of_older_ones_only(desk):
    """The same again is nothing new, an older one neither; a newer one is; all come in or none."""
    opened, _ = desk
    assert opened.answer_all([(1, Mark("Ada", "yes", at=10.0, how="argilla"))]) == 1
    assert opened.answer_all([(1, Mark("Ada", "yes", at=20.0, how="argilla"))]) == 0
    assert opened.answer_all([(1, Mark("Ada", "no", at=5.0, how="argilla"))]) == 0
    assert opened.answer_all([(1, Mark("Ada", "no", at=30.0, how="argilla"))]) == 1
    with pytest.raises(LedgerError):
        opened.answer_all([(2, Mark("Bo", "no", at=30.0)), (3, Mark(None, "no"))])
    assert opened.annotators(desk[1]) == {"Ada": 1}


PEOPLE = ("Ada", "Bo", "Cy")


class DeskMachine(RuleBasedStateMachine):
    """Three people and the run at a desk, against a model that knows what was said last."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, self.jumped = Clock(), False
        self.needs = [1, 2, 1, 3, 2]
        self.desk, self.queue = lay(Path(self.folder.name), self.needs)
        self.desk.db.execute("PRAGMA synchronous = OFF")  # nothing is cut off here
        self.seats = {name: Seat(self.desk, self.queue, name, self.clock) for name in PEOPLE}
        self.said = {}  # (id, person) -> label, None where passed over
        self.history = {name: [] for name in PEOPLE}
        self.taken = {}

    def teardown(self):
        """Close the desk."""
        self.desk.close()
        self.folder.cleanup()

    def labels(self, item):
        """Return the labels in force, by person."""
        return {who: label for (name, who), label in self.said.items() if name == item and label}

    def lacks(self, item):
        """Whether it lacks labels."""
        return len(self.labels(item)) < self.needs[int(item[1:])]

    @rule(who=st.sampled_from(PEOPLE))
    def next(self, who):
        """What one gets lacks labels and was not labelled by oneself; nothing comes only where nothing could."""
        claim = self.seats[who].next()
        if claim is None:
            if not self.jumped and len([w for w in PEOPLE if self.seats[w].current()]) == 0:
                assert not [i for i in range(5) if self.lacks(f"i{i}") and who not in self.labels(f"i{i}")]
            return
        assert self.lacks(claim.id)
        assert who not in self.labels(claim.id)
        assert claim.again == ((claim.id, who) in self.said)

    @rule(who=st.sampled_from(PEOPLE), label=st.sampled_from(LABELS), skip=st.booleans())
    def say(self, who, label, skip):
        """What one says is in force from now on."""
        claim = self.seats[who].current()
        if claim is None:
            return
        self.seats[who].skip(claim.item) if skip else self.seats[who].label(claim.item, label, labels=LABELS)
        self.said[claim.id, who] = None if skip else label
        if claim.id in self.history[who]:
            self.history[who].remove(claim.id)
        self.history[who].append(claim.id)

    @rule(who=st.sampled_from(PEOPLE))
    def undo(self, who):
        """The last thing said comes back, and then what was said before it."""
        held = [
            claim.id for seat in self.seats.values() if seat.annotator != who and (claim := seat.current())
        ]
        claim = self.seats[who].undo()
        if not self.history[who]:
            assert claim is None
            return
        name = self.history[who].pop()
        del self.said[name, who]
        room = self.needs[int(name[1:])] - len(self.labels(name)) - held.count(name)
        assert claim.id == name if room > 0 else claim is None or claim.id != name

    @rule()
    def take(self):
        """The run takes in what is ready, and what has changed since."""
        ready = self.desk.ready(self.queue, 99)
        self.desk.take(ready)
        self.taken.update((each.row, each.marks) for each in ready)
        revised = self.desk.revised(self.queue, 99)
        self.desk.put_back(revised)
        for each in revised:
            self.taken.pop(each.row)
        self.desk.put(
            self.queue, [(each.key, each.row, f"i{each.row}", self.needs[each.row]) for each in revised]
        )

    @rule()
    def begin_again(self):
        """A new round in which all that is not taken in reaches the link again."""
        self.desk.begin("people", {"labels": LABELS})
        rows = [at for at in range(5) if at not in self.taken]
        self.desk.put(self.queue, [(b"key%d" % at, at, f"i{at}", self.needs[at]) for at in rows])
        self.desk.close_others(self.queue)

    @rule()
    def jump(self):
        """All claims end."""
        self.clock.now += CLAIM_SECONDS + 1
        self.jumped = True

    @invariant()
    def what_is_in_force_is_what_was_said_last(self):
        """No answer is lost, and none comes back."""
        found = self.desk.seen(self.queue, [f"i{at}" for at in range(5)])
        assert {
            (name, mark.annotator): mark.label for name, (_, marks) in found.items() for mark in marks
        } == {key: label for key, label in self.said.items() if label}
        given = Counter(who for (_, who), label in self.said.items() if label)
        assert self.desk.annotators(self.queue) == dict(given)

    @invariant()
    def what_lacks_labels_waits(self):
        """As many as the model says."""
        lacking = sum(self.lacks(f"i{at}") for at in range(5))
        assert self.desk.counts(self.queue).waiting == lacking
        assert self.desk.counts(self.queue).labelled == 5 - lacking

    @precondition(lambda self: not self.jumped)
    @invariant()
    def nobody_has_too_much(self):
        """Nobody holds an item beyond the people that it needs."""
        holds = Counter(claim.id for seat in self.seats.values() if (claim := seat.current()))
        for item, people in holds.items():
            assert people + len(self.labels(item)) <= self.needs[int(item[1:])]

    @invariant()
    def what_was_taken_in_and_changed_is_known(self):
        """The run learns of each."""
        revised = {each.row for each in self.desk.revised(self.queue, 99)}
        for row, marks in self.taken.items():
            now = self.labels(f"i{row}")
            if now != {mark.annotator: mark.label for mark in marks}:
                assert row in revised


DeskMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
test_any_sequence = DeskMachine.TestCase
