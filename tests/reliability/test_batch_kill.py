"""No batch is ever made twice: killed at every step of a batch's life, stopped, cancelled."""

import json
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from soak import figure, many

from catena.errors import CatenaError
from catena.ledger.writer import GROUP
from catena.testing.provider import answered, batches, calls, spawn
from chains import (
    BATCH,
    KINDS,
    batches_in,
    chain_text,
    finish,
    label_bytes,
    openai,
    rows_of,
    start,
    texts,
    votes_in,
)

LABELS = ["favor", "against", "none"]
ROUNDS = many(2, 50)
SIDE_BY_SIDE = 2  # each waits half of its time
KILLS = []
STEPS = {
    "intent written": {"hold": "upload"},
    "file uploaded": {"hold": "create"},
    "made but not recorded": {"hold": "created"},
    "in progress": {"batch_seconds": 1000.0},
    "ended but not harvested": {"hold": "results"},
    "half harvested": {"hold": "half"},
}
RELEASED = {"hold": "", "batch_seconds": 0.0}


def until(process, done, seconds=120):
    """Wait until something is so; end the process where it does not become so."""
    end = time.monotonic() + seconds
    try:
        while not so_far(done):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    except BaseException:
        process.kill()
        process.communicate()
        raise


def so_far(done):
    """Ask; while a run makes its ledger, nothing is so."""
    try:
        return done()
    except CatenaError:
        return False


def reached(step, provider, out):
    """Tell whether a run is at a step with all its batches."""
    if step == "in progress":
        found = (out / "ledger.sqlite").exists() and batches_in(out)
        return bool(found) and all(batch.state == "sent" and batch.said for batch in found)
    if step == "half harvested":
        return provider.stats()["held"] > 0 and votes_in(out).get("small", 0) > 0
    return provider.stats()["held"] > 0


@pytest.mark.parametrize("step", STEPS)
def test_kill_and_resume(tmp_path, step):
    """Killed -9 at a step and resumed: no batch twice, no question twice, no vote lost, an unbroken run's labels."""
    folders = [tmp_path / f"{at}" for at in range(ROUNDS)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for _ in pool.map(kill_and_resume, folders, [step] * ROUNDS, range(ROUNDS)):
            pass


def kill_and_resume(tmp_path, step, at):
    """Kill a run of its own at a step, resume it, and compare the books."""
    tmp_path.mkdir()
    draw = random.Random(f"{step} {at}")
    kind = list(KINDS)[at % 2]
    count, shard = draw.randint(20, 90), draw.randint(10, 40)
    ledger = str(tmp_path / "calls.jsonl")
    held = {"hold": "create"} if kind == "anthropic" and step == "intent written" else STEPS[step]
    with spawn(labels=LABELS, ledger=ledger, batch_shuffle=True, **held) as provider:
        links = [KINDS[kind](provider, **BATCH, shard=shard), openai(provider, "big")]
        (tmp_path / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
        rows_of(texts(count)).to_csv(tmp_path / "rows.csv", index=False)
        command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
        process = start(*command)
        until(process, lambda: reached(step, provider, tmp_path / "r"))
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
        before = votes_in(tmp_path / "r")
        provider.control(**RELEASED)
        code, _, err = finish(start(*command))
        assert code == 0, err
        provider.stats()
        made, paid = batches(ledger), [(call.model, call.key) for call in calls(ledger) if call.usable]
        records = batches_in(tmp_path / "r")
        assert finish(start(*command[:-1], tmp_path / "unbroken"))[0] == 0
    assert len(made) == len(records) == -(-count // shard)
    assert sum(made.values()) == count
    again = Counter(model for (model, _), times in Counter(paid).items() if times > 1)
    assert not again["small"]
    assert (
        again["big"] <= GROUP
    )  # asked call by call: what was not committed when it was killed is bought again
    assert {record.state for record in records} == {"harvested"}
    assert {record.remote for record in records} == set(made)
    assert before.get("small", 0) <= votes_in(tmp_path / "r")["small"] == count
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "unbroken")
    KILLS.append(len(made))
    figure(
        "batches",
        f"{len(KILLS)} kills at six stages, {sum(KILLS):,} batches: 0 made twice, 0 questions asked twice, "
        "0 votes lost, labels identical to an unbroken run's",
    )


@pytest.fixture(params=KINDS)
def run(request, tmp_path):
    """A run over a batch link whose batches take for ever: its provider, its command, its folder, and its process."""
    with spawn(labels=LABELS, ledger=str(tmp_path / "calls.jsonl"), batch_seconds=1000.0) as provider:
        link = KINDS[request.param](provider, **BATCH, shard=10, price={"input": 1.0, "output": 2.0})
        (tmp_path / "task.yaml").write_text(chain_text(link, data={"id": "id"}))
        rows_of(texts(25)).to_csv(tmp_path / "rows.csv", index=False)
        command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
        process = start(*command)
        try:
            until(process, lambda: reached("in progress", provider, tmp_path / "r"))
            until(process, lambda: len(batches_in(tmp_path / "r")) == 3)
            until(process, lambda: reached("in progress", provider, tmp_path / "r"))
            yield provider, command, tmp_path / "r", process
        finally:
            process.kill()
            process.communicate()


def test_stopped_while_it_waits(run):
    """Ctrl+C stops at once with exit code 3 and says that the batches go on; the same command harvests them."""
    provider, command, out, process = run
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process, timeout=20)
    assert code == 3
    assert "3 batches go on at the provider, with 25 questions" in err
    assert "The same command goes on" in err
    assert "Traceback" not in err
    provider.control(**RELEASED)
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert provider.stats()["batches"] == 3
    assert votes_in(out) == {"small": 25}


def listed(out, *more):
    """Return what `catena batch` says in JSON."""
    code, said, err = finish(start("batch", *more, out, "--json"))
    assert code == 0, err
    return json.loads(said)["batches"]


def test_listed_while_it_waits_and_after(run):
    """`catena batch list` shows state, counts, age and cost, beside the running process and after it."""
    provider, _, out, process = run
    waiting = listed(out, "list")
    assert [(each["link"], each["state"], each["count"], each["done"]) for each in waiting] == [
        ("small", "sent", 10, 0),
        ("small", "sent", 10, 0),
        ("small", "sent", 5, 0),
    ]
    assert all(each["cost_usd"] is None and each["most_usd"] > 0 and each["age"] > 0 for each in waiting)
    provider.control(**RELEASED)
    code, _, err = finish(process)
    assert code == 0, err
    ended = listed(out, "list")
    assert {each["state"] for each in ended} == {"harvested"}
    assert all(0 < each["cost_usd"] < each["most_usd"] for each in ended)
    code, said, err = finish(start("batch", "list", out))
    assert (code, "harvested" in said, "10 answered" in said) == (0, True, True), err


def test_cancelled_beside_a_run(run):
    """A batch that is cancelled while a run waits for it stops the run; the next one asks again about what is open."""
    provider, command, out, process = run
    asked = listed(out, "cancel")
    assert len(asked) == 3
    code, _, err = finish(process)
    assert code == 3
    assert "was cancelled; its" in err
    assert "The same command asks them again" in err
    provider.control(**RELEASED)
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert votes_in(out) == {"small": 25}


def test_cancelled_after_a_stop(run):
    """What was answered before a batch was cancelled is harvested by the next run, and only the rest is asked again."""
    provider, command, out, process = run
    process.send_signal(signal.SIGINT)
    finish(process)
    first, *_ = listed(out, "list")
    assert [each["batch"] for each in listed_one(out, first["batch"])] == [first["batch"]]
    provider.control(**RELEASED)
    code, _, err = finish(start(*command))
    assert code == 0, err
    bought = answered(provider.settings.ledger)
    assert bought.total() == len(bought) == 25
    counts = batches_in(out)[0].counts
    assert counts == {"answered": 5, "cancelled": 5}
    assert votes_in(out) == {"small": 25}


def test_deleted_at_the_provider(run):
    """Batches that the provider has deleted are neither cancelled nor waited for: the next run asks their rows again."""
    provider, command, out, process = run
    process.send_signal(signal.SIGINT)
    finish(process)
    gone = [each["batch"] for each in listed(out, "list")]
    provider.control(**RELEASED, forgotten=gone)
    assert listed(out, "cancel") == []
    code, _, err = finish(start(*command))
    assert code == 0, err
    assert all(f"batch {name} is gone at the provider (HTTP 404" in err for name in gone)
    assert votes_in(out) == {"small": 25}
    assert [each["state"] for each in listed(out, "list")] == ["lost"] * 3 + ["harvested"] * 3
    code, said, err = finish(start("batch", "list", out))
    assert (code, "lost (HTTP 404: There is no" in said) == (0, True), err


def listed_one(out, batch):
    """Cancel one batch and return what is said of it."""
    code, said, err = finish(start("batch", "cancel", out, batch, "--json"))
    assert code == 0, err
    return json.loads(said)["batches"]
