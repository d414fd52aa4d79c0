"""Self-consistency: several calls, one vote; what is counted, what fails, and what the shares are worth."""

import asyncio
import math
from collections import Counter

import pytest

from catena.engine.endpoint import endpoints
from catena.engine.run import Run
from catena.errors import LinkError, StoppedError, TaskError
from catena.ledger import Ledger
from catena.links import open_link
from catena.links.samples import MOST_HELD, Sampler
from catena.testing import check_link
from catena.testing.provider import FakeProvider, Reply, call_key
from catena.types import Capabilities, Failure, Item, Usage, Vote
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
ONE = Usage(10, 2, 0.5, 1.0)
BUSY = Failure("rate_limit", "busy", retryable=True, retry_after=1.0)
LOST = Failure("timeout", "no answer within 1 s", retryable=True, usage=Usage(latency_ms=9.0), charged=True)


def link_to(provider, kind, **options):
    """Return a link that samples."""
    return open_alone(KINDS[kind](provider, **{"confidence": "samples"} | options))


def vote(label):
    """Return one sample."""
    return Vote(label, 3.0, "label_logprobs", (0.0, -3.0, None), label, ONE, "m")


def failed(reason):
    """Return one sample that names no label."""
    return Failure(reason, f"it is {reason}", text="?", usage=ONE)


def sampler(answers, count=5):
    """Return a sampler whose calls end as told, and the list of those to come."""
    left = list(answers)

    async def call(_):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Sampler(call, LABELS, count), left


def tries(answers, times=1, count=5):
    """Ask that often about a prompt; return the answers and how many calls were left."""
    made, left = sampler(answers, count)

    async def work():
        return [await made.ask("What?") for _ in range(times)]

    return asyncio.run(work()), len(left)


@kinds
def test_keeps_the_contract_of_links(kind):
    """`check_link` passes, with its bound on what is used."""
    with FakeProvider(labels=list(LABELS)) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(3))]
        check_link(link_to(provider, kind), items, list(LABELS))


@kinds
def test_shares_are_the_models(kind):
    """The samples of many calls are as often each label as its known distribution says."""
    with FakeProvider(labels=list(LABELS), sharpness=2.0, other=0.0) as provider:
        link = link_to(provider, kind, samples=100)
        prompts = [link.render(Item(0, "1", text)) for text in texts(10)]
        off = 0.0
        for prompt, said in zip(prompts, ask(link, *prompts), strict=True):
            assert (said.source, len(said.text.splitlines())) == ("samples", 100)
            truth = provider.distribution(prompt, "small")
            off += sum(
                (math.exp(x) - truth[label]) ** 2 for x, label in zip(said.logprobs, LABELS, strict=True)
            )
    # In the mean the squared error is sum(p (1 - p)) / 100, at most 2/300: ten of them at their most have a mean of 1/15.
    assert 0 < off < 2 / 15


@kinds
def test_all_calls_are_counted(kind):
    """A vote's usage is that of all its calls, and the upper bound holds them."""
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        link = link_to(provider, kind, samples=3, price={"input": 1.0, "output": 10.0})
        prompt = link.render(Item(0, "1", "text"))
        (said,) = ask(link, prompt)
        most = link.most(prompt)
        assert len(provider.calls()) == said.usage.calls == most.calls == 3
    used = said.usage
    assert used.cost_usd == pytest.approx((used.prompt_tokens + 10 * used.completion_tokens) / 1e6)
    assert used.cost_usd <= most.cost_usd
    assert used.prompt_tokens + used.completion_tokens <= most.prompt_tokens + most.completion_tokens


def test_named_most_often():
    """The label is the one named most often, and the confidence is in the shares, not in any one call."""
    ((said,), left) = tries([vote("none"), vote("favor"), vote("favor"), vote("none"), vote("favor")])
    assert (said.label, said.source, said.model, left) == ("favor", "samples", "m", 0)
    assert said.confidence == pytest.approx(math.log((3 + 1 / 3) / (2 + 1 / 3)))
    assert said.text.splitlines() == ["none", "favor", "favor", "none", "favor"]
    assert said.usage == Usage(50, 10, 2.5, 5.0, 5)


def test_half_of_the_samples_is_enough():
    """Samples that name no label leave the decision to the others, as long as these are at least half."""
    ((said,), _) = tries([vote("none"), failed("no_label"), vote("none"), failed("refused")], count=4)
    assert (said.label, said.usage.calls) == ("none", 4)
    assert said.confidence == pytest.approx(math.log((2 + 1 / 3) / (1 / 3)))


def test_less_than_half_is_a_failure():
    """With fewer there is none: the failure has the most frequent reason, and no call is made that can't matter."""
    said = [vote("none"), failed("no_label"), failed("refused"), failed("refused"), vote("none")]
    ((answer,), left) = tries(said)
    assert (answer.reason, answer.retryable, left) == ("refused", False, 1)
    assert answer.message == "1 of 5 samples named a label; another it is refused"
    assert (answer.usage.calls, answer.text) == (4, "none\n?\n?\n?")


def test_what_came_is_not_bought_again():
    """A call that fails in passing ends the try with that failure; the next try makes only the calls that lack."""
    given = [vote("none"), vote("none"), BUSY, vote("favor"), vote("none"), vote("none")]
    ((first, second), left) = tries(given, times=2)
    assert (first.reason, first.retry_after, first.usage.prompt_tokens) == ("rate_limit", 1.0, 20)
    assert (second.label, second.usage.calls, left) == ("none", 3, 0)


def test_after_three_passing_failures_half_will_do():
    """Then the fourth try decides from what came, without a call; what was lost has been told by the failures."""
    given = [vote("none"), LOST, vote("none"), LOST, vote("favor"), LOST, vote("favor")]
    (answers, left) = tries(given, times=4)
    assert [isinstance(answer, Failure) and answer.charged for answer in answers] == [True, True, True, False]
    assert (answers[-1].label, answers[-1].usage.calls, left) == ("none", 0, 1)


def test_less_than_half_goes_on_being_asked():
    """As long as less than half came, a try is a call as before."""
    (answers, left) = tries([vote("none"), *[LOST] * 4, *[vote("none")] * 4], times=5)
    assert [type(answer) for answer in answers] == [Failure] * 4 + [Vote]
    assert left == 2  # the last try had half after two calls


def test_an_error_of_the_whole_link_loses_no_count():
    """What a try has paid for before the link turns out to be unusable is told; then the error comes."""
    made, _ = sampler([vote("none"), LinkError("link 'a': HTTP 401.", "Check the key."), LinkError("again")])

    async def work():
        first = await made.ask("What?")
        with pytest.raises(LinkError, match="again"):
            await made.ask("What?")
        return first

    first = asyncio.run(work())
    assert (first.reason, first.message, first.usage.calls) == (
        "server",
        "link 'a': HTTP 401. Check the key.",
        1,
    )


def test_what_is_held_is_bounded():
    """Prompts that are never asked again don't fill the memory."""
    made = Sampler(lambda _: asyncio.sleep(0, BUSY), LABELS, 2)

    async def work():
        for at in range(MOST_HELD + 10):
            await made.ask(str(at))

    asyncio.run(work())
    assert len(made._held) == MOST_HELD


WRONG = {
    "nothing sampled": ({"confidence": None, "samples": 3}, "samples: nothing is sampled"),
    "all alike": ({"temperature": 0}, "at 0 all samples are alike"),
    "all alike by body": ({"body": {"temperature": 0.0}}, "at 0 all samples are alike"),
    "a seed": ({"body": {"seed": 1}}, "body: seed does not go with"),
    "many in a call": ({"body": {"n": 3}}, "body: n does not go with"),
    "a batch": (BATCH, "there are no samples"),
    "one": ({"samples": 1}, "samples"),
    "unknown": ({"confidence": "guess"}, "confidence: unknown choice 'guess'"),
}


@kinds
@pytest.mark.parametrize("case", WRONG)
def test_refused(kind, case):
    """What would make samples no samples is refused, with the key that is wrong."""
    options, message = WRONG[case]
    with FakeProvider() as provider, pytest.raises(TaskError, match=message):
        link_to(provider, kind, **options)


def test_log_probabilities_that_are_not_there():
    """Asking for log-probabilities where there are none is refused."""
    with FakeProvider() as provider:
        with pytest.raises(TaskError, match="Anthropic gives no log-probabilities"):
            link_to(provider, "anthropic", confidence="logprobs")
        with pytest.raises(TaskError, match="top_logprobs, which is 0"):
            link_to(provider, "openai", confidence="logprobs", top_logprobs=0)


@kinds
def test_they_shape_votes(kind):
    """Another source of confidence, and another number of samples, make other votes; the default is as it was."""
    with FakeProvider() as provider:
        made = [
            link_to(provider, kind, **options)
            for options in ({}, {"samples": 5}, {"samples": 7}, {"temperature": 0.5}, {"confidence": None})
        ]
        plain = KINDS[kind](provider)
        task = chain_task(plain)
        assert made[4].fingerprint == open_link(task.chain[0], task).fingerprint
    assert made[0].fingerprint == made[1].fingerprint
    assert len({link.fingerprint for link in made}) == 4
    assert [link.capabilities.confidence for link in made[:4]] == ["samples"] * 4


@kinds
def test_question(kind):
    """Samples are drawn at temperature 1 unless the task says otherwise, and ask for no log-probabilities."""
    with FakeProvider() as provider:
        assert link_to(provider, kind).question("?")["temperature"] == 1.0
        assert "logprobs" not in link_to(provider, kind).question("?")
        assert link_to(provider, kind, temperature=0.3).question("?")["temperature"] == 0.3
        assert "temperature" not in link_to(provider, kind, body={"temperature": None}).question("?")


def test_shares_with_few_values(tmp_path):
    """Few distinct confidences never break quotas: each link keeps exactly its share."""
    with FakeProvider(labels=list(LABELS), other=0.0, sharpness=3.0) as provider:
        sampled = openai(provider, confidence="samples", samples=3)
        task = chain_task(sampled, openai(provider, "middle", confidence="samples"), openai(provider, "big"))
        labels = execute(task, rows_of(texts(60)), tmp_path / "r")
    votes = answers_in(tmp_path / "r", "small").values()
    assert len({answer.confidence for answer in votes}) <= 4  # 3-0, 2-1, 1-1-1
    assert {answer.source for answer in votes} == {"samples"}
    assert [len(answers_in(tmp_path / "r", name)) for name in ("small", "middle", "big")] == [60, 40, 20]
    assert all(row["status"] == "labelled" for row in labels)


def test_in_a_storm(tmp_path, monkeypatch):
    """With three calls in ten failing, all items are labelled, and no sample that came is bought twice."""
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    faults = {"500": 0.1, "429": 0.1, "garbage": 0.1}
    with FakeProvider(labels=list(LABELS), other=0.0, faults=faults) as provider:
        task = chain_task(openai(provider, confidence="samples"))
        labels = execute(task, rows_of(texts(60)), tmp_path / "r")
        came = Counter(call.key for call in provider.calls() if call.usable)
    votes = answers_in(tmp_path / "r", "small").values()
    assert [row["status"] for row in labels] == ["labelled"] * 60
    assert sorted(came.values()) == sorted(len(answer.text.splitlines()) for answer in votes)
    assert max(came.values()) == 5
    assert min(came.values()) >= 3


def test_budget_covers_all_calls(tmp_path):
    """A cap on calls counts each sample, and no vote is begun that it does not hold."""
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        task = chain_task(
            openai(provider, confidence="samples", samples=4, concurrency=3), budget={"calls": 30}
        )
        with pytest.raises(StoppedError, match=r"28 calls of 30 calls .* about 52 more calls"):
            execute(task, rows_of(texts(20)), tmp_path / "r")
        assert len(provider.calls()) == 28
    assert len(answers_in(tmp_path / "r", "small")) == 7


@pytest.mark.parametrize("sampled", [{}, {"confidence": "samples", "samples": 4}])
def test_a_lost_call_is_charged_as_one(tmp_path, monkeypatch, sampled):
    """Of a try whose last call was lost the budget counts what is known and that call's bound, not that of all calls."""
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    with FakeProvider(labels=list(LABELS), faults={"truncated": 0.4}, seed=2) as provider:
        task = chain_task(openai(provider, **sampled), budget={"tokens": 1_000_000})
        Run(task, rows_of(texts(6)), tmp_path / "r").execute()
        link = open_link(task.chain[0], task)
        calls = provider.calls()
        lost = sum(call.fault == "truncated" for call in calls)
    most = link.most(link.render(Item(0, "1", texts(6)[0])))
    one = (most.prompt_tokens + most.completion_tokens) / most.calls
    ledger = Ledger(tmp_path / "r")
    try:
        told = ledger.get("lost")
    finally:
        ledger.close()
    assert lost > 2
    assert told[1] == pytest.approx(lost * one, rel=0.01)
    assert told[2] == 0


def test_limits_count_all_calls():
    """A limit on requests a minute counts each sample, and no minute sees more."""

    async def work():
        can = Capabilities(calls=5, requests_per_minute=60, concurrency=50, endpoint="x")
        (gate,) = endpoints([type("Link", (), {"name": "a", "capabilities": can})])
        tasks = [asyncio.ensure_future(gate.admit(0.0)) for _ in range(4)]
        await asyncio.sleep(0.01)
        begun = sum(task.done() for task in tasks)
        wait = gate.endpoint.wait(gate, 0.0, asyncio.get_running_loop().time())
        gate.endpoint.stop()
        await asyncio.gather(*tasks)
        return begun, wait

    begun, wait = asyncio.run(work())
    assert begun == 1
    assert 4.5 < wait <= 5 * 60 / 55


def test_every_malformed_answer_is_a_failure():
    """A model that says something malformed each time has no vote, and the reason says what it said."""
    replies = {"": "empty", "pro or con": "no_label", "favor or none": "many_labels", "proness": "no_label"}
    for text, reason in replies.items():
        with FakeProvider(lambda _, text=text: Reply(text), labels=list(LABELS)) as provider:
            (answer,) = ask(link_to(provider, "openai"), "What?")
            assert len(provider.calls()) == 3
        assert (answer.reason, answer.retryable) == (reason, False)


def test_draws_are_known():
    """The fake provider draws by a hash of the key and the attempt: the same calls again draw the same samples."""

    def once():
        with FakeProvider(labels=list(LABELS), sharpness=1.0) as provider:
            link = link_to(provider, "openai", samples=9)
            said = ask(link, "What?", "Why?")
            asked = {call.key for call in provider.calls()}
        assert asked == {call_key("small", link.question(prompt)["messages"]) for prompt in ("What?", "Why?")}
        return [answer.text for answer in said]

    first = once()
    assert first == once()
    assert first[0] != first[1]
    assert len(set(first[0].split())) > 1
