"""What is promised of each answer of a link, checked one by one; a broken promise is named in one line."""

import math
from collections.abc import Sequence
from typing import NoReturn

from catena.types import REASONS, Failure, Link, Usage, Vote

__all__ = ["BrokenContract", "Promises", "is_count", "shown", "told"]

ROUNDING = 1e-6
MOST_OVER = 1e-3  # log-probabilities of half precision sum to no more
SHOWN = 100


class BrokenContract(AssertionError):  # noqa: N818 - an assertion of a test, not an error of a run
    """A link or a policy breaks a promise; the one line says which one and how."""


class Promises:
    """The promises of a link about its answers, and what they may cost.

    Args:
        link: The link.
        labels: The task's labels, in order.
    """

    def __init__(self, link: Link, labels: Sequence[str]) -> None:
        self.link = link
        self.labels = list(labels)
        self.who = f"link {shown(getattr(link, 'name', link))}"

    def broken(self, promise: str, found: str, cause: BaseException | None = None) -> NoReturn:
        """Raise that a promise is broken, and by what."""
        raise BrokenContract(f"{self.who}: {promise}: {found}.") from cause

    def need(self, kept: bool, promise: str, found: str) -> None:
        """See that a promise is kept; `found` says what was found instead."""
        if not kept:
            self.broken(promise, found)

    def value(self, kept: bool, promise: str, found: object) -> None:
        """See that a promise is kept by a value, which is shown where it is not."""
        if not kept:
            self.broken(promise, shown(found))

    def most(self, prompt: str, what: str = "") -> Usage | None:
        """See that the upper bound of what a prompt may use is one, and return it."""
        try:
            most: object = self.link.most(prompt)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            self.broken("most does not raise", f"{what or shown(prompt)} made it raise {told(error)}", error)
        if most is not None and not isinstance(most, Usage):
            self.broken("most is None or a types.Usage", shown(most))
        usd = most.cost_usd if most else None
        self.value(usd is None or (_is_finite(usd) and usd >= 0), "most.cost_usd is None or USD from 0", usd)
        return most

    def answer(self, answer: object, prompt: str) -> None:
        """See that an answer is what was promised, and that it used no more than `most` says."""
        if isinstance(answer, Vote):
            self.vote(answer)
        elif isinstance(answer, Failure):
            self.failure(answer)
        else:
            self.broken("every answer is a Vote or a Failure", f"{shown(answer)} to {shown(prompt)}")
        self.value(isinstance(answer.text, str), "an answer's text is a text", answer.text)
        self.value(isinstance(answer.model, str), "an answer's model is a text", answer.model)
        self.usage(answer.usage)
        if self.link.capabilities.confidence == "recorded":
            return  # its prices were paid elsewhere
        most, used = self.most(prompt), answer.usage
        if most is None:
            return
        tokens = used.prompt_tokens + used.completion_tokens
        self.need(
            (used.cost_usd or 0.0) <= (most.cost_usd or 0.0) * (1 + 1e-9),
            "most is an upper bound of the price",
            f"{used.cost_usd} USD were paid where it said {most.cost_usd}",
        )
        self.need(
            tokens <= most.prompt_tokens + most.completion_tokens,
            "most is an upper bound of the tokens",
            f"{tokens} were used where it said {most.prompt_tokens} and {most.completion_tokens}",
        )

    def vote(self, vote: Vote) -> None:
        """See that a vote names one of the labels, with numbers that are ones."""
        known = ", ".join(self.labels[:8])
        self.need(
            isinstance(vote.label, str) and vote.label in self.labels,
            "a vote's label is one of the task's",
            f"{shown(vote.label)} is none of {known}",
        )
        self.value(
            vote.confidence is None or _is_finite(vote.confidence),
            "a vote's confidence is a finite float or None",
            vote.confidence,
        )
        self.value(
            isinstance(vote.source, str) and bool(vote.source), "a vote's source is named", vote.source
        )
        self.need(
            vote.confidence is None or vote.source != "none",
            "a vote's confidence has a source",
            f"{vote.confidence} has the source 'none'",
        )
        logprobs: object = vote.logprobs
        if logprobs is None:
            return
        if not isinstance(logprobs, tuple):
            self.broken("a vote's logprobs are a tuple or None", shown(logprobs))
        self.need(
            len(logprobs) == len(self.labels),
            "a vote's logprobs are one per label",
            f"{len(logprobs)} for {len(self.labels)} labels",
        )
        for each in logprobs:
            self.value(
                each is None or (_is_finite(each) and each <= 0),
                "a vote's logprobs are finite and at most 0, or None",
                each,
            )
        mass = sum(math.exp(each) for each in logprobs if each is not None)
        self.need(mass <= 1 + MOST_OVER, "a vote's label probabilities sum to at most 1", f"{mass:.6g}")
        self.bounds(vote)

    def bounds(self, vote: Vote) -> None:
        """Check that the probability of each label lies within its bounds, where a vote has them."""
        if vote.lower is None and vote.upper is None:
            return
        lower, upper, said = vote.lower or (), vote.upper or (), vote.logprobs or ()
        self.need(
            len(lower) == len(upper) == len(said),
            "a vote's bounds are one pair per label, beside its logprobs",
            f"{len(lower)} and {len(upper)} for {len(said)} labels",
        )
        for low, logprob, high in zip(lower, said, upper, strict=True):
            mass = 0.0 if logprob is None else math.exp(logprob)
            self.need(
                0.0 <= low <= mass + ROUNDING and mass - ROUNDING <= high <= 1.0,
                "a label's probability lies within its bounds",
                f"{mass:.6g} is not from {low!r} to {high!r}",
            )

    def failure(self, failure: Failure) -> None:
        """See that a failure has a known reason, in one line."""
        self.need(
            isinstance(failure.reason, str) and failure.reason in REASONS,
            "a failure's reason is one of the known",
            f"{shown(failure.reason)} is none of {', '.join(sorted(REASONS))}",
        )
        self.value(
            isinstance(failure.message, str) and len(failure.message.splitlines()) == 1,
            "a failure's message is one line",
            failure.message,
        )
        self.value(isinstance(failure.retryable, bool), "retryable is True or False", failure.retryable)
        wait = failure.retry_after
        self.value(
            wait is None or (_is_finite(wait) and wait >= 0), "retry_after is None or seconds from 0", wait
        )

    def usage(self, usage: object) -> None:
        """See that what was used are counts, USD and milliseconds."""
        if not isinstance(usage, Usage):
            self.broken("an answer's usage is a types.Usage", shown(usage))
        for name in ("prompt_tokens", "completion_tokens", "calls"):
            count = getattr(usage, name)
            self.value(is_count(count) and count >= 0, f"usage.{name} is a count from 0", count)
        usd, latency = usage.cost_usd, usage.latency_ms
        self.value(usd is None or (_is_finite(usd) and usd >= 0), "usage.cost_usd is None or USD from 0", usd)
        self.value(
            _is_finite(latency) and latency >= 0, "usage.latency_ms is a finite number from 0", latency
        )


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: object) -> str:
    """Return a value as one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def told(error: BaseException) -> str:
    """Return an error as one short line."""
    return f"{type(error).__name__} ({shown(str(error))})"
