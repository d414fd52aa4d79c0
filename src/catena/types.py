"""What flows through the chain: items in, votes or failures out. Frozen and small."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

__all__ = [
    "REASONS",
    "Answer",
    "Capabilities",
    "Example",
    "Failure",
    "Item",
    "Limit",
    "Link",
    "Rate",
    "Usage",
    "Vote",
    "together",
]


class Item(msgspec.Struct, frozen=True, gc=False):
    """One row to label.

    Args:
        row: Position in the input, from 0.
        id: The id as text; the row number (from 1) where the data names no id column.
        text: The text to label.
        fields: The row's other columns by name, for templates: those that are none of the following.
        target: What the question is about, where the task names such a column.
        gold: The true label, where there is one.
    """

    row: int
    id: str
    text: str
    fields: Mapping[str, Any] = {}
    target: str | None = None
    gold: str | None = None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text with its right label, shown to models.

    Args:
        text: The text.
        label: One of the task's labels.
        target: What the question is about, where it is about something.
        fields: Other columns that the instruction uses.
    """

    text: str
    label: str
    target: str | None = None
    fields: Mapping[str, Any] = {}


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What a vote used: tokens, USD (None where no price is known), milliseconds, and calls (retries included)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    latency_ms: float = 0.0
    calls: int = 1


NOTHING_USED = Usage(calls=0)


def together(usages: Sequence[Usage]) -> Usage:
    """Return the sum; the cost is unknown where no part of it is known."""
    if len(usages) == 1:
        return usages[0]
    costs = [usage.cost_usd for usage in usages if usage.cost_usd is not None]
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(costs) if costs else None,
        sum(usage.latency_ms for usage in usages),
        sum(usage.calls for usage in usages),
    )


class Limit(msgspec.Struct, frozen=True, gc=False):
    """What a server says of one of its limits: how much it is, how much is left, and seconds until all of it is back."""

    most: float
    left: float
    reset: float


class Rate(msgspec.Struct, frozen=True, gc=False):
    """What the headers of an answer say of the server's limits on requests and on tokens."""

    requests: Limit | None = None
    tokens: Limit | None = None


class Vote(msgspec.Struct, frozen=True):
    """What one link said about one item.

    Args:
        label: One of the task's labels.
        confidence: Larger is surer; None where the link gives none. Comparable within a link only.
        source: Where the confidence comes from: `label_logprobs`, `samples`, ... or `none`.
        logprobs: Natural-log probability of each label in the task's order; None where unknown.
        text: The raw answer.
        usage: Tokens, cost and latency of all calls for this vote.
        model: Fingerprint of the model that answered, as the provider names it.
        rate: What the server said of its limits; not stored.
        lower: Each label's probability is at least this, in the task's order; None where no bounds are known.
        upper: And at most this.
    """

    label: str
    confidence: float | None = None
    source: str = "none"
    logprobs: tuple[float | None, ...] | None = None
    text: str = ""
    usage: Usage = NOTHING_USED
    model: str = ""
    rate: Rate | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None


REASONS = frozenset({
    "empty", "too_long", "no_label", "many_labels", "refused", "filtered", "cut", "template", "bad_request",
    "rate_limit", "overloaded", "server", "timeout", "transport", "bad_body", "missing", "abstained",
})  # fmt: skip
"""What `Failure.reason` may be."""


class Failure(msgspec.Struct, frozen=True):
    """Why a link has no vote for an item. Never a label, a null label or 0.

    Args:
        reason: One of a few fixed words, for counting: `empty`, `too_long`, `no_label`, `many_labels`, `refused`,
            `filtered`, `cut`, `template`, `bad_request`, `rate_limit`, `overloaded`, `server`, `timeout`, `transport`,
            `bad_body`, `missing`, `abstained`.
        message: One line for a person.
        retryable: Whether asking again may help.
        retry_after: Seconds the provider asks to wait, where it does.
        text: The raw answer, where there was one.
        usage: What the failed call used all the same.
        model: As in `Vote`.
        rate: As in `Vote`.
        charged: Whether the provider may charge for a call whose answer did not come through.
    """

    reason: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    text: str = ""
    usage: Usage = NOTHING_USED
    model: str = ""
    rate: Rate | None = None
    charged: bool = False


Answer = Vote | Failure


class Capabilities(msgspec.Struct, frozen=True):
    """What a link can do.

    Args:
        confidence: The source of its confidences, or `none`.
        batch: Most prompts per call of `ask`.
        calls: How many calls of its server a prompt takes, where all goes well; limits per minute count them.
        turns: How many of these calls build on each other, so that their bounds differ.
        concurrency: Most calls of `ask` at a time; None where the engine shall find out what the endpoint takes.
        per_item: Whether a vote belongs to its item alone, so that equal prompts don't share one.
        model: What to show people as its model.
        endpoint: What links share that are limited together; empty for a link that shares nothing.
        requests_per_minute: Most calls a minute.
        tokens_per_minute: Most tokens a minute.
        most_failed: The share of its last calls whose failure stops the run.
    """

    confidence: str = "none"
    batch: int = 1
    calls: int = 1
    turns: int = 1
    concurrency: int | None = 1
    per_item: bool = False
    model: str = ""
    endpoint: str = ""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    most_failed: float = 0.5


class Link(Protocol):
    """One annotator in the chain."""

    name: str
    fingerprint: bytes
    capabilities: Capabilities

    def render(self, item: Item) -> str:
        """Return what is asked about an item. Votes are kept by it: equal prompts have equal votes."""
        ...

    def most(self, prompt: str) -> Usage | None:
        """Return an upper bound of what asking once uses: tokens, USD, calls; None where there is no bound."""
        ...

    def ready(self) -> None:
        """See that the link can be asked: its key, files and packages are there. Nothing is called.

        Raises:
            CatenaError: Something is missing; the message says what to do.
        """
        ...

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Try once and return a vote or a failure for each prompt, in order.

        Raises:
            LinkError: The link is unusable as a whole (refused key, unknown model). Never for one bad item.
        """
        ...

    async def close(self) -> None:
        """Free what the link holds."""
        ...
