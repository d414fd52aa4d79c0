"""Chain-of-thought: two turns, both counted, bounded and retried, and the answer alone is the vote."""

import asyncio
import time
from collections import Counter

import pytest

from catena.engine.budget import BudgetError
from catena.engine.run import Run
from catena.errors import LinkError, TaskError
from catena.ledger import Ledger
from catena.links.thinking import FIRST, THEN, Thinker, Thoughts
from catena.testing import check_link
from catena.testing.provider import FakeProvider, Reply
from catena.types import Failure, Item, Usage, Vote
from chains import (
    BATCH,
    KINDS,
    LABELS,
    answers_in,
    ask,
    chain_task,
    execute,
    open_alone,
    openai,
    rows_of,
    texts,
)

kinds = pytest.mark.parametrize("kind", KINDS)
PRICE = {"input": 1.0, "output": 10.0}
THOUGHTS = "The text praises it, so it is not against it."


def link_to(provider, kind="openai", task=None, **options):
    """Return a link that thinks."""
    return open_alone(KINDS[kind](provider, **({"think": 100, "price": PRICE} | options)), **(task or {}))


def thinker(seen, first=THOUGHTS, then="favor"):
    """Return what a provider answers: thoughts in a first turn, a label in a second one."""

    def answer(request):
        seen.append(request)
        return Reply(then if request["messages"][-1]["content"] == THEN else first)

    return answer


@kinds
def test_two_turns(kind):
    """Thoughts are asked for with room for them and without log-probabilities; the answer has them before it."""
    seen = []
    with FakeProvider(thinker(seen), labels=list(LABELS)) as provider:
        (vote,) = ask(link_to(provider, kind, {"system": "Be fair."}), "What?")
    first, second = seen
    assert isinstance(vote, Vote)
    assert (vote.label, vote.text) == ("favor", f"{THOUGHTS}\n\nfavor")
    assert first["messages"][-1] == {"role": "user", "content": f"What?{FIRST}"}
    assert second["messages"] == [
        *first["messages"],
        {"role": "assistant", "content": THOUGHTS},
        {"role": "user", "content": THEN},
    ]
    assert first["max_tokens"] == 100 > second["max_tokens"]
    assert "logprobs" not in first
    assert ("logprobs" in second) is (kind == "openai")


@kinds
def test_both_turns_are_counted(kind):
    """Tokens, cost and calls are those of both, and the bound holds them."""
    seen = []
    with FakeProvider(thinker(seen), labels=list(LABELS)) as provider:
        link = link_to(provider, kind)
        (vote,) = ask(link, "What?")
        alone = link_to(provider, kind, think=None)
        asked = sum(sum((len(m["content"]) + 3) // 4 + 4 for m in each["messages"]) for each in seen)
        most = link.most("What?")
    used = vote.usage
    assert used.prompt_tokens == asked
    assert used.completion_tokens > len(THOUGHTS.split())
    assert used.cost_usd == pytest.approx((used.prompt_tokens + 10 * used.completion_tokens) / 1e6)
    assert used.calls == most.calls == link.capabilities.calls == 2
    assert used.cost_usd <= most.cost_usd
    assert used.prompt_tokens <= most.prompt_tokens
    assert most.completion_tokens == alone.most("What?").completion_tokens + 100
    assert alone.most("What?").calls == 1


def test_probabilities_are_those_after_the_thoughts():
    """The label and its log-probabilities come from the second turn."""
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        link = link_to(provider)
        for text in texts(10):
            prompt = link.render(Item(0, "1", text))
            (vote,) = ask(link, prompt)
            truth = provider.distribution(
                [{"role": "user", "content": said} for said in (f"{prompt}{FIRST}", THEN)], "small"
            )
            assert vote.label == max(truth, key=truth.get)
            assert vote.source == "label_logprobs"


@kinds
def test_keeps_the_contract_of_links(kind):
    """`check_link` passes."""
    with FakeProvider(labels=list(LABELS)) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(3))]
        check_link(link_to(provider, kind), items, list(LABELS))


@kinds
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refusal", "refused"),
        ("empty_answer", "empty"),
        ("no_choices", None),
        ("500", "server"),
        ("400", "bad_request"),
    ],
)
def test_no_thoughts_no_answer(kind, fault, reason):
    """A first turn that fails is the failure, and the second one is not made."""
    with FakeProvider(labels=list(LABELS), faults={fault: 1}) as provider:
        (answer,) = ask(link_to(provider, kind), "What?")
        assert len(provider.calls()) == 1
    assert isinstance(answer, Failure)
    assert answer.reason == (reason or ("bad_body" if kind == "openai" else "empty"))
    assert answer.usage.calls == 1


@kinds
def test_cut_thoughts_do(kind):
    """Thoughts that reach their limit are thoughts; an answer that names no label is none, with both in its text."""
    with FakeProvider(thinker([], then="Hard to say."), labels=list(LABELS)) as provider:
        (answer,) = ask(link_to(provider, kind), "What?")
    assert (answer.reason, answer.text) == ("no_label", f"{THOUGHTS}\n\nHard to say.")
    assert answer.usage.calls == 2

    def long(request):
        turns = len(request["messages"])
        return Reply("favor") if turns > 1 else Reply("so", finish_reason="length")

    with FakeProvider(long, labels=list(LABELS)) as provider:
        (vote,) = ask(link_to(provider, kind), "What?")
    assert vote.label == "favor"


@kinds
def test_thoughts_are_not_bought_twice(kind, tmp_path, monkeypatch):
    """With a third of all calls failing, every turn is answered once, and all rows get their label."""
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    with FakeProvider(labels=list(LABELS), faults={"500": 0.2, "429": 0.1}, other=0.0) as provider:
        task = chain_task(KINDS[kind](provider, think=20, price=PRICE), data={"id": "id"})
        labels = execute(task, rows_of(texts(40)), tmp_path / "r")
        calls = provider.calls()
    assert {row["status"] for row in labels} == {"labelled"}
    assert len(calls) > 100
    answered = Counter(call.key for call in calls if call.usable)
    assert len(answered) == 80
    assert set(answered.values()) == {1}
    assert sum(answer.usage.calls for answer in answers_in(tmp_path / "r", "small").values()) == len(calls)


def test_a_link_that_fails_between_turns_tells_what_it_paid():
    """The first turn's cost is in a failure that may be tried again; that try meets the error, with nothing paid."""
    made = []

    async def send(question, read):
        made.append(len(question["messages"]))
        if made[-1] > 1:
            raise LinkError("link 'a': HTTP 401: no key.")
        return Thoughts("Hm.", Usage(10, 5, 0.5))

    it = Thinker(
        100, send, lambda prompt: {"messages": [{"role": "user", "content": prompt}]}, None, lambda _: None
    )

    async def work():
        told = await it.ask("What?")
        assert (told.reason, told.retryable, told.usage.cost_usd, told.usage.calls) == (
            "server",
            True,
            0.5,
            1,
        )
        with pytest.raises(LinkError, match="HTTP 401"):
            await it.ask("What?")

    asyncio.run(work())
    assert made == [1, 3, 3]


def test_a_cap_on_calls_counts_both(tmp_path):
    """Seven calls are three votes; no eighth is made."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, think=20), budget={"calls": 7}, data={"id": "id"})
        with pytest.raises(BudgetError, match="6 calls of 7 calls"):
            execute(task, rows_of(texts(9)), tmp_path / "r")
        assert len(provider.calls()) == 6


def test_with_samples():
    """Each sample has thoughts of its own."""
    seen = []
    with FakeProvider(thinker(seen), labels=list(LABELS)) as provider:
        link = link_to(provider, confidence="samples", samples=3)
        (vote,) = ask(link, "What?")
    assert (vote.label, vote.source, vote.usage.calls, len(seen)) == ("favor", "samples", 6, 6)
    assert vote.usage.cost_usd <= link.most("What?").cost_usd
    assert link.most("What?").calls == link.capabilities.calls == 6


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_turn_counts_at_its_bound(lost, tmp_path, monkeypatch):
    """Whichever turn is lost on the way, what it may have cost is in what the budget counts."""
    monkeypatch.setattr("catena.engine.asker.TRIES", 1)
    with FakeProvider(labels=list(LABELS)) as provider:
        link = {"think": 500, "price": PRICE, "timeout": 0.3, "most_failed": 1.0}
        task = chain_task(openai(provider, **link), budget={"usd": 1.0}, data={"id": "id"})
        run = Run(task, rows_of(["a"]), tmp_path / "r")
        own, seen = provider.annotator, []

        def answer(request, *more):
            seen.append(request)
            if len(seen) == lost:
                time.sleep(0.6)
            return own(request, *more)

        provider.desk.answer = answer
        most = run.links[0].most(run.links[0].render(Item(0, "i0", "a"))).cost_usd
        with pytest.raises(LinkError, match="all its calls failed"):
            run.execute()
    ledger = Ledger(tmp_path / "r")
    told = answers_in(tmp_path / "r", "small")[0].usage.cost_usd or 0.0
    usd = ledger.get("lost")[0] + told
    ledger.close()
    assert len(seen) == lost
    assert usd == pytest.approx(most)


@kinds
def test_it_shapes_votes(kind):
    """Thinking or not, and how long, makes other votes."""
    with FakeProvider() as provider:
        assert len({link_to(provider, kind, think=most).fingerprint for most in (None, 100, 200)}) == 3


@kinds
def test_not_in_batches(kind):
    """A batch has no second turn: refused."""
    with FakeProvider() as provider, pytest.raises(TaskError, match="think: a batch asks each question once"):
        link_to(provider, kind, **BATCH)
