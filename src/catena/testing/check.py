"""Checks for authors of links and policies: run what the house promises against yours, and name what it breaks."""

import asyncio
import contextlib
import copy
from collections.abc import Sequence

import msgspec

from catena.errors import CatenaError, DataError, InputError
from catena.testing.blocking import Stalls, watching
from catena.testing.promises import BrokenContract, Promises, is_count, shown, told
from catena.types import Answer, Capabilities, Failure, Item, Link

__all__ = ["check_link"]

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


class _LinkCheck(Promises):
    """All promises of one link."""

    def __init__(self, link: Link, items: Sequence[Item], labels: Sequence[str]) -> None:
        super().__init__(link, labels)
        self.items = list(items)

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
        self.value(is_count(can.batch) and can.batch >= 1, "capabilities.batch is at least 1", can.batch)
        self.value(
            can.concurrency is None or (is_count(can.concurrency) and can.concurrency >= 1),
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
                "render does not raise", f"{what or shown(item.text)} made it raise {told(error)}", error
            )
        if not isinstance(prompt, str):
            self.broken("render returns a text", shown(prompt))
        self.most(prompt, what)
        return prompt

    # What it answers

    def ready(self) -> None:
        for _ in range(2):
            try:
                self.link.ready()
            except CatenaError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self.broken("ready raises a CatenaError or nothing", f"it raised {told(error)}", error)

    async def ask(self, prompts: Sequence[str], what: str = "", *, usable: bool = True) -> list[Answer]:
        """Ask once and check all that is promised of each answer; `usable` lets a LinkError through."""
        try:
            answers: object = await self.link.ask(list(prompts))
        except Exception as error:
            if usable and isinstance(error, CatenaError) and not isinstance(error, DataError):
                raise
            about = what or shown(prompts[0])
            self.broken("ask never raises for one bad item", f"{about} made it raise {told(error)}", error)
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

    def loop(self, stalls: Stalls) -> None:
        promise = "ask holds up nothing else, as all links share one event loop"
        for place in stalls.places:
            self.broken(promise, f"it stood still for a second at {place}")

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
                self.broken("close can be called twice", f"it raised {told(error)}{time}", error)

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
