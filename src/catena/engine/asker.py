"""Asking a link call by call: within its endpoint's limits and the budget, and again, by cause, while that may help."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import monotonic
from typing import Any, Protocol

import msgspec

from catena.engine.budget import Budget
from catena.engine.endpoint import Gate
from catena.engine.inbox import Queue
from catena.errors import CatenaError, LedgerError, LinkError
from catena.types import NOTHING_USED, Answer, Failure, Link, Usage

__all__ = ["Answered", "Asker", "CallAsker", "Question", "together"]

TRIES = 6
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_REFUSED = 600.0
"""Seconds that a prompt may wait for a rate limit in all; a server that asks for more stops the run."""
TOKENS_OF_BOUND = 0.5
"""What share of its upper bound of tokens a call uses, before any has said."""

Question = tuple[bytes, str]
"""A vote's key and the prompt."""

Answered = Callable[[bytes, Answer], Awaitable[None]]


class Asker(Protocol):
    """Gets answers from one link, in its own way."""

    ahead: int
    """How many questions it can use at once."""

    async def adopt(self) -> Collection[bytes]:
        """Return the keys whose answers are on their way since an earlier run; `work` brings those too."""
        ...

    async def work(self, questions: Queue[Question], answered: Answered) -> None:
        """Take questions until there will be no more, and hand each one's answer on, once."""
        ...

    def stop(self) -> None:
        """Finish what is in flight and begin nothing new."""
        ...


class CallAsker:
    """Asks call by call, as many at a time as the endpoint takes. Every try is counted in the answer's usage.

    Args:
        link: The link.
        gate: Its way to the endpoint.
        budget: What every try is reserved from.
        fail: Takes an error that makes the link unusable as a whole, or the budget's end: no call follows.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        link: Link,
        gate: Gate,
        budget: Budget,
        fail: Callable[[CatenaError | None], None],
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._link = link
        self._gate = gate
        self._budget = budget
        self._fail = fail
        self._sleep = sleep
        self._batch = link.capabilities.batch
        self.ahead = 2 * self._batch * gate.ceiling
        self._places = asyncio.Semaphore(
            4 * gate.ceiling
        )  # for calls in flight and those that wait to try again
        self._random = random.Random()  # noqa: S311 - spreads calls over time, decides nothing
        self._stopped = False
        self._pauses = set[asyncio.Future[None]]()
        self._share = TOKENS_OF_BOUND

    async def adopt(self) -> Collection[bytes]:
        """Return nothing: a call does not outlive its process."""
        return ()

    async def work(self, questions: Queue[Question], answered: Answered) -> None:
        """Take questions until there will be no more, and hand each one's answer on; see `Asker`."""
        async with asyncio.TaskGroup() as group:
            while not self._stopped:
                await self._places.acquire()
                taken = await questions.take(self._batch)
                if not taken:
                    return
                group.create_task(self._settle(taken, answered))

    def stop(self) -> None:
        """Try nothing again, and end the pauses: what failed stays failed, and a later run asks again."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()

    async def _settle(self, questions: Sequence[Question], answered: Answered) -> None:
        try:
            answers = await self.ask([prompt for _, prompt in questions])
            for (key, _), answer in zip(questions, answers, strict=True):
                if answer is not None:
                    await answered(key, answer)
        except LedgerError:
            raise
        except CatenaError as error:  # the others finish their calls, which are paid for
            self._fail(error)
        finally:
            self._places.release()

    async def ask(self, prompts: Sequence[str]) -> list[Answer | None]:
        """Return a vote or a final failure for each prompt, in order; None where it could not be asked any more.

        Raises:
            LinkError: The link is unusable as a whole.
        """
        answers: list[Answer | None] = [None] * len(prompts)
        todo, attempt, tries, waited = list(range(len(prompts))), 0, 0, 0.0
        while todo:
            got = await self._call([prompts[at] for at in todo], again=attempt > 0)
            if got is None:
                break
            failures = []
            for at, answer in zip(todo, got, strict=True):
                before = answers[at]
                answers[at] = answer if before is None else _after(before, answer)
                if isinstance(answer, Failure) and answer.retryable:
                    failures.append((at, answer))
            attempt += 1
            tries += any(
                failure.reason != "rate_limit" for _, failure in failures
            )  # the prompt is not to blame
            pause = self._pause(attempt, [failure for _, failure in failures])
            if not failures or self._stopped or tries >= TRIES or waited + pause > LONGEST_REFUSED:
                break
            await self._wait(pause)
            waited += pause
            todo = [at for at, _ in failures]
            if self._stopped:
                break
        return answers

    async def _call(self, prompts: Sequence[str], *, again: bool) -> Sequence[Answer] | None:
        """Make one call when it may be made; None where no call may follow."""
        gate, budget = self._gate, self._budget
        limited = budget.limited
        bounds = [self._link.most(prompt) for prompt in prompts] if limited or gate.counts_tokens else []
        most = together([bound or NOTHING_USED for bound in bounds])
        if limited and not await budget.reserve(most):
            self._fail(None)
            return None
        tokens = self._share * (most.prompt_tokens + most.completion_tokens)
        await gate.admit(tokens, again=again)
        began, answers = monotonic(), ()
        try:
            if self._stopped:
                return None
            answers = await self._link.ask(prompts)  # type: ignore[assignment]
        finally:
            if limited:
                budget.settle(most, _charged(answers, bounds))
            gate.leave(began, prompts, answers)
        if tokens:
            self._learn(tokens, most, answers)
        return answers

    def _learn(self, expected: float, most: Usage, answers: Sequence[Answer]) -> None:
        used = sum(answer.usage.prompt_tokens + answer.usage.completion_tokens for answer in answers)
        self._gate.correct(expected, used)
        if used:
            self._share += 0.05 * (used / (most.prompt_tokens + most.completion_tokens) - self._share)

    async def _wait(self, seconds: float) -> None:
        pause = asyncio.ensure_future(self._sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause])
        finally:
            pause.cancel()
            self._pauses.discard(pause)

    def _pause(self, attempt: int, failures: Sequence[Failure]) -> float:
        """Return the seconds before the next try: growing, spread by chance, and at least what the server asks."""
        asked = max((failure.retry_after or 0.0 for failure in failures), default=0.0)
        if asked > LONGEST_REFUSED:
            raise LinkError(
                f"link '{self._link.name}': the server asks to wait {asked / 60:,.0f} minutes: {failures[0].message}.",
                "Run the same command then; it goes on.",
            )
        grown = min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)
        return max(asked, grown * self._random.uniform(0.5, 1.0))


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


def _after(before: Answer, answer: Answer) -> Answer:
    """Return the answer of a later try, with the usage of all tries."""
    return msgspec.structs.replace(answer, usage=together([before.usage, answer.usage]))


def _charged(answers: Sequence[Answer], bounds: Sequence[Usage | None]) -> Usage:
    """Return what a call may have cost: at its bound where its answer was lost after it was asked for."""
    return together(
        [
            bound or answer.usage if isinstance(answer, Failure) and answer.charged else answer.usage
            for answer, bound in zip(answers, bounds, strict=False)
        ]
    )
