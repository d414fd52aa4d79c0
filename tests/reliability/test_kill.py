"""Kill -9 loses nothing committed and changes no label; signals stop a run gently."""

import random
import signal
import time

import pytest

from catena.ledger.writer import GROUP
from catena.testing.provider import answered, spawn
from chains import chain_text, finish, label_bytes, labels_of, openai, rows_of, start, texts, votes_in

ROWS = 400
CONCURRENCY = 8
LABELS = ["favor", "against", "none"]


@pytest.fixture
def provider(tmp_path):
    """A provider in a process of its own, with a ledger of calls."""
    with spawn(labels=LABELS, latency=0.02, ledger=str(tmp_path / "calls.jsonl")) as running:
        yield running


@pytest.fixture
def arguments(provider, tmp_path):
    """The files of a run over two links, as arguments."""
    links = [openai(provider, name, concurrency=CONCURRENCY) for name in ("small", "big")]
    (tmp_path / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
    rows_of(texts(ROWS)).to_csv(tmp_path / "rows.csv", index=False)
    return ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out"]


def wait_for_calls(provider, count, process, seconds=30):
    """Wait until the provider has answered so many calls, or the process has ended."""
    end = time.monotonic() + seconds
    while provider.stats()["answered"] < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def bought(tmp_path):
    """Return the usable answers that were sent, by key."""
    return answered(tmp_path / "calls.jsonl")


def test_kill_and_resume(provider, arguments, tmp_path):
    """Killed at six points and resumed: no committed vote is lost or bought again, and the labels are an unbroken run's."""
    draw = random.Random(7)
    out, at_most = tmp_path / "r", 2 * CONCURRENCY + GROUP
    for at in sorted(draw.sample(range(20, 560), 6)):
        process = start(*arguments, out)
        wait_for_calls(provider, at, process)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
        time.sleep(0.05)  # the answers in flight are entered as sent or left
        provider.stats()
        committed = sum(votes_in(out).values())
        assert len(bought(tmp_path)) - committed <= at_most
    code, _, err = finish(start(*arguments, out))
    assert code == 0, err
    assert [row["id"] for row in labels_of(out)] == [f"i{at}" for at in range(ROWS)]
    provider.stats()
    again = bought(tmp_path).total() - len(bought(tmp_path))
    assert len(bought(tmp_path)) == sum(votes_in(out).values()) == ROWS + ROWS // 2
    assert again <= 6 * at_most
    assert finish(start(*arguments, tmp_path / "unbroken"))[0] == 0
    assert label_bytes(out) == label_bytes(tmp_path / "unbroken")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_gently(provider, arguments, tmp_path, number):
    """Ctrl+C or SIGTERM once: calls in flight are finished and kept, exit code 3, and the line says how to go on."""
    process = start(*arguments, tmp_path / "r")
    wait_for_calls(provider, 60, process)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 3
    assert "The same command goes on" in err
    assert "Traceback" not in err
    assert provider.stats()["left"] == 0
    assert sum(votes_in(tmp_path / "r").values()) == provider.stats()["answered"] < 600
    assert finish(start(*arguments, tmp_path / "r"))[0] == 0
    assert bought(tmp_path).total() == 600


def test_stopped_at_once(provider, arguments, tmp_path):
    """Ctrl+C twice does not wait for the calls in flight; what was answered is kept."""
    process = start(*arguments, tmp_path / "r")
    wait_for_calls(provider, 60, process)
    provider.control(latency=30.0)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, _, err = finish(process)
    assert code == 3
    assert "Traceback" not in err
    assert time.monotonic() - began < 10
    assert sum(votes_in(tmp_path / "r").values()) == provider.stats()["answered"]


def test_status_while_running_and_after_a_kill(provider, arguments, tmp_path):
    """`catena status` works beside a running process, and after it was killed, and changes nothing."""
    process = start(*arguments, tmp_path / "r")
    wait_for_calls(provider, 60, process)
    code, out, err = finish(start("status", tmp_path / "r"))
    assert (code, "small:" in out) == (0, True), err
    process.kill()
    finish(process)
    before = (tmp_path / "r" / "ledger.sqlite").read_bytes()
    code, out, err = finish(start("status", tmp_path / "r"))
    assert (code, "unfinished" in out) == (0, True), err
    assert (tmp_path / "r" / "ledger.sqlite").read_bytes() == before
