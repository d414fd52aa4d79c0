"""What is asked again, when, and how it is counted."""

import asyncio
import time

import pytest

from catena.engine.retry import ATTEMPTS, Asker
from catena.types import Capabilities, Failure, Usage, Vote

BUSY = Failure("rate_limit", "busy", retryable=True)
USED = Usage(10, 1, 0.5, 20.0, 1)


class Scripted:
    """A link that gives each prompt the answers of its script, one per try."""

    name, fingerprint, capabilities = "scripted", b"", Capabilities(batch=8)

    def __init__(self, **script):
        self.script = {prompt: list(answers) for prompt, answers in script.items()}
        self.asked = []

    async def ask(self, prompts):
        """Give the next answers."""
        self.asked.append(list(prompts))
        return [self.script[prompt].pop(0) for prompt in prompts]


def ask(link, *prompts):
    """Return the answers and the pauses."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    return asyncio.run(Asker(link, sleep=sleep).ask(prompts)), pauses


def test_until_it_answers():
    """A failure that may pass is asked again until there is a vote; usage is summed over all tries."""
    (answer,), pauses = ask(
        Scripted(a=[BUSY, Failure("server", "x", retryable=True, usage=USED), Vote("x", usage=USED)]), "a"
    )
    assert answer.label == "x"
    assert answer.usage == Usage(20, 2, 1.0, 40.0, 3)
    assert len(pauses) == 2


def test_bounded():
    """A link that never works is asked six times, with growing pauses."""
    (answer,), pauses = ask(Scripted(a=[BUSY] * 99), "a")
    assert (answer.reason, answer.usage.calls) == ("rate_limit", ATTEMPTS)
    assert len(pauses) == ATTEMPTS - 1
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))


@pytest.mark.parametrize("reason", ["bad_request", "no_label", "refused", "too_long", "missing"])
def test_never_again(reason):
    """What would not change is asked once."""
    link = Scripted(a=[Failure(reason, "x", usage=USED)])
    (answer,), pauses = ask(link, "a")
    assert (answer.reason, answer.usage.calls, pauses) == (reason, 1, [])


def test_retry_after():
    """The pause is at least what the provider asks for."""
    _, pauses = ask(
        Scripted(a=[Failure("rate_limit", "x", retryable=True, retry_after=77.0), Vote("x")]), "a"
    )
    assert pauses == [77.0]


def test_only_failed_ones_of_a_batch():
    """Of a batch only the failed prompts are asked again, and answers keep their order."""
    link = Scripted(a=[Vote("x")], b=[BUSY, Vote("y")], c=[Vote("z")])
    answers, _ = ask(link, "a", "b", "c")
    assert [answer.label for answer in answers] == ["x", "y", "z"]
    assert link.asked == [["a", "b", "c"], ["b"]]


def test_stop_ends_pauses():
    """Once stopped, a pause ends at once and nothing is asked again."""

    async def work():
        link = Scripted(a=[Failure("rate_limit", "x", retryable=True, retry_after=3600.0)])
        asker = Asker(link)
        asking = asyncio.ensure_future(asker.ask(["a"]))
        await asyncio.sleep(0.01)
        asker.stop()
        return await asking

    start = time.monotonic()
    (answer,) = asyncio.run(work())
    assert answer.reason == "rate_limit"
    assert time.monotonic() - start < 5
