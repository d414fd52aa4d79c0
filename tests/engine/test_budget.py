"""No call is made that the budget might not hold."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.engine.asker import CallAsker
from catena.engine.budget import Budget, BudgetError
from catena.engine.endpoint import endpoints
from catena.engine.inbox import Queue
from catena.errors import TaskError
from catena.ledger import Ledger
from catena.task import BudgetSpec
from catena.testing.provider import FakeProvider
from catena.types import NOTHING_USED, Capabilities, Usage, Vote
from chains import LABELS, answers_in, chain_task, execute, label_bytes, labels_of, openai, rows_of, texts


def usd(amount):
    """Return a usage of so many dollars."""
    return Usage(10, 1, amount)


def test_waits_for_what_is_in_flight():
    """Where the bounds of calls in flight fill the budget, the next call waits and is made when they cost less."""

    async def work():
        budget = Budget(BudgetSpec(usd=1.0), NOTHING_USED)
        assert await budget.reserve(usd(0.9))
        waiting = asyncio.ensure_future(budget.reserve(usd(0.9)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        budget.settle(usd(0.9), usd(0.05))
        return await waiting, budget.exhausted

    assert asyncio.run(work()) == (True, False)


def test_exhausted():
    """With nothing in flight that could give back, a call that does not fit ends it; what was spent before counts."""

    async def work():
        budget = Budget(BudgetSpec(usd=1.0, calls=100), usd(0.5))
        return await budget.reserve(usd(0.6)), budget.exhausted

    assert asyncio.run(work()) == (False, True)


@pytest.mark.parametrize(
    ("spec", "holds"),
    [(BudgetSpec(calls=2), 2), (BudgetSpec(tokens=40), 3), (BudgetSpec(usd=0.5, calls=9), 5), (None, 20)],
)
def test_kinds(spec, holds):
    """Calls, tokens and USD are all capped, whichever is reached first."""

    async def work():
        budget, made = Budget(spec, NOTHING_USED), 0
        while made < 20 and await budget.reserve(usd(0.1)):
            budget.settle(usd(0.1), usd(0.1))
            made += 1
        return made

    assert asyncio.run(work()) == holds


def test_a_link_without_a_bound():
    """A link whose calls have no upper bound is refused together with a budget."""

    class Unbounded:
        name = "endless"

        def most(self, prompt):
            return None

    with pytest.raises(TaskError, match="budget: link 'endless' has no upper bound"):
        Budget(BudgetSpec(usd=1.0), NOTHING_USED).check(Unbounded(), "x")
    Budget(None, NOTHING_USED).check(Unbounded(), "x")


@settings(deadline=None)
@given(
    st.floats(0, 20),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60),
    st.integers(1, 16),
)
def test_never_more(cap, calls, concurrency):
    """Whatever calls cost within their bounds, at any concurrency, never more than the cap is spent."""

    async def work():
        budget = Budget(BudgetSpec(usd=cap), NOTHING_USED)
        places = asyncio.Semaphore(concurrency)

        async def call(bound, share):
            async with places:
                if await budget.reserve(usd(bound)):
                    await asyncio.sleep(0)
                    budget.settle(usd(bound), usd(bound * share))

        await asyncio.gather(*(call(*each) for each in calls))
        return budget.spent[0]

    assert asyncio.run(work()) <= cap + 1e-9


def test_run_stops_and_goes_on(tmp_path):
    """A run stops at its cap with a provisional label for each row that has a vote; a larger one finishes it."""
    price = {"input": 1000.0, "output": 1000.0}
    rows = rows_of(texts(60))
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        links = [openai(provider, name, price=price, concurrency=4) for name in ("small", "big")]
        with pytest.raises(
            BudgetError, match=r"the budget is reached: \$.* of \$2.00 are used. Finishing takes"
        ) as error:
            execute(chain_task(*links, data={"id": "id"}, budget={"usd": 2.0}), rows, tmp_path / "r")
        assert error.value.exit_code == 3
        assert spent(tmp_path / "r") <= 2.0
        labels = labels_of(tmp_path / "r")
        seen = set(answers_in(tmp_path / "r", "small"))
        assert {row["id"] for row in labels if row["label"]} == {f"i{at}" for at in seen}
        assert {row["status"] for row in labels} == {"provisional", "failed"}
        assert {row["reason"] for row in labels if not row["label"]} == {"no link has seen it"}
        calls = len(provider.calls())
        with pytest.raises(BudgetError):
            execute(chain_task(*links, data={"id": "id"}, budget={"usd": 2.0}), rows, tmp_path / "r")
        assert len(provider.calls()) <= calls + 3  # one more may fit, now that the bounds are gone
        labels = execute(chain_task(*links, data={"id": "id"}, budget={"usd": 100}), rows, tmp_path / "r")
        assert {row["status"] for row in labels} == {"labelled"}
        assert len(provider.calls()) == 90
        execute(chain_task(*links, data={"id": "id"}), rows, tmp_path / "unbroken")
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "unbroken")


def spent(folder):
    """Return what all votes of a run cost."""
    ledger = Ledger(folder)
    try:
        return sum(ledger.spent(number)["cost_usd"] or 0.0 for number, _ in ledger.links().values())
    finally:
        ledger.close()


def test_answers_that_tell_no_tokens_count_at_their_bound():
    """Where a server does not say what was used, a cap on tokens holds all the same."""
    silent = Usage(0, 0, 0.0)

    class Silent:
        name, fingerprint, capabilities = "silent", b"", Capabilities()
        asked = 0

        def most(self, prompt):
            return Usage(50, 50, 0.0)

        async def ask(self, prompts):
            self.asked += len(prompts)
            return [Vote("x", text="x", usage=silent) for _ in prompts]

    async def work():
        link, (gate,) = Silent(), endpoints([Silent()])
        budget = Budget(BudgetSpec(tokens=350), NOTHING_USED)
        questions, told, kept = Queue(10), [], []
        for at in range(10):
            await questions.put((bytes([at]), str(at)))
        questions.close()

        async def answered(key, answer):
            kept.append(key)

        async def remember():
            told.append(list(budget.lost))

        await CallAsker(link, gate, budget, remember, lambda _: None).work(questions, answered)
        return link.asked, len(kept), told[-1]

    assert asyncio.run(work()) == (3, 3, [0.0, 300.0, 0.0])


def test_what_was_lost_is_remembered(tmp_path):
    """Failures that a later run forgets, and lost answers, still count against the budget of the folder."""
    rows = rows_of(texts(12))
    with FakeProvider(labels=list(LABELS), faults={"400": 1}) as provider:
        task = chain_task(
            openai(provider, most_failed=1, concurrency=1), data={"id": "id"}, budget={"calls": 5}
        )
        for _ in range(3):
            with pytest.raises(BudgetError):
                execute(task, rows, tmp_path / "r")
        assert len(provider.calls()) == 5
