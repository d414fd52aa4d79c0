"""What a task leaves open about its links, found out once: before the first paid row, and kept for the whole run."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from catena.engine.budget import Budget, BudgetError
from catena.errors import DataError, LinkError
from catena.links import open_link
from catena.links.ladder import Tried, climb, is_open, with_options
from catena.task import LinkSpec, TaskSpec
from catena.types import NOTHING_USED, Answer, Failure, Item, Link, Usage, together

__all__ = [
    "ASKED_ABOUT",
    "Inquirer",
    "Resolution",
    "find_out",
    "items_to_ask",
    "known_of",
    "resolved_task",
    "stored",
]

ASKED_ABOUT = 3
"""Items that every rung of the ladder is tried on."""
TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Resolution(msgspec.Struct, frozen=True):
    """Where a link's confidences come from, for the whole of a run.

    Args:
        key: The fingerprint of the link as the task has it, in hex: another link's is found out anew.
        source: What votes name as the source of their confidence.
        by: Who chose it: the `task`, or the `probe`.
        options: What stands in the place of `confidence: auto`.
        why: One line for a person; empty where the task chose.
        tried: What the probe tried.
        calls: Made to find it out, which no vote tells.
        cost_usd: Of those calls; None where it is unknown.
    """

    key: str
    source: str
    by: str = "task"
    options: Mapping[str, Any] = {}
    why: str = ""
    tried: Sequence[Tried] = ()
    calls: int = 0
    cost_usd: float | None = 0.0

    @property
    def told(self) -> str:
        """What was found out, for a person."""
        ways = ", ".join(f"{key}: {str(value).lower()}" for key, value in self.options.items())
        return f"{ways}, since {self.why}. The whole run keeps to it."


class Inquirer:
    """Asks links about a few items. What it used is counted, and kept within the budget.

    Args:
        budget: Of the run.
        items: What to ask about.
        pause: Seconds before the first further try of a call that failed in passing.
    """

    def __init__(self, budget: Budget, items: Sequence[Item], pause: float = FIRST_PAUSE) -> None:
        self._budget = budget
        self._items = items
        self._pause = pause
        self.used: list[Usage] = []

    async def ask(self, link: Link) -> list[Answer]:
        """Ask a link about each item that it has a question for, and close it.

        Raises:
            LinkError: It is unusable, or does not answer.
            BudgetError: The budget does not hold the calls.
        """
        answers = []
        try:
            link.ready()
            for item in self._items:
                try:
                    prompt = link.render(item)
                except DataError:
                    continue
                answers.append(await self._insist(link, prompt))
        finally:
            await link.close()
        return answers

    async def _insist(self, link: Link, prompt: str) -> Answer:
        said = ""
        for attempt in range(TRIES):
            answer = await self._once(link, prompt)
            if not isinstance(answer, Failure) or not answer.retryable:
                return answer
            said = answer.message.rstrip(".")
            wait = max(answer.retry_after or 0.0, self._pause * 2.0**attempt)
            await asyncio.sleep(min(wait, LONGEST_PAUSE))
        raise LinkError(
            f"link '{link.name}': {said}.",
            "Run the same command again when it answers; nothing was labelled.",
        )

    async def _once(self, link: Link, prompt: str) -> Answer:
        self._budget.check(link, prompt)
        most = link.most(prompt) or NOTHING_USED
        if not await self._budget.reserve(most):
            raise BudgetError(
                f"the budget is reached: {self._budget.said()} are used, before link '{link.name}' was known.",
                "Raise budget in the task, or write the link's confidence: logprobs, samples or verbalised.",
            )
        used = NOTHING_USED
        try:
            (answer,) = await link.ask([prompt])
            used = answer.usage
        finally:
            self._budget.settle(most, used, NOTHING_USED)
        self.used.append(used)
        return answer


def items_to_ask(blocks: Any, most_chars: int) -> list[Item]:
    """Return the first items that can be asked about.

    Args:
        blocks: Rows in input order, in blocks.
        most_chars: Longer texts are not asked about.
    """
    found: list[Item] = []
    for block in blocks:
        found += [item for item in block if item.text.strip() and len(item.text) <= most_chars]
        if len(found) >= ASKED_ABOUT:
            break
    return found[:ASKED_ABOUT]


def stored(fact: Mapping[str, Any] | None) -> dict[str, Resolution]:
    """Return what a ledger keeps of resolutions, by link."""
    return msgspec.convert(dict(fact or {}), dict[str, Resolution])


def resolved_task(task: TaskSpec, known: Mapping[str, Resolution]) -> TaskSpec:
    """Return the task with what is known in the place of what it leaves open."""

    def settled(spec: LinkSpec) -> LinkSpec:
        found = _found(spec, task, known)
        return with_options(spec, found.options) if found else spec

    return msgspec.structs.replace(task, chain=tuple(settled(spec) for spec in task.chain))


def known_of(
    task: TaskSpec, links: Sequence[Link], known: Mapping[str, Resolution]
) -> tuple[dict[str, Resolution], list[int]]:
    """Return what is known of the links of a task, and the places of those that are still open.

    Args:
        task: As it was given.
        links: Its links, in order.
        known: What was found out before.
    """
    settled, left = {}, []
    for at, (spec, link) in enumerate(zip(task.chain, links, strict=True)):
        found = _found(spec, task, known)
        if found:
            settled[spec.name] = found
        elif is_open(spec):
            left.append(at)
        else:
            settled[spec.name] = Resolution(link.fingerprint.hex(), link.capabilities.confidence)
    return settled, left


def _found(spec: LinkSpec, task: TaskSpec, known: Mapping[str, Resolution]) -> Resolution | None:
    """Return what was found out of this very link."""
    before = known.get(spec.name)
    same = before and is_open(spec) and before.by == "probe" and before.key == _key(spec, task)
    return before if same else None


def _key(spec: LinkSpec, task: TaskSpec) -> str:
    return open_link(spec, task).fingerprint.hex()


async def find_out(specs: Sequence[LinkSpec], task: TaskSpec, inquirer: Inquirer) -> dict[str, Resolution]:
    """Return where the confidences of links come from that the task leaves open.

    Raises:
        LinkError: A link is unusable, or has no way to a confidence.
        BudgetError: The budget does not hold the calls.
    """
    found = {}
    for spec in specs:
        inquirer.used.clear()
        rung = await climb(spec, task, inquirer.ask)
        used = together([NOTHING_USED, *inquirer.used])
        found[spec.name] = Resolution(
            _key(spec, task),
            rung.source,
            "probe",
            rung.options,
            rung.why,
            rung.tried,
            used.calls,
            used.cost_usd,
        )
    return found
