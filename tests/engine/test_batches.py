"""Batch endpoints in a chain: every row gets its answer, at half price, whatever a batch brings back and in any order."""

import stat
import threading
import time

import pytest

from catena.errors import CatenaError
from catena.ledger import Ledger
from catena.testing.provider import FakeProvider
from chains import (
    BATCH,
    KINDS,
    LABELS,
    answers_in,
    batches_in,
    chain_task,
    execute,
    label_bytes,
    openai,
    rows_of,
    texts,
    votes_in,
)

ROWS = 60
kinds = pytest.mark.parametrize("kind", KINDS)


def task_of(provider, kind, *more, **options):
    """Return a task with a batch link of a kind, and perhaps others."""
    return chain_task(KINDS[kind](provider, **BATCH | options), *more, data={"id": "id"})


@kinds
def test_labels_are_those_of_calls(tmp_path, kind):
    """A batch link gives the labels that calls give; each question is asked once, in one batch."""
    with FakeProvider(labels=list(LABELS), batch_seconds=0.05, batch_shuffle=True) as provider:
        execute(task_of(provider, kind), rows_of(texts(ROWS)), tmp_path / "batch")
        made = provider.stats()
        execute(
            chain_task(KINDS[kind](provider), data={"id": "id"}), rows_of(texts(ROWS)), tmp_path / "calls"
        )
    assert (made["batches"], made["requests"]) == (1, ROWS)
    assert label_bytes(tmp_path / "batch") == label_bytes(tmp_path / "calls")
    (batch,) = batches_in(tmp_path / "batch")
    assert (batch.state, batch.counts, batch.count) == ("harvested", {"answered": ROWS}, ROWS)


@kinds
def test_half_price(tmp_path, kind):
    """A vote of a batch costs half of what its tokens cost otherwise, and so does its bound."""
    price = {"input": 2.0, "output": 20.0}
    with FakeProvider(labels=list(LABELS)) as provider:
        task = task_of(provider, kind, price=price)
        execute(task, rows_of(["a"]), tmp_path / "r")
    used = answers_in(tmp_path / "r", "small")[0].usage
    assert used.cost_usd == pytest.approx((used.prompt_tokens + 10 * used.completion_tokens) / 1e6)
    (batch,) = batches_in(tmp_path / "r")
    assert batch.cost_usd == used.cost_usd <= batch.most_usd


@kinds
@pytest.mark.parametrize("first", [True, False])
def test_in_a_chain(tmp_path, kind, first):
    """Before an ordinary link or behind one: the labels are those of a chain of calls."""
    with FakeProvider(labels=list(LABELS), batch_seconds=0.05, models=["small", "big"]) as provider:
        batch, call = KINDS[kind](provider, **BATCH, shard=20), openai(provider, "big")
        chain = [batch, call] if first else [call, batch]
        execute(chain_task(*chain, data={"id": "id"}), rows_of(texts(ROWS)), tmp_path / "r")
        chain = [{k: v for k, v in link.items() if k not in {"mode", "poll", "shard"}} for link in chain]
        execute(chain_task(*chain, data={"id": "id"}), rows_of(texts(ROWS)), tmp_path / "calls")
    assert votes_in(tmp_path / "r") == votes_in(tmp_path / "calls")
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "calls")
    assert [batch.count for batch in batches_in(tmp_path / "r")] == [20] * (3 if first else 1) + (
        [] if first else [10]
    )


FAULTS = {
    "errored": 0.1,
    "expired": 0.1,
    "missing": 0.1,
    "garbled": 0.05,
    "duplicate": 0.1,
    "unknown": 0.1,
    "invalid": 0.05,
}


@kinds
def test_whatever_comes_back(tmp_path, kind, capsys):
    """Errors, expired, missing, doubled and unknown results in any order: each row comes out, few are asked again."""
    with FakeProvider(labels=list(LABELS), batch_faults=FAULTS, batch_shuffle=True) as provider:
        task = task_of(provider, kind, shard=100)
        warned = []
        labels = execute(
            task, rows_of(texts(300)), tmp_path / "r", watch=lambda progress: warned.append(progress.warnings)
        )
        requests, answered = provider.stats()["requests"], provider.stats()["answered"]
    assert len(labels) == 300
    records = batches_in(tmp_path / "r")
    assert {record.state for record in records} == {"harvested"}
    assert max(record.tries for record in records) == 3
    assert sum(record.count for record in records) == requests < 300 * 1.6
    for record in records:
        counts = dict(record.counts)
        extra = counts.pop("duplicate", 0) + counts.pop("unknown", 0)
        assert sum(counts.values()) == record.count
        assert extra > 0 or record.tries > 1
    failed = [row for row in labels if row["status"] == "failed"]
    assert 0 < len(failed) < 40
    assert any("are asked again" in line for line in warned[0])
    assert votes_in(tmp_path / "r") == {"small": 300}
    assert answered >= 300 - len(failed)


@kinds
def test_files_are_private_and_go(tmp_path, kind, monkeypatch):
    """The file of a shard has mode 0600 in a folder of mode 0700, and is gone when its batch is harvested."""
    seen = []
    with FakeProvider(labels=list(LABELS), batch_seconds=0.1) as provider:

        def look(progress):
            def work():
                folder = tmp_path / "r" / "batches"
                while not (files := list(folder.glob("*.jsonl"))):
                    pass
                seen.extend(stat.S_IMODE(path.stat().st_mode) for path in [folder, *files])

            look.thread = threading.Thread(target=work)
            look.thread.start()

        execute(task_of(provider, kind), rows_of(texts(3)), tmp_path / "r", watch=look)
        look.thread.join()
    assert seen == [0o700, 0o600]
    assert not list((tmp_path / "r" / "batches").iterdir())


@kinds
def test_refused_batch(tmp_path, kind):
    """A batch that does not pass validation stops the run with the provider's reason; the next run asks anew."""
    with FakeProvider(labels=list(LABELS), batch_invalid="Too many tokens are enqueued.") as provider:
        task = task_of(provider, kind)
        with pytest.raises(CatenaError, match=r"refuses a batch of 5 questions: .*Too many tokens") as error:
            execute(task, rows_of(texts(5)), tmp_path / "r")
        assert error.value.exit_code == 3
        provider.control(batch_invalid="")
        labels = execute(task, rows_of(texts(5)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}
    assert [record.state for record in batches_in(tmp_path / "r")] == ["failed", "harvested"]


GONE = {
    ("openai", "batch"): "batch_1",
    ("openai", "results"): "batch_1-output",
    ("anthropic", "batch"): "msgbatch_1",
    ("anthropic", "results"): "msgbatch_1/results",
}


@kinds
@pytest.mark.parametrize("what", ["batch", "results"])
def test_a_batch_that_is_gone(tmp_path, kind, what):
    """What a provider has deleted is asked again, in one warning; what it may have cost stays charged to the budget."""
    warned = []
    with FakeProvider(labels=list(LABELS), forgotten=[GONE[kind, what]]) as provider:
        link = KINDS[kind](provider, **BATCH, price={"input": 1.0, "output": 2.0})

        def run(calls):
            task = chain_task(link, data={"id": "id"}, budget={"calls": calls})
            watch = lambda progress: warned.append(progress.warnings)  # noqa: E731
            return execute(task, rows_of(texts(5)), tmp_path / "r", watch=watch)

        with pytest.raises(CatenaError, match="the budget is reached: 5 calls of 9 calls are used"):
            run(9)
        assert provider.stats()["requests"] == 5
        labels = run(10)
        assert provider.stats()["requests"] == 10
    assert {row["status"] for row in labels} == {"labelled"}
    (line,) = [line for lines in warned for line in lines if "is gone" in line]
    assert "batch_1 is gone at the provider (HTTP 404: There is no" in line
    assert "5 lost" in line
    lost, harvested = batches_in(tmp_path / "r")
    assert (lost.state, lost.counts, lost.cost_usd) == ("lost", {"lost": 5}, None)
    assert lost.said.startswith("HTTP 404")
    assert (harvested.state, harvested.counts) == ("harvested", {"answered": 5})
    with Ledger(tmp_path / "r") as ledger:
        assert ledger.get("lost") == [lost.most_usd, lost.most_tokens, 5]


@kinds
def test_a_batch_that_shows_up_late(tmp_path, kind, monkeypatch):
    """A batch that its provider does not know at the first look is not given up: it may only have been made just now."""
    with FakeProvider(labels=list(LABELS), forgotten=[GONE[kind, "batch"]]) as provider:

        async def wait(courier):
            provider.control(forgotten=[])

        monkeypatch.setattr("catena.engine.courier.Courier._let_settle", wait)
        execute(task_of(provider, kind), rows_of(texts(5)), tmp_path / "r")
        assert provider.stats()["requests"] == 5
    assert [batch.state for batch in batches_in(tmp_path / "r")] == ["harvested"]


@kinds
def test_batches_that_are_always_gone(tmp_path, kind):
    """Where every batch is deleted, a question is in three of them; then its row has failed, with the reason."""
    gone = [GONE[kind, "batch"].replace("1", str(number)) for number in (1, 2, 3)]
    with FakeProvider(labels=list(LABELS), forgotten=gone) as provider:
        with pytest.raises(CatenaError, match="the provider no longer has its batch"):
            execute(task_of(provider, kind), rows_of(texts(5)), tmp_path / "r")
        assert provider.stats()["requests"] == 15
    assert [batch.state for batch in batches_in(tmp_path / "r")] == ["lost"] * 3


@kinds
def test_budget_holds_a_whole_shard(tmp_path, kind):
    """A shard whose bound the budget does not hold is not sent; a larger budget goes on."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = KINDS[kind](provider, **BATCH, shard=10, price={"input": 1.0, "output": 1.0})
        with pytest.raises(CatenaError, match="budget is reached") as error:
            execute(
                chain_task(link, data={"id": "id"}, budget={"calls": 15}), rows_of(texts(40)), tmp_path / "r"
            )
        assert error.value.exit_code == 3
        assert provider.stats()["requests"] == 10
        labels = execute(
            chain_task(link, data={"id": "id"}, budget={"calls": 40}), rows_of(texts(40)), tmp_path / "r"
        )
        assert provider.stats()["requests"] == 40
    assert {row["status"] for row in labels} == {"labelled"}


@kinds
def test_open_batches_that_nobody_takes(tmp_path, kind, monkeypatch):
    """Open batches of a link that has other settings now, or asks call by call, are spoken of and left alone."""
    warned = []
    with FakeProvider(labels=list(LABELS), hold="results") as provider:
        monkeypatch.setattr("catena.engine.courier.OUTAGE_SECONDS", 0.0)

        def go_away():
            while not provider.stats()["held"]:
                time.sleep(0.01)
            provider.control(down=True)

        thread = threading.Thread(target=go_away)
        with pytest.raises(CatenaError, match=r"can't be reached.*the same command harvests it"):
            execute(
                task_of(provider, kind), rows_of(texts(3)), tmp_path / "r", watch=lambda _: thread.start()
            )
        thread.join()
        provider.control(hold="", down=False)
        for options, update in (({"mode": "call"}, False), ({"max_tokens": 50}, True)):
            task = task_of(provider, kind, **options)
            execute(
                task,
                rows_of(texts(3)),
                tmp_path / "r",
                update=update,
                watch=lambda progress: warned.append(progress.warnings),
            )
    assert any("has 1 open batches and asks call by call now" in line for line in warned[0])
    assert any("had other settings when 1 of its batches were sent" in line for line in warned[1])
    assert sorted(record.state for record in batches_in(tmp_path / "r")) == ["harvested", "sent"]
