"""Checks for authors of links and policies: run what the house promises against yours, and name what it breaks."""

import asyncio
import contextlib
import copy
import math
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from catena.errors import CatenaError, DataError, InputError
from catena.testing.blocking import Stalls, watching
from catena.types import REASONS, Answer, Capabilities, Failure, Item, Link, Usage, Vote

__all__ = ["BrokenContract", "check_link", "shown"]

ODD_TEXTS = {
    "an empty text": "",
    "a blank text": " \t\n",
    "100,000 characters": "odd " * 25_000,
    "control characters": "a\x00b\x07c\x1b[31md\r\ne\x7f\x85\u2028f",
    "lone surrogates": "a\ud800b\udfff",
    "emoji and accents": "e\u0301 \U0001f469\u200d\U0001f4bb \u202eabc",
    "template syntax": "{{ text }} {% raw %} {# x #} {{ 1/0 }} ${x} {0} %s </text> <|im_end|>",
}
MOST_ASKED = 8  # calls of the same kind, as they may cost money
MOST_BATCH = 1024
ROUNDING = 1e-6
MOST_OVER = 1e-3  # log-probabilities of half precision sum to no more
SHOWN = 100


class BrokenContract(AssertionError):  # noqa: N818 - an assertion of a test, not an error of a run
    """A link or a policy breaks a promise; the one line says which one and how."""


def check_link(link: Link, items: Sequence[Item], labels: Sequence[str]) -> None:
    """Check that a link keeps what `types.Link` promises, and close it.

    It asks about each item about three times and about some odd texts: give it a fake or a local server, and a few
    items that the link can label. It must not be called from a running event loop.

    Args:
        link: The link; give it as `links.open_link` builds it, from the task that has the labels.
        items: At least one, all of one task; a handful with different labels shows most.
        labels: The task's labels, in order.

    Raises:
        BrokenContract: A promise is broken.
        CatenaError: The link can't be used at all, for example as its key is missing.
    """
    if not items or not labels:
        raise InputError("check_link needs at least one item and one label.")
    asyncio.run(_LinkCheck(link, items, labels).run())


class _LinkCheck:
    """All promises of one link."""

    def __init__(self, link: Link, items: Sequence[Item], labels: Sequence[str]) -> None:
        self.link = link
        self.items = list(items)
        self.labels = list(labels)
        self.who = f"link {shown(getattr(link, 'name', link))}"

    async def run(self) -> None:
        identity = self.identity()
        prompts = self.prompts()
        try:
            self.ready()
            async with watching() as stalls:
                alone = await self.alone(prompts)
                self.loop(stalls)
                await self.none()
                await self.batches(prompts, alone)
                await self.odd()
            self.loop(stalls)
        except BaseException:
            with contextlib.suppress(Exception):  # what came first is the finding
                await self.link.close()
            raise
        self.need(
            self.identity() == identity, "name, fingerprint and capabilities stay", "asking changed one"
        )
        await self.close()
        await self.after_close(prompts[0])

    def broken(self, promise: str, found: str, cause: BaseException | None = None) -> NoReturn:
        raise BrokenContract(f"{self.who}: {promise}: {found}.") from cause

    def need(self, kept: bool, promise: str, found: str) -> None:
        if not kept:
            self.broken(promise, found)

    def value(self, kept: bool, promise: str, found: object) -> None:
        if not kept:
            self.broken(promise, shown(found))

    def loop(self, stalls: Stalls) -> None:
        promise = "ask holds up nothing else, as all links share one event loop"
        for place in stalls.places:
            self.broken(promise, f"it stood still for a second at {place}")

    # Who it is

    def identity(self) -> tuple[str, bytes, Capabilities]:
        for attribute in (
            "name",
            "fingerprint",
            "capabilities",
            "render",
            "most",
            "ready",
            "ask",
            "close",
        ):
            self.need(hasattr(self.link, attribute), "it has all of types.Link", f"there is no {attribute}")
        name: object = self.link.name
        self.value(isinstance(name, str) and bool(name), "name is a text that is not empty", name)
        mark: object = self.link.fingerprint
        self.value(
            isinstance(mark, bytes) and 1 <= len(mark) <= 64,
            "fingerprint is 1 to 64 bytes (links.identity.fingerprint makes one)",
            mark,
        )
        can: object = self.link.capabilities
        if not isinstance(can, Capabilities):
            self.broken("capabilities are a types.Capabilities", shown(can))
        self.value(_is_count(can.batch) and can.batch >= 1, "capabilities.batch is at least 1", can.batch)
        self.value(
            can.concurrency is None or (_is_count(can.concurrency) and can.concurrency >= 1),
            "capabilities.concurrency is at least 1, or None",
            can.concurrency,
        )
        self.value(
            isinstance(can.confidence, str) and bool(can.confidence),
            "capabilities.confidence is a source or `none`",
            can.confidence,
        )
        self.value(isinstance(can.model, str), "capabilities.model is a text", can.model)
        return self.link.name, self.link.fingerprint, can

    # What it asks

    def prompts(self) -> list[str]:
        """Return the distinct prompts of the items."""
        before = copy.deepcopy(self.items)
        first = [self.render(item) for item in self.items]
        again = [self.render(item) for item in reversed(self.items)][::-1]
        equal = [self.render(copy.deepcopy(item)) for item in self.items]
        self.need(self.items == before, "render changes nothing", "it changed an item")
        for n in range(len(first)):
            promise = "render is the same each time, in any order of items"
            self.need(again[n] == first[n], promise, f"{shown(first[n])}, then {shown(again[n])}")
            promise = "render is equal for equal items"
            self.need(equal[n] == first[n], promise, f"{shown(first[n])} and {shown(equal[n])}")
        for item, prompt in zip(self.items, first, strict=True):
            for gold in (None, *self.labels[:2]):
                other = self.render(msgspec.structs.replace(item, gold=gold))
                self.need(
                    other == prompt, "render does not look at gold", f"with gold {gold} it is {shown(other)}"
                )
        return list(dict.fromkeys(first))

    def render(self, item: Item, what: str = "") -> str:
        try:
            prompt: object = self.link.render(item)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            self.broken(
                "render does not raise", f"{what or shown(item.text)} made it raise {_said(error)}", error
            )
        if not isinstance(prompt, str):
            self.broken("render returns a text", shown(prompt))
        self.most(prompt, what)
        return prompt

    def most(self, prompt: str, what: str = "") -> Usage | None:
        try:
            most: object = self.link.most(prompt)
        except Exception as error:  # noqa: BLE001 - as above
            self.broken("most does not raise", f"{what or shown(prompt)} made it raise {_said(error)}", error)
        if most is not None and not isinstance(most, Usage):
            self.broken("most is None or a types.Usage", shown(most))
        usd = most.cost_usd if most else None
        self.value(usd is None or (_is_finite(usd) and usd >= 0), "most.cost_usd is None or USD from 0", usd)
        return most

    # What it answers

    def ready(self) -> None:
        for _ in range(2):
            try:
                self.link.ready()
            except CatenaError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self.broken("ready raises a CatenaError or nothing", f"it raised {_said(error)}", error)

    async def ask(self, prompts: Sequence[str], what: str = "", *, usable: bool = True) -> list[Answer]:
        """Ask once and check all that is promised of each answer; `usable` lets a LinkError through."""
        try:
            answers: object = await self.link.ask(list(prompts))
        except Exception as error:
            if usable and isinstance(error, CatenaError) and not isinstance(error, DataError):
                raise
            about = what or shown(prompts[0])
            self.broken("ask never raises for one bad item", f"{about} made it raise {_said(error)}", error)
        if not isinstance(answers, Sequence) or isinstance(answers, str | bytes):
            self.broken("ask returns a sequence of answers", shown(answers))
        self.need(
            len(answers) == len(prompts),
            "ask gives as many answers as it got prompts",
            f"{len(answers)} for {len(prompts)}{f' ({what})' if what else ''}",
        )
        for prompt, answer in zip(prompts, answers, strict=True):
            self.answer(answer, prompt)
        return list(answers)

    def answer(self, answer: object, prompt: str) -> None:
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
        if not isinstance(usage, Usage):
            self.broken("an answer's usage is a types.Usage", shown(usage))
        for name in ("prompt_tokens", "completion_tokens", "calls"):
            count = getattr(usage, name)
            self.value(_is_count(count) and count >= 0, f"usage.{name} is a count from 0", count)
        usd, latency = usage.cost_usd, usage.latency_ms
        self.value(usd is None or (_is_finite(usd) and usd >= 0), "usage.cost_usd is None or USD from 0", usd)
        self.value(
            _is_finite(latency) and latency >= 0, "usage.latency_ms is a finite number from 0", latency
        )

    async def alone(self, prompts: Sequence[str]) -> list[Answer]:
        """Ask about each prompt alone, as many at a time as the link allows."""
        at_a_time = min(self.link.capabilities.concurrency or MOST_ASKED, MOST_ASKED)
        answers: list[Answer] = []
        for start in range(0, len(prompts), at_a_time):
            some = prompts[start : start + at_a_time]
            found = await asyncio.gather(*map(self.ask, ([each] for each in some)), return_exceptions=True)
            for each in found:  # all have ended, whatever the first says
                if isinstance(each, BaseException):
                    raise each
                answers += each
        failed = [answer for answer in answers if isinstance(answer, Failure)]
        if len(failed) == len(answers):
            self.broken(
                "it labels at least one of the items",
                f"all {len(failed)} failed, first with {failed[0].reason}: {shown(failed[0].message)}",
            )
        return answers

    async def none(self) -> None:
        await self.ask([], "an empty list", usable=False)

    async def batches(self, prompts: list[str], alone: Sequence[Answer]) -> None:
        """Ask in batches of all sizes that matter; the order shows in the labels and in the whole answers."""
        most = min(self.link.capabilities.batch, MOST_BATCH)
        if most == 1:
            await self.ask(prompts[:1], "the same prompt again")
            return
        await self.ask(prompts[:1] * 2, "the same prompt twice")
        full = (prompts * most)[:most]
        await self.ask(full, "a full batch")
        asked = prompts[:most]
        said = {prompt: _whole(answer) for prompt, answer in zip(prompts, alone, strict=True)}
        again = {prompt: _whole(answer) for prompt in asked for answer in await self.ask([prompt])}
        for order in (asked, asked[::-1]):
            found = [_whole(answer) for answer in await self.ask(order, "a batch")]
            self.order([said[prompt] for prompt in order], found, [again[prompt] for prompt in order])

    def order(self, alone: Sequence["_Whole"], found: Sequence["_Whole"], again: Sequence["_Whole"]) -> None:
        """Compare answers in a batch with those alone; a link that varies by itself is not blamed for it."""
        promise = "ask answers in the order of the prompts"
        for size in (1, 3):
            here, there = [each[:size] for each in found], [each[:size] for each in alone]
            if here != there and sorted(here) == sorted(there):
                self.broken(promise, "a batch has the answers of its prompts asked alone, in another order")
        steady = [n for n in range(len(alone)) if alone[n] == again[n]]
        wrong = sum(found[n][0] != alone[n][0] for n in steady)
        self.need(
            wrong * 4 <= len(steady),
            promise,
            f"{wrong} of {len(steady)} prompts have another answer in a batch than alone",
        )

    async def odd(self) -> None:
        first = self.items[0]
        for what, text in ODD_TEXTS.items():
            target = None if first.target is None else text
            item = msgspec.structs.replace(first, id=text, text=text, target=target)
            try:
                prompt = self.render(item, what)
            except BrokenContract as error:
                if isinstance(error.__cause__, DataError):  # the row fails with it, the run goes on
                    continue
                raise
            await self.ask([prompt], what, usable=False)

    async def close(self) -> None:
        for time in ("", " the second time"):
            try:
                await self.link.close()
            except Exception as error:  # noqa: BLE001 - as above
                self.broken("close can be called twice", f"it raised {_said(error)}{time}", error)

    async def after_close(self, prompt: str) -> None:
        try:
            await self.ask([prompt])
        except CatenaError:
            pass  # closed, and says so
        except BrokenContract as error:
            self.broken("a closed link works again or raises a LinkError", str(error), error)
        finally:
            await self.close()


_Whole = tuple[str, str, str]


def _whole(answer: Answer) -> _Whole:
    """Return what an answer says: the label or reason, the text, the numbers as texts."""
    if isinstance(answer, Failure):
        return f"failed: {answer.reason}", answer.text, ""
    return answer.label, answer.text, f"{answer.confidence} {answer.logprobs}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: object) -> str:
    """Return a value as one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _said(error: BaseException) -> str:
    return f"{type(error).__name__} ({shown(str(error))})"
