"""The same answers and seed give the same bytes, however many calls are in flight and in whatever order they come back."""

from hashlib import blake2b

import pytest
from soak import figure, many

from catena.testing.provider import FakeProvider
from chains import LABELS, chain_task, execute, label_bytes, openai, rows_of

ROWS = many(200, 5_000)
SEEDS = range(many(1, 5))
CONCURRENCIES = (1, 64, None)
FAULTS = {"no_label": 0.05, "two_labels": 0.05, "refusal": 0.02, "500": 0.02, "truncated": 0.01, "429": 0.02}
SEEN = set()


def digest(out):
    """Return what identifies a labels file."""
    return blake2b(label_bytes(out), digest_size=8).hexdigest()


@pytest.mark.parametrize("aggregate", ["rank", "last"])
@pytest.mark.parametrize("seed", SEEDS)
def test_concurrency_and_latency_decide_nothing(tmp_path, aggregate, seed):
    """One call at a time, 64, and as many as the endpoint takes, with latencies that turn the order upside down."""
    rows = rows_of([f"text number {at % (ROWS * 3 // 4)}" for at in range(ROWS)])
    found = []
    for concurrency in CONCURRENCIES:
        # Faults are drawn by question and attempt, so each run has a provider of its own.
        with FakeProvider(
            labels=list(LABELS), seed=seed, jitter=0.002, faults=FAULTS, sharpness=3.0
        ) as provider:
            links = [openai(provider, name, concurrency=concurrency) for name in ("small", "mid", "big")]
            out = tmp_path / str(concurrency)
            execute(chain_task(*links, data={"id": "id"}, seed=seed, aggregate=aggregate), rows, out)
        found.append(digest(out))
    assert len(set(found)) == 1
    SEEN.add(found[0])
    said = (
        f"{len(SEEN)} chains of 3 links over {ROWS:,} rows, each with concurrency 1, 64 and found by itself"
    )
    figure("determinism", f"{said}: byte-identical labels")


def test_another_seed_is_another_result(tmp_path):
    """What would be the same whatever happens shows nothing: with another seed ties fall otherwise."""
    found = set()
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        for seed in (0, 1):
            links = openai(provider, "small"), openai(provider, "big")
            task = chain_task(*links, data={"id": "id"}, seed=seed, aggregate="last")
            execute(task, rows_of([f"text {at}" for at in range(50)]), tmp_path / str(seed))
            found.add(digest(tmp_path / str(seed)))
    assert len(found) == 2
