"""A run that is told to stop keeps what is paid for, says how to go on, and goes on."""

import signal
import time

import pytest
from live import answers_of, live
from soak import figure, many

from chains import finish, labels_of

ROWS = 150
VOTES = ROWS + ROWS // 2
POINTS = many(2, 25)
STOPS = []
HANGUP = pytest.param(
    signal.SIGHUP,
    marks=pytest.mark.skipif(
        signal.getsignal(signal.SIGHUP) == signal.SIG_IGN,
        reason="these tests run under nohup: a run ignores it",
    ),
)


@pytest.fixture
def work(tmp_path):
    """A chain of two links over a provider, in processes of their own."""
    with live(tmp_path, rows=ROWS) as running:
        yield running


def stopped(process):
    """See that a process stops as it should: exit code 3, one line that says how to go on; return that line."""
    code, _, err = finish(process)
    assert code == 3, err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("catena: stopped")]
    assert "the same command goes on" in line.lower()
    STOPS.append(line)
    figure("stops", f"{len(STOPS)} stops, all with exit code 3 and one line, 0 answers lost, all resumed")
    return line


def goes_on(work, out):
    """See that the same command finishes the run."""
    code, _, err = finish(work.start(out))
    assert code == 0, err
    assert [row["id"] for row in labels_of(out)] == [f"i{at}" for at in range(ROWS)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, HANGUP])
def test_once(work, tmp_path, number):
    """Ctrl+C, SIGTERM or the end of the terminal once: the calls in flight are finished and kept, and nothing is bought twice."""
    for at in range(POINTS):
        out, before = tmp_path / f"r{at}", work.answers_sent()
        process = work.start(out)
        work.wait(process, before + 20 + at * (VOTES - 60) // POINTS)
        process.send_signal(number)
        stopped(process)
        assert work.provider.stats()["left"] == 0
        assert len(answers_of(out)) == work.answers_sent() - before < VOTES
        goes_on(work, out)
        assert work.answers_sent() - before == VOTES


def test_twice(work, tmp_path):
    """Ctrl+C twice does not wait for the calls in flight; what was answered is kept."""
    process = work.start(tmp_path / "r")
    work.wait(process, 60)
    work.provider.control(latency=30.0)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    stopped(process)
    assert time.monotonic() - began < 10
    assert len(answers_of(tmp_path / "r")) == work.answers_sent()
    work.provider.control(latency=0.0)
    goes_on(work, tmp_path / "r")


def test_one_that_waits_to_try_again(tmp_path):
    """A stop does not wait until the pause before another try is over."""
    with live(tmp_path, rows=ROWS, faults={"429_retry_after": 1}, retry_after=300) as work:
        process = work.start(tmp_path / "r")
        while work.provider.stats()["by_status"].get("429", 0) < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        stopped(process)
        assert time.monotonic() - began < 10
        work.provider.control(faults={})
        goes_on(work, tmp_path / "r")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "step", ["reading rows", "copying items", "between two groups of votes", "writing labels"]
)
def test_at_a_step(work, tmp_path, step, sign):
    """Also while rows are read and copied, a group is committed or labels are written: then the run goes on as ever."""
    process = work.start_dying(step, 1, tmp_path / "r", sign)
    stopped(process)
    answers = len(answers_of(tmp_path / "r"))
    assert answers == work.answers_sent()
    if step in {"reading rows", "copying items"}:
        assert not answers
    goes_on(work, tmp_path / "r")
    assert work.answers_sent() == VOTES
