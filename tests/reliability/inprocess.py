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
        calls: How many answers there were since `at` was set.
        at: The number of the call at which `then` is called; 0 for none.
        then: May raise, or copy the run's folder.
        most_in_flight: Most calls at work at a time.
    """

    def __init__(self):
        self.bought = Counter()
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
    """Answers at once or a little later, by a hash of the prompt: a label with a coarse confidence, or none."""

    def __init__(self, spec, task):
        self.name = spec.name
        self.render = Prompter(task)
        self.capabilities = Capabilities("label_logprobs", concurrency=4, model="fake")
        self.fingerprint = fingerprint(spec.name, "fake", task, mood=spec.options.get("mood", 0))
        self._labels = list(task.labels)

    def most(self, prompt):
        """Return an upper bound of one call."""
        return Usage(cost_usd=0.0)

    def most_usd(self, prompt):
        """Return an upper bound of the price of one call."""
        return 0.0

    def ready(self):
        """Need nothing."""

    async def ask(self, prompts):
        """Answer each prompt."""
        answers = []
        for prompt in prompts:
            books.in_flight += 1
            books.most_in_flight = max(books.most_in_flight, books.in_flight)
            try:
                hashed = blake2b(f"{self.fingerprint.hex()}\0{prompt}".encode()).digest()
                for _ in range(hashed[0] % 4):
                    await asyncio.sleep(0)
                books.calls += 1
                if books.calls == books.at:
                    books.then()
                books.bought[self.fingerprint, prompt] += 1
                answers.append(self._answer(hashed))
            finally:
                books.in_flight -= 1
        return answers

    def _answer(self, hashed):
        if hashed[1] < 25:
            return Failure("no_label", "answered 'perhaps', which is no label", usage=Usage(calls=1))
        label = self._labels[hashed[2] % len(self._labels)]
        confidence = None if hashed[3] < 10 else hashed[3] % 5 / 4
        return Vote(
            label, confidence, "label_logprobs" if confidence is not None else "none", usage=Usage(calls=1)
        )

    async def close(self):
        """Hold nothing."""
