"""What is asked again, when, and how it is counted."""

import asyncio
import time

import pytest

from catena.engine.asker import LONGEST_REFUSED, TRIES, CallAsker
from catena.engine.budget import Budget
from catena.engine.endpoint import endpoints
from catena.engine.inbox import Queue
from catena.errors import LinkError
from catena.task import BudgetSpec
from catena.types import NOTHING_USED, Capabilities, Failure, Usage, Vote

BUSY = Failure("rate_limit", "busy", retryable=True, usage=Usage(calls=1))
BROKEN = Failure("server", "broken", retryable=True, usage=Usage(calls=1))
USED = Usage(10, 1, 0.5, 20.0, 1)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Let an endpoint that refuses all calls not pause in real time."""
    monkeypatch.setattr("catena.engine.endpoint.FIRST_PAUSE", 0.0)


class Scripted:
    """A link that gives each prompt the answers of its script, one per try."""

    name, fingerprint, capabilities = "scripted", b"", Capabilities(batch=8, concurrency=None)

    def __init__(self, **script):
        self.script = {prompt: list(answers) for prompt, answers in script.items()}
        self.asked = []

    def most(self, prompt):
        """Say that a call costs at most a dollar."""
        return Usage(10, 1, 1.0)

    async def ask(self, prompts):
        """Give the next answers."""
        self.asked.append(list(prompts))
        return [self.script[prompt].pop(0) for prompt in prompts]


async def ask_all(asker, prompts):
    """Return the final answers to some questions, in order."""
    questions, answers = Queue(len(prompts)), {}
    for prompt in prompts:
        await questions.put((prompt.encode(), prompt))
    questions.close()

    async def answered(key, answer):
        answers[key.decode()] = answer

    await asker.work(questions, answered)
    return [answers.get(prompt) for prompt in prompts]


async def remember():
    """Forget what was lost."""


def ask(link, *prompts, spec=None):
    """Return the answers, the pauses and what it failed with."""
    pauses, failed = [], []

    async def sleep(seconds):
        pauses.append(seconds)

    async def work():
        (gate,) = endpoints([link])
        asker = CallAsker(link, gate, Budget(spec, NOTHING_USED), remember, failed.append, sleep)
        return await ask_all(asker, prompts)

    return asyncio.run(work()), pauses, failed


def test_until_it_answers():
    """A failure that may pass is asked again until there is a vote; usage is summed over all tries."""
    failed = Failure("server", "x", retryable=True, usage=USED)
    (answer,), pauses, _ = ask(Scripted(a=[BUSY, failed, Vote("x", usage=USED)]), "a")
    assert answer.label == "x"
    assert answer.usage == Usage(20, 2, 1.0, 40.0, 3)
    assert len(pauses) == 2


def test_bounded():
    """A prompt that never works is asked six times, with growing pauses."""
    (answer,), pauses, _ = ask(Scripted(a=[BROKEN] * 99), "a")
    assert (answer.reason, answer.usage.calls) == ("server", TRIES)
    assert len(pauses) == TRIES - 1
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))


def test_rate_limit_is_no_fault_of_the_prompt():
    """A rate limit uses up no try of a prompt; it waits ten minutes in all for it, not more."""
    (answer,), pauses, _ = ask(Scripted(a=[BUSY] * 9 + [Vote("x")]), "a")
    assert (answer.label, answer.usage.calls) == ("x", 9)
    (answer,), pauses, _ = ask(Scripted(a=[BUSY] * 999), "a")
    assert answer.reason == "rate_limit"
    assert LONGEST_REFUSED - 30 <= sum(pauses) <= LONGEST_REFUSED


@pytest.mark.parametrize("reason", ["bad_request", "no_label", "refused", "too_long", "missing"])
def test_never_again(reason):
    """What would not change is asked once."""
    link = Scripted(a=[Failure(reason, "x", usage=USED)])
    (answer,), pauses, _ = ask(link, "a")
    assert (answer.reason, answer.usage.calls, pauses) == (reason, 1, [])


def test_retry_after():
    """The pause is at least what the provider asks for."""
    failure = Failure("rate_limit", "x", retryable=True, retry_after=77.0)
    _, pauses, _ = ask(Scripted(a=[failure, Vote("x")]), "a")
    assert pauses == [77.0]


def test_retry_after_an_hour_stops():
    """A server that asks to wait longer than ten minutes stops the run, and the line says how long."""
    failure = Failure("rate_limit", "daily quota", retryable=True, retry_after=3600.0)
    answers, pauses, (error,) = ask(Scripted(a=[failure]), "a")
    assert isinstance(error, LinkError)
    assert "asks to wait 60 minutes: daily quota. Run the same command then" in str(error)
    assert (answers, pauses) == ([None], [])


def test_only_failed_ones_of_a_batch():
    """Of a batch only the failed prompts are asked again, and answers keep their order."""
    link = Scripted(a=[Vote("x")], b=[BUSY, Vote("y")], c=[Vote("z")])
    answers, _, _ = ask(link, "a", "b", "c")
    assert [answer.label for answer in answers] == ["x", "y", "z"]
    assert link.asked == [["a", "b", "c"], ["b"]]


def test_stop_ends_pauses():
    """Once stopped, a pause ends at once and nothing is asked again."""

    async def work():
        link = Scripted(a=[Failure("rate_limit", "x", retryable=True, retry_after=500.0)])
        (gate,) = endpoints([link])
        asker = CallAsker(link, gate, Budget(None, NOTHING_USED), remember, lambda _: None)
        asking = asyncio.ensure_future(ask_all(asker, ["a"]))
        await asyncio.sleep(0.01)
        asker.stop()
        return await asking

    start = time.monotonic()
    (answer,) = asyncio.run(work())
    assert answer.reason == "rate_limit"
    assert time.monotonic() - start < 5


def test_a_try_that_the_budget_does_not_hold_is_not_made():
    """Each try is reserved: where the budget is used up by the first, the failure stays and the run is told to end."""
    failed = Failure("server", "x", retryable=True, usage=Usage(10, 1, 0.9, 1.0, 1))
    link = Scripted(a=[failed, Vote("x")])
    (answer,), _, told = ask(link, "a", spec=BudgetSpec(usd=1.5))
    assert (answer.reason, link.asked, told) == ("server", [["a"]], [None])


def test_a_lost_answer_counts_at_its_bound():
    """A call whose answer was lost may be charged: it counts as its upper bound, though the vote's cost is unknown."""
    lost = Failure("timeout", "x", retryable=True, usage=Usage(calls=1), charged=True)
    link = Scripted(a=[lost, lost, Vote("x", usage=USED)])
    (answer,), _, told = ask(link, "a", spec=BudgetSpec(usd=2.5))
    assert (answer.reason, answer.usage.cost_usd, len(link.asked), told) == ("timeout", None, 2, [None])
