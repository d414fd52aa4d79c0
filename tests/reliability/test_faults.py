"""A storm of faults: every row comes out, retries are bounded, and waits are kept."""

import asyncio
from collections import Counter

import pytest

from catena.testing.provider import FakeProvider, spawn, too_early
from chains import LABELS, chain_task, chain_text, execute, finish, labels_of, openai, rows_of, start, texts

STORM = {
    "429": 0.04, "429_retry_after": 0.02, "500": 0.04, "503": 0.04, "reset": 0.03, "truncated": 0.03, "garbage": 0.03,
    "timeout": 0.01, "empty_body": 0.01, "refusal": 0.01, "no_label": 0.01, "cut": 0.01, "two_labels": 0.01, "no_choices": 0.01,
}  # fmt: skip


def test_storm(tmp_path):
    """At 30 % faults over 1,000 rows: labelled + failed = input, exit 0, no traceback, few calls, Retry-After obeyed."""
    rows_of(texts(1000)).to_csv(tmp_path / "rows.csv", index=False)
    ledger = str(tmp_path / "calls.jsonl")
    with spawn(labels=list(LABELS), faults=STORM, retry_after=1.0, ledger=ledger) as provider:
        links = [openai(provider, name, concurrency=64, timeout=1.0) for name in ("small", "big")]
        (tmp_path / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
        code, _, err = finish(
            start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r")
        )
        calls = provider.calls()
    assert code == 0, err
    assert "Traceback" not in err
    labels = labels_of(tmp_path / "r")
    assert [row["id"] for row in labels] == [f"i{at}" for at in range(1000)]
    assert {row["status"] for row in labels} <= {"labelled", "failed"}
    assert Counter(row["status"] for row in labels)["labelled"] > 960
    assert len(calls) <= 1.5 * 1500
    assert max(call.attempt for call in calls) <= 6
    assert not too_early(calls)


def test_mostly_faults_stops(tmp_path, monkeypatch):
    """Where nearly all calls fail, the run stops with exit code 3 and its errors, before it has asked about all rows."""
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    with FakeProvider(labels=list(LABELS), faults={"500": 0.97}) as provider:
        task = chain_task(openai(provider), openai(provider, "dear"), data={"id": "id"})
        with pytest.raises(Exception, match="of its last 50 calls failed: HTTP 500") as error:
            execute(task, rows_of(texts(1000)), tmp_path / "r")
        assert error.value.exit_code == 3
        calls = provider.calls()
    assert len({call.key for call in calls if call.model == "small"}) < 100
    assert not [call for call in calls if call.model == "dear"]


def test_provider_goes_away(tmp_path, monkeypatch):
    """Where the provider goes away in the middle, the run stops, and it finishes when the provider is back."""
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    with FakeProvider(labels=list(LABELS), latency=0.005) as provider:
        task = chain_task(openai(provider), openai(provider, "dear"), data={"id": "id"})

        def watch(progress):
            async def go_away():
                while progress.links[0].answered < 100:  # noqa: ASYNC110 - nothing tells when
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(provider.control, down=True)

            watch.task = go_away

        import threading

        begun = []
        thread = threading.Thread(target=lambda: asyncio.run(watch.task()))
        with pytest.raises(Exception, match="the connection failed") as error:
            execute(
                task,
                rows_of(texts(400)),
                tmp_path / "r",
                watch=lambda p: (begun.append(p), watch(p), thread.start()),
            )
        thread.join()
        assert error.value.exit_code == 3
        provider.control(down=False)
        labels = execute(task, rows_of(texts(400)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}
