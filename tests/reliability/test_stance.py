"""The stance tweets through an embedding and two API links, killed half-way and resumed."""

import csv
import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from catena.ledger.writer import GROUP
from catena.testing.provider import answered, spawn
from catena.vectors.minilm import PACKAGE
from chains import chain_text, finish, labels_of, openai, start, votes_in

TWEETS = Path(os.environ.get("CATENA_TASKS", "/nowhere")) / "semeval2016_stance.csv"
pytestmark = [
    pytest.mark.skipif(
        not TWEETS.exists(), reason="CATENA_TASKS names no folder with semeval2016_stance.csv"
    ),
    pytest.mark.skipif(not importlib.util.find_spec(PACKAGE), reason=f"{PACKAGE} is not installed"),
]
ROWS = 4163 if os.environ.get("CATENA_SOAK") else 400
CONCURRENCY = 16


def test_killed_half_way(tmp_path):
    """All tweets come out once and in order, and no committed vote is bought twice."""
    with TWEETS.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames
        rows = [row for row, _ in zip(reader, range(ROWS), strict=False)]
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    text, gold = (
        next(n for n in names if n in {"text", "tweet"}),
        next(n for n in names if n in {"gold", "label", "stance"}),
    )
    labels = sorted({row[gold] for row in rows})
    ledger = tmp_path / "calls.jsonl"
    expected = ROWS - ROWS // 3 + ROWS - ROWS // 3 - (ROWS - ROWS // 3) // 2
    with spawn(labels=labels, latency=0.01, ledger=str(ledger)) as provider:
        links = [
            {"name": "e", "kind": "embedding"},
            *[openai(provider, name, concurrency=CONCURRENCY) for name in ("small", "big")],
        ]
        (tmp_path / "task.yaml").write_text(
            chain_text(*links, labels=labels, data={"text": text, "gold": gold})
        )
        command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
        process = start(*command)
        while provider.stats()["answered"] < expected // 2 and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
        time.sleep(0.05)
        provider.stats()
        before = set(answered(ledger))
        code, _, err = finish(start(*command), timeout=500)
        assert code == 0, err
    assert [row["id"] for row in labels_of(tmp_path / "r")] == list(range(1, ROWS + 1))
    bought = answered(ledger)
    assert len(bought) == votes_in(tmp_path / "r")["small"] + votes_in(tmp_path / "r")["big"]
    assert bought.total() - len(bought) <= 2 * CONCURRENCY + GROUP
    assert before
