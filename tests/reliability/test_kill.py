"""Kill -9 loses nothing that was committed, and changes no label."""

import random
import signal

import pytest
from dying import STEPS
from live import MOST_UNCOMMITTED, answers_of, live
from soak import figure, many

from chains import finish, label_bytes, labels_of, start

ROWS = 300
VOTES = ROWS + ROWS // 2
JOURNEYS = many(1, 13)
RANDOM_KILLS = many(6, 60)


@pytest.fixture
def work(tmp_path):
    """A chain of two links over a provider, in processes of their own."""
    with live(tmp_path, rows=ROWS) as running:
        yield running


class Book:
    """What kills have cost so far.

    Attributes:
        kills: How many there were.
        lost: Committed votes that were gone or other ones afterwards.
        most: Most answers of one life that were paid for and not committed, and are bought again.
    """

    kills = lost = most = 0

    def __init__(self, work, out):
        self.work = work
        self.out = out
        self.committed = {}
        self.sent = self.began = work.answers_sent()
        self.in_vain = 0

    def enter(self, process):
        """Wait for a killed process and look at what it left behind."""
        code, _, err = finish(process)
        assert code == -signal.SIGKILL, err
        sent, found = self.work.answers_sent(), answers_of(self.out)
        Book.kills += 1
        Book.lost += sum(found.get(key) != answer for key, answer in self.committed.items())
        paid_in_vain = sent - self.sent - (len(found) - len(self.committed))
        Book.most = max(Book.most, paid_in_vain)
        self.in_vain += paid_in_vain
        self.committed, self.sent = found, sent
        allowed = self.work.in_flight + MOST_UNCOMMITTED
        said = (
            f"{Book.lost:,} committed votes lost, at most {Book.most} re-bought per kill (allowed {allowed})"
        )
        figure("kill", f"{Book.kills:,} kills, {said}, labels identical to an unbroken run's")
        assert not Book.lost
        assert paid_in_vain <= allowed


def finish_like_an_unbroken_run(work, book):
    """Let the run end, and compare its labels with those of a run that nothing disturbed."""
    out = book.out
    code, _, err = finish(work.start(out))
    assert code == 0, err
    assert [row["id"] for row in labels_of(out)] == [f"i{at}" for at in range(ROWS)]
    assert len(work.bought()) == len(answers_of(out)) == VOTES
    assert work.answers_sent() - book.began == VOTES + book.in_vain
    unbroken = work.folder / "unbroken"
    if not unbroken.exists():
        assert finish(work.start(unbroken))[0] == 0
    assert label_bytes(out) == label_bytes(unbroken)


def test_killed_at_every_step(work, tmp_path):
    """Killed at each step in turn, from reading rows to marking it finished, and resumed after each."""
    draw = random.Random(7)
    for journey in range(JOURNEYS):
        out = tmp_path / f"r{journey}"
        book = Book(work, out)
        for step in STEPS:
            number = draw.randint(1, 4) if "votes" in step else 1
            book.enter(work.start_dying(step, number, out))
        finish_like_an_unbroken_run(work, book)


def test_killed_at_random_points(work, tmp_path):
    """Killed wherever it happens to be, six times in each run, and resumed."""
    draw = random.Random(7)
    for at in range(RANDOM_KILLS // 6):
        out = tmp_path / f"r{at}"
        book = Book(work, out)
        for votes in sorted(draw.sample(range(10, VOTES - 40), 6)):
            process = work.start(out)
            work.wait(process, book.sent + votes - len(book.committed))
            process.kill()
            book.enter(process)
        finish_like_an_unbroken_run(work, book)


def test_status_while_running_and_after_a_kill(work, tmp_path):
    """`catena status` works beside a running process, and after it was killed, and changes nothing."""
    process = work.start(tmp_path / "r")
    work.wait(process, 60)
    work.provider.control(latency=60.0)  # it is at work for as long as `status` may take
    code, out, err = finish(start("status", tmp_path / "r"))
    assert (code, "running" in out, "small:" in out) == (0, True, True), err
    process.kill()
    finish(process)
    before = (tmp_path / "r" / "ledger.sqlite").read_bytes()
    code, out, err = finish(start("status", tmp_path / "r"))
    assert (code, "unfinished" in out) == (0, True), err
    assert (tmp_path / "r" / "ledger.sqlite").read_bytes() == before
