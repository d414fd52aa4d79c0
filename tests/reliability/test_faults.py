"""A storm of faults: every row comes out, retries are bounded, and waits are kept."""

from collections import Counter

import pytest
from live import Live
from soak import figure, many

from catena.testing.provider import FakeProvider, spawn, too_early
from chains import (
    LABELS,
    answers_in,
    chain_task,
    chain_text,
    execute,
    finish,
    labels_of,
    openai,
    rows_of,
    texts,
    votes_in,
)

STORM = {
    "429": 0.06, "429_retry_after": 0.04, "500": 0.04, "503": 0.04, "reset": 0.03, "truncated": 0.03, "garbage": 0.03,
    "empty_body": 0.01, "no_choices": 0.01, "timeout": 0.005, "drip": 0.005,
}  # fmt: skip
"""30 % of all answers, of which none is a label."""

ODD = {"refusal": 0.01, "no_label": 0.01, "cut": 0.01, "two_labels": 0.01}
"""Answers that name no label: asking again would not help."""

ROWS = many(1_000, 100_000)


def test_storm(tmp_path):
    """At 30 % faults: labelled + failed = input, exit 0, no traceback, few calls, Retry-After obeyed."""
    rows_of(texts(ROWS)).to_csv(tmp_path / "rows.csv", index=False)
    ledger = str(tmp_path / "calls.jsonl")
    with spawn(
        labels=list(LABELS), faults=STORM | ODD, retry_after=1.0, drip=0.05, ledger=ledger
    ) as provider:
        links = [openai(provider, name, concurrency=64, timeout=1.0) for name in ("small", "big")]
        (tmp_path / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
        code, _, err = finish(Live(tmp_path, provider, 128).start(tmp_path / "r"), timeout=6000)
        calls = provider.calls()
    assert code == 0, err
    assert "Traceback" not in err
    labels = labels_of(tmp_path / "r")
    assert [row["id"] for row in labels] == [f"i{at}" for at in range(ROWS)]
    ended = Counter(row["status"] for row in labels)
    assert ended["labelled"] + ended["failed"] == ROWS
    assert ended["labelled"] > 0.96 * ROWS
    assert all(row["reason"] for row in labels if row["status"] == "failed")
    wanted = ROWS + ROWS // 2
    assert sum(votes_in(tmp_path / "r").values()) == wanted
    assert len(calls) <= 1.5 * wanted
    tries = Counter(call.key for call in calls if not call.fault.startswith("429"))
    assert max(tries.values()) <= 6  # a rate limit is no fault of the question
    assert not too_early(calls)
    again = Counter(call.key for call in calls)
    assert all(again[call.key] == call.attempt for call in calls if call.fault in ODD)
    faulty = sum(call.fault in STORM for call in calls) / len(calls)
    figure(
        "fault storm",
        f"{ROWS:,} rows at {faulty:.1%} faults: {ended['labelled']:,} labelled + {ended['failed']:,} failed, "
        f"{len(calls) / wanted:.3f} calls per wanted answer (allowed 1.5), 0 calls before Retry-After was over",
    )


@pytest.mark.parametrize("status", ["400", "401", "403"])
def test_what_asking_again_would_not_mend_is_asked_once(tmp_path, status):
    """A refused request or key is never tried again; for a refused key the run stops at the first answers."""
    with FakeProvider(labels=list(LABELS), faults={status: 1}) as provider:
        task = chain_task(openai(provider, concurrency=4), openai(provider, "dear"), data={"id": "id"})
        with pytest.raises(Exception, match=f"HTTP {status}") as error:
            execute(task, rows_of(texts(40)), tmp_path / "r")
        calls = provider.calls()
    assert error.value.exit_code == 3
    assert {call.attempt for call in calls} == {1}
    assert {call.model for call in calls} == {"small"}
    assert status == "400" or len(calls) <= 4


def test_no_label_is_forwarded_not_asked_again(tmp_path):
    """An answer that names no label moves its item on to the next link, before any that has a label."""
    odd = {"refusal": 0.1, "no_label": 0.1, "cut": 0.1, "two_labels": 0.05, "empty_answer": 0.05}
    with FakeProvider(labels=list(LABELS), faults=odd) as provider:
        task = chain_task(
            openai(provider), openai(provider, "big"), data={"id": "id"}, policy={"share": [0.2, 0.8]}
        )
        execute(task, rows_of(texts(200)), tmp_path / "r")
        calls = provider.calls()
    assert {call.attempt for call in calls} == {1}
    failed = {
        row for row, answer in answers_in(tmp_path / "r", "small").items() if not hasattr(answer, "label")
    }
    assert 40 < len(failed) < 120
    assert failed <= set(answers_in(tmp_path / "r", "big"))


def test_retry_after_is_obeyed_by_all(tmp_path):
    """However long a provider asks to wait, the same question does not come before; long enough, and it works."""
    with FakeProvider(labels=list(LABELS), faults={"429_retry_after": 0.3}, retry_after=2.0) as provider:
        task = chain_task(openai(provider, concurrency=16), data={"id": "id"})
        labels = execute(task, rows_of(texts(60)), tmp_path / "r")
        calls = provider.calls()
    assert {row["status"] for row in labels} == {"labelled"}
    assert sum(call.status == 429 for call in calls) > 5
    assert not too_early(calls)


def test_mostly_faults_stops(tmp_path):
    """Where nearly all calls fail, the run stops with exit code 3 and its errors, before it has asked about all rows."""
    with FakeProvider(labels=list(LABELS), faults={"400": 0.9}) as provider:
        task = chain_task(openai(provider), openai(provider, "dear"), data={"id": "id"})
        with pytest.raises(Exception, match="of its last 50 calls failed: HTTP 400") as error:
            execute(task, rows_of(texts(1000)), tmp_path / "r")
        assert error.value.exit_code == 3
        calls = provider.calls()
    assert len({call.key for call in calls if call.model == "small"}) < 100
    assert not [call for call in calls if call.model == "dear"]
