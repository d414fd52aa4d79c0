"""A run is steered while it works: pause, calls at a time, budget; and it says how far it is."""

import contextlib
import json
import stat
import threading
import time

import msgspec
import pytest

from catena.engine.budget import Budget, BudgetError
from catena.engine.circuit import OUTAGE_SECONDS, Circuit
from catena.engine.endpoint import endpoints
from catena.engine.steering import (
    CONTROL_FILE,
    PROGRESS_FILE,
    Control,
    RunSeen,
    read_control,
    read_progress,
    write_control,
    write_progress,
)
from catena.errors import LinkError, TaskError
from catena.ledger.lock import here
from catena.task import BudgetSpec
from catena.testing.provider import FakeProvider
from catena.types import NOTHING_USED, Capabilities, Failure
from chains import BATCH, LABELS, chain_task, execute, label_bytes, labels_of, openai, rows_of, texts
from people import data_of, person, recorded, task_of
from steered import Steered

ID = {"id": "id"}
ROWS = 300


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look at the files as often as a test wants to."""
    monkeypatch.setattr("catena.engine.helm.EVERY_SECONDS", 0.02)


@contextlib.contextmanager
def steered(out, *links, provider, rows=ROWS, **task):
    """Run a chain over a provider; it has ended when the block has."""
    chain = [openai(provider, **{"concurrency": 4} | link) for link in links or ({},)]
    run = Steered(chain_task(*chain, data=ID, **task), rows_of(texts(rows)), out)
    try:
        yield run
    except BaseException:
        with contextlib.suppress(Exception):
            run.ask(budget=BudgetSpec(calls=0))
        raise
    finally:
        run.end()


def answered(seen):
    """Return how many answers a run has got."""
    return sum(link.answered for link in seen.links)


def test_a_pause_finishes_calls_in_flight_and_begins_no_others(tmp_path):
    """While it lasts no call is made; afterwards the run ends with the labels of one without a pause."""
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        links = [{"name": name} for name in ("small", "big")]
        with steered(tmp_path / "r", *links, provider=provider) as run:
            run.seen(lambda seen: answered(seen) > 20)
            run.ask(paused=True)
            seen = run.seen(lambda seen: not sum(link.in_flight for link in seen.links))
            before, calls = answered(seen), len(provider.calls())
            time.sleep(0.3)
            assert (answered(run.seen()), len(provider.calls())) == (before, calls)
            assert run.seen().paused
            assert before < 1.5 * ROWS
            run.ask(paused=False)
            assert run.end() is None
        execute(
            chain_task(*[openai(provider, **link) for link in links], data=ID),
            rows_of(texts(ROWS)),
            tmp_path / "u",
        )
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "u")


def test_a_paused_run_can_be_stopped(tmp_path):
    """A budget under what is spent, or a signal, ends it although nothing is in flight."""
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        price = {"input": 1.0, "output": 1.0}
        with steered(tmp_path / "r", {"price": price}, provider=provider) as run:
            run.seen(lambda seen: answered(seen) > 20)
            run.ask(paused=True)
            run.ask(paused=False, budget=BudgetSpec(usd=0.0))
            assert isinstance(run.end(), BudgetError)


def most_at_once(provider, begin):
    """Return the most calls that were at work at a time among those after the first `begin`."""
    return max(call.in_flight for call in provider.calls()[begin:])


@pytest.mark.parametrize(("named", "wanted"), [(8, 2), (2, 12), (None, 3)])
def test_calls_at_a_time_are_lowered_and_raised(tmp_path, named, wanted):
    """Soon there are as many as is asked for and never more, whatever the task named."""
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        with steered(tmp_path / "r", {"concurrency": named}, provider=provider, rows=1000) as run:
            run.seen(lambda seen: answered(seen) > 20)
            seen = run.ask(concurrency={"small": wanted})
            assert seen.links[0].most == wanted
            assert seen.links[0].allowed == 512
            run.seen(lambda seen: seen.links[0].in_flight <= wanted)
            begin = len(provider.calls())
            if named == 2:
                run.seen(lambda seen: seen.links[0].in_flight >= wanted - 2)
            else:
                run.seen(lambda seen: answered(seen) >= min(1000, begin + 150))
            at_most = most_at_once(provider, begin + 2)
            run.ask(concurrency={"small": 64})
            assert run.end() is None
        assert at_most <= wanted


def test_what_runs_in_this_machine_keeps_its_number():
    """A link that says how many calls it can do with is never asked more often at a time."""

    class Local:
        name, capabilities = "local", Capabilities(concurrency=1)

    (gate,) = endpoints([Local()])
    gate.limit(50)
    assert (gate.allowed, gate.ceiling) == (1, 1)


def test_a_lower_budget_stops_the_run_and_says_whose_it_was(tmp_path):
    """As a cap does: provisional labels, and the same command goes on, with the task's own budget."""
    price = {"input": 1.0, "output": 1.0}
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        task = {"budget": {"usd": 5.0}}
        with steered(tmp_path / "r", {"price": price}, provider=provider, **task) as run:
            seen = run.seen(lambda seen: answered(seen) > 20)
            assert seen.caps == [5.0, None, None]
            seen = run.ask(budget=BudgetSpec(usd=seen.spent[0] / 2))
            error = run.end()
        assert isinstance(error, BudgetError)
        assert "the same command goes on with the task's own" in str(error)
        assert seen.steered or read_progress(tmp_path / "r").steered
        chain = openai(provider, price=price)
        labels = execute(chain_task(chain, data=ID, **task), rows_of(texts(ROWS)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}


def test_a_higher_budget_lets_the_run_end(tmp_path):
    """Which the task's own would have stopped; what is spent stays within it."""
    price = {"input": 1.0, "output": 1.0}
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        with steered(tmp_path / "r", {"price": price}, provider=provider, budget={"calls": 150}) as run:
            run.seen(lambda seen: answered(seen) > 5)
            run.ask(budget=BudgetSpec(calls=ROWS))
            assert run.end() is None
        assert len(provider.calls()) == ROWS
    seen = read_progress(tmp_path / "r")
    assert (seen.spent[2], seen.caps[2]) == (ROWS, ROWS)


def test_a_budget_where_there_was_none(tmp_path):
    """What was spent without one counts; the overshoot is no more than the calls in flight when it came."""
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        with steered(tmp_path / "r", provider=provider) as run:
            run.seen(lambda seen: answered(seen) > 20)
            run.ask(budget=BudgetSpec(calls=100))
            assert isinstance(run.end(), BudgetError)
        assert len(provider.calls()) <= 100 + 4


def test_a_budget_that_cannot_hold_is_refused():
    """A link without an upper bound: the budget stays as it was."""

    class Unbounded:
        name = "u"

        def most(self, prompt):
            return None

    budget = Budget(BudgetSpec(), NOTHING_USED)
    with pytest.raises(TaskError):
        budget.cap(BudgetSpec(usd=1.0), [Unbounded()], steered=True)
    assert (budget.caps, budget.steered) == ([None, None, None], False)


def test_a_run_that_waits_for_people_is_finished_without_them(tmp_path):
    """As soon as its control file says so: what people have not labelled keeps its earlier vote, and the run ends."""
    votes = recorded(tmp_path / "votes", 12)
    run = Steered(task_of(votes), data_of(12), tmp_path / "r")
    try:
        run.seen(lambda seen: seen.links[1].waits_for)
        with person(tmp_path / "r", 2):
            run.seen(lambda seen: seen.links[1].answered == 2)
        run.ask(paused=False)  # nothing of people
        assert run.seen().links[1].waits_for
        run.ask(finish_without_people=True)
    finally:
        error = run.end()
    assert error is None
    assert [row["link"] for row in labels_of(tmp_path / "r")] == ["people"] * 2 + ["small"] * 10


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"process": 1}', b'{"process": "x", "paused": true}',
                                     b'{"process": "THIS", "concurrency": {"small": 0}}', b"\xff" * 100])  # fmt: skip
def test_what_is_no_control_steers_nobody(tmp_path, content):
    """Half a file, another kind of file, one for an earlier process, or one that asks for what can't be."""
    with (
        FakeProvider(labels=list(LABELS), latency=0.01) as provider,
        steered(tmp_path / "r", provider=provider, rows=100) as run,
    ):
        seen = run.seen()
        (tmp_path / "r" / CONTROL_FILE).write_bytes(content.replace(b"THIS", seen.process.encode()))
        assert run.end() is None
    seen = read_progress(tmp_path / "r")
    assert (seen.over, seen.paused, seen.number, seen.links[0].most) == (True, False, 0, 4)


def test_what_was_asked_of_an_earlier_process_is_over(tmp_path):
    """A run that is begun again begins as its task says."""
    with FakeProvider(labels=list(LABELS), latency=0.02) as provider:
        with steered(tmp_path / "r", provider=provider) as run:
            run.ask(budget=BudgetSpec(calls=30))
            assert isinstance(run.end(), BudgetError)
        first = read_progress(tmp_path / "r").process
        execute(chain_task(openai(provider), data=ID), rows_of(texts(ROWS)), tmp_path / "r")
    seen = read_progress(tmp_path / "r")
    assert seen.process != first
    assert seen.caps == [None, None, None]


def test_a_run_says_how_far_it_is(tmp_path):
    """Counts, warnings, failures with their rows, and at the end that it is over; in files of their owner alone."""
    faults = {"500": 0.2}
    with (
        FakeProvider(labels=list(LABELS), latency=0.01, faults=faults, no_logprobs=True) as provider,
        steered(tmp_path / "r", {"name": "small"}, {"name": "big"}, provider=provider) as run,
    ):
        live = run.seen(lambda seen: answered(seen) > 10 and bool(seen.rates))
        assert (live.holder, live.over, live.items) == (here(), False, ROWS)
        assert run.end() is None
    seen = read_progress(tmp_path / "r")
    assert seen.over
    assert [link.answered for link in seen.links] == [ROWS, ROWS // 2]
    assert seen.links[0].tries_failed["server"] > 0
    assert "500" in seen.links[0].troubles[-1].message
    assert any("no log-probabilities" in line for line in seen.warnings)
    assert seen.rates[-1][1] <= ROWS
    for name in (PROGRESS_FILE, CONTROL_FILE):
        path = tmp_path / "r" / name
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failed_items_are_named_by_their_row(tmp_path):
    """With the reason, so that one can look at them at once."""
    with FakeProvider(labels=list(LABELS)) as provider:
        rows = rows_of(["fine", "", "fine too"])
        execute(chain_task(openai(provider), data=ID), rows, tmp_path / "r")
    (trouble,) = read_progress(tmp_path / "r").links[0].troubles
    assert (trouble.row, trouble.reason) == (1, "empty")


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch):
    """Whoever only looks is no reason to stop; who asks is told."""
    seen = msgspec.json.decode(msgspec.json.encode({
        "process": "p", "holder": "h", "began": 0.0, "at": 0.0, "over": False, "pilot": False, "items": 0, "links": [], "spent": [], "caps": [],
        "steered": False, "paused": False, "number": 0, "warnings": [], "rates": [],
    }), type=RunSeen)  # fmt: skip
    write_progress(tmp_path / "no such folder", seen)
    with pytest.raises(OSError, match="No such file"):
        write_control(tmp_path / "no such folder", Control("p"))
    assert read_progress(tmp_path / "no such folder") is None
    assert read_control(tmp_path) is None


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """A reader at any time finds the old one or the new one, and no other file stays."""
    torn = []
    ended = threading.Event()

    def read():
        while not ended.is_set():
            with contextlib.suppress(FileNotFoundError):
                text = (tmp_path / CONTROL_FILE).read_text()
                with contextlib.suppress(json.JSONDecodeError):
                    json.loads(text)
                    continue
                torn.append(text)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(300):
        write_control(tmp_path, Control("p" * 2000, number, concurrency={str(at): 1 for at in range(50)}))
    ended.set()
    thread.join()
    assert torn == []
    assert [path.name for path in tmp_path.iterdir()] == [CONTROL_FILE]
    assert read_control(tmp_path).number == 299


def test_a_pause_is_no_outage():
    """The time in which no call was wanted does not count for how long nothing has worked."""
    circuit, failure = Circuit("x"), Failure("transport", "gone", retryable=True)
    for at in range(20):
        circuit.end([f"p{at}"], [failure], 10.0, 11.0)
    circuit.excuse(1000.0)
    circuit.end(["p"], [failure], 1011.0, 1012.0)
    with pytest.raises(LinkError):
        circuit.end(["p"], [failure], 1012.0, 1012.0 + OUTAGE_SECONDS)


def test_a_pause_holds_batches_back(tmp_path):
    """None is begun while it lasts; those at the provider are harvested."""
    with FakeProvider(labels=list(LABELS), batch_seconds=0.1) as provider:
        link = BATCH | {"shard": 30, "batches": 1}
        with steered(tmp_path / "r", link, provider=provider) as run:
            run.seen(lambda seen: answered(seen) > 0)
            run.ask(paused=True)
            seen = run.seen(lambda seen: not seen.links[0].waits_for)
            assert seen.links[0].allowed == 0
            batches = provider.stats()["batches"]
            time.sleep(0.3)
            assert provider.stats()["batches"] == batches < ROWS / 30
            run.ask(paused=False)
            assert run.end() is None
    assert read_progress(tmp_path / "r").links[0].answered == ROWS
