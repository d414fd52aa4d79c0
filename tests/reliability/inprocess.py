"""Links in this process whose answers are a function of the prompt, and that keep books of what was bought."""

import asyncio
from collections import Counter
from hashlib import blake2b

from catena.links.identity import fingerprint
from catena.links.registry import KINDS
from catena.prompts import Prompter
from catena.types import Capabilities, Failure, Usage, Vote

__all__ = ["Books", "Fake", "books", "install", "open_link"]


class Books:
    """What was bought, and what happens at some call.

    Attributes:
        bought: How often each (fingerprint, prompt) was answered.
        tries: How often each was asked about.
        spent: What the provider charges for, in USD, tokens and calls; lost answers too.
        calls: How many answers there were since `at` was set.
        at: The number of the call at which `then` is called; 0 for none.
        then: May raise, or copy the run's folder.
        most_in_flight: Most calls at work at a time.
    """

    def __init__(self):
        self.bought = Counter()
        self.tries = Counter()
        self.spent = [0.0, 0.0, 0.0]
        self.calls = self.at = self.in_flight = self.most_in_flight = 0
        self.then = None

    def plan(self, at, then):
        """Call `then` at the `at`-th call from now."""
        self.calls, self.at, self.then = 0, at, then


books = Books()


def install(monkeypatch):
    """Make `kind: fake` a kind of link."""
    monkeypatch.setitem(KINDS, "fake", __name__)


def open_link(spec, task, where):
    """Build the link; see `catena.links.registry.open_link`."""
    return Fake(spec, task)


class Fake:
    """Answers at once or a little later, by a hash of the prompt: a label with a coarse confidence, or none.

    Its options: `mood` shapes its votes; `concurrency`; `usd` is what a token costs; `lost` is the share of first and second
    tries that are charged although their answer is lost.
    """

    def __init__(self, spec, task):
        self.name = spec.name
        self.render = Prompter(task)
        self._options = {"mood": 0, "concurrency": 4, "usd": 0.0, "lost": 0.0} | dict(spec.options)
        self.capabilities = Capabilities(
            "label_logprobs", concurrency=self._options["concurrency"], model="fake", most_failed=1.0
        )
        self.fingerprint = fingerprint(spec.name, "fake", task, mood=self._options["mood"])
        self._labels = list(task.labels)

    def most(self, prompt):
        """Return an upper bound of one call: four times what the dearest one uses."""
        tokens = 4 * 64
        return Usage(tokens, 0, tokens * self._options["usd"])

    def ready(self):
        """Need nothing."""

    async def ask(self, prompts):
        """Answer each prompt."""
        return [await self._ask(prompt) for prompt in prompts]

    async def _ask(self, prompt):
        books.in_flight += 1
        books.most_in_flight = max(books.most_in_flight, books.in_flight)
        try:
            book = self.fingerprint, prompt
            books.tries[book] += 1
            hashed = blake2b(f"{self.fingerprint.hex()}\0{prompt}\0".encode()).digest()
            luck = blake2b(f"{hashed.hex()} {books.tries[book]}".encode()).digest()
            for _ in range(luck[0] % 4):
                await asyncio.sleep(0)
            books.calls += 1
            if books.calls == books.at:
                books.then()
            tokens = 1 + luck[1] % 64
            usage = Usage(tokens, 0, tokens * self._options["usd"])
            for at, amount in enumerate((usage.cost_usd, tokens, 1)):
                books.spent[at] += amount
            if books.tries[book] < 3 and luck[2] < 256 * self._options["lost"]:
                return Failure("timeout", "no answer within 1 s", retryable=True, usage=Usage(), charged=True)
            books.bought[book] += 1
            return self._answer(hashed, usage)
        finally:
            books.in_flight -= 1

    def _answer(self, hashed, usage):
        if hashed[1] < 25:
            return Failure("no_label", "answered 'perhaps', which is no label", usage=usage)
        label = self._labels[hashed[2] % len(self._labels)]
        confidence = None if hashed[3] < 10 else hashed[3] % 5 / 4
        source = "label_logprobs" if confidence is not None else "none"
        return Vote(label, confidence, source, usage=usage)

    async def close(self):
        """Hold nothing."""
