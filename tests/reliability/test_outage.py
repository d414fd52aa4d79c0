"""Where a provider goes away for good, the run ends soon, with one line, and what is behind it is not flooded."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from soak import SOAK, figure

from catena.engine.run import Run
from catena.errors import StoppedError
from catena.testing.provider import spawn
from catena.types import Vote
from chains import (
    LABELS,
    answers_in,
    chain_task,
    chain_text,
    finish,
    labels_of,
    openai,
    rows_of,
    start,
    texts,
)

ROWS = 2_000
BEFORE = 200
CONCURRENCY = 16
MOST_SECONDS = 60.0
OUTAGES = {
    "gone": {"down": True},
    "silent": {"faults": {"timeout": 1}},
    "broken": {"faults": {"500": 1}},
    "overloaded": {"faults": {"503": 1}},
    "garbage": {"faults": {"garbage": 1}},
}
CONVALESCENT = {"down": False, "faults": {}}


@contextlib.contextmanager
def chain(folder):
    """Yield a cheap provider, a dear one, and the links to them."""
    with (
        spawn(labels=list(LABELS), latency=0.005) as cheap,
        spawn(labels=list(LABELS), latency=0.005, ledger=str(folder / "dear.jsonl")) as dear,
    ):
        yield (
            cheap,
            dear,
            [
                openai(cheap, "small", concurrency=CONCURRENCY, timeout=5.0),
                openai(dear, "big", concurrency=CONCURRENCY),
            ],
        )


def goes_away(cheap, changes, ended=lambda: False):
    """Let the cheap provider go away once it has given some answers; return when it did."""
    while cheap.stats()["answered"] < BEFORE and not ended():
        time.sleep(0.002)
    cheap.control(**changes)
    return time.monotonic()


def not_flooded(out, dear):
    """See that the dear link was asked only about what the cheap one had labelled before, and not about the others."""
    small, big = answers_in(out, "small"), answers_in(out, "big")
    labelled = {row for row, answer in small.items() if isinstance(answer, Vote)}
    assert set(big) <= labelled
    assert len({call.key for call in dear.calls()}) == len(big) < ROWS // 2


@pytest.mark.parametrize("how", OUTAGES if SOAK else ["gone"])
def test_outage_in_short(tmp_path, monkeypatch, how):
    """With a shorter patience: the run stops, keeps its votes, floods nobody, and goes on when the provider is back."""
    monkeypatch.setattr("catena.engine.circuit.OUTAGE_SECONDS", 2.0)
    with chain(tmp_path) as (cheap, dear, links):
        task = chain_task(*links, data={"id": "id"})
        thread = threading.Thread(target=goes_away, args=(cheap, OUTAGES[how]))
        thread.start()
        with pytest.raises(StoppedError, match="every call has failed for") as error:
            Run(task, rows_of(texts(ROWS)), tmp_path / "r").execute()
        thread.join()
        assert error.value.exit_code == 3
        not_flooded(tmp_path / "r", dear)
        cheap.control(**CONVALESCENT)
        Run(task, rows_of(texts(ROWS)), tmp_path / "r").execute()
    assert {row["status"] for row in labels_of(tmp_path / "r")} == {"labelled"}


def ended(run):
    """Wait for a run; return its exit code, what it said, and in how many seconds it ended after its provider went away."""
    process, gone, *_ = run
    code, _, err = finish(process, timeout=120)
    return code, err, time.monotonic() - gone


@pytest.mark.skipif(not SOAK, reason="takes a minute; make soak does it")
def test_outages(tmp_path):
    """Every kind of outage ends a run within a minute, with exit code 3 and one clear line; it goes on afterwards."""
    with contextlib.ExitStack() as stack:
        running = {}
        for how, changes in OUTAGES.items():
            folder = tmp_path / how
            folder.mkdir()
            cheap, dear, links = stack.enter_context(chain(folder))
            (folder / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
            rows_of(texts(ROWS)).to_csv(folder / "rows.csv", index=False)
            command = ["run", folder / "task.yaml", folder / "rows.csv", "--out", folder / "r"]
            process = start(*command)
            gone = goes_away(cheap, changes, lambda process=process: process.poll() is not None)
            running[how] = process, gone, command, cheap, dear
        with ThreadPoolExecutor(len(running)) as pool:
            ends = list(pool.map(ended, running.values()))
        longest = max(seconds for *_, seconds in ends)
        for (how, (_, _, command, cheap, dear)), (code, err, seconds) in zip(
            running.items(), ends, strict=True
        ):
            assert code == 3, (how, err)
            assert "Traceback" not in err
            (line,) = [line for line in err.splitlines() if line.startswith("catena: ")]
            assert "run the same command to go on" in line
            assert seconds <= MOST_SECONDS, (how, seconds)
            not_flooded(tmp_path / how / "r", dear)
            cheap.control(**CONVALESCENT)
            again, _, said = finish(start(*command))
            assert again == 0, said
            assert {row["status"] for row in labels_of(tmp_path / how / "r")} == {"labelled"}
    figure(
        "outage",
        f"{len(OUTAGES)} kinds, the run ended within {longest:.0f} s (allowed {MOST_SECONDS:.0f}), exit code 3, "
        "0 rows sent to the dear link because of it, all resumed",
    )
