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
from catena.types import NOTHING_USED, Answer, Failure, Link, Usage, Vote, together

__all__ = ["Answered", "Asker", "CallAsker", "Question"]

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
        remember: Stores what the budget knows of lost answers.
        fail: Takes an error that makes the link unusable as a whole, or the budget's end: no call follows.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        link: Link,
        gate: Gate,
        budget: Budget,
        remember: Callable[[], Awaitable[None]],
        fail: Callable[[CatenaError | None], None],
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._link = link
        self._gate = gate
        self._budget = budget
        self._remember = remember
        self._fail = fail
        self._sleep = sleep
        self._batch = link.capabilities.batch
        self.ahead = 2 * self._batch * gate.ceiling
        self._places = asyncio.Semaphore(4 * gate.ceiling)  # for questions that wait to be tried again
        self._workers = 0
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
            self._widen(questions, answered, group)

    def stop(self) -> None:
        """Try nothing again, and end the pauses: what failed stays failed, and a later run asks again."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()

    def _widen(self, questions: Queue[Question], answered: Answered, group: asyncio.TaskGroup) -> None:
        """Have as many workers as there may be calls in flight: more would only wait for each other."""
        while self._workers < min(self._gate.endpoint.window.size, self._gate.ceiling):
            self._workers += 1
            questions.grow(2 * self._batch * self._workers)
            group.create_task(self._work(questions, answered, group))

    async def _work(self, questions: Queue[Question], answered: Answered, group: asyncio.TaskGroup) -> None:
        """Ask one question after the other; one that has to be tried again does not hold the others up."""
        while not self._stopped and (taken := await questions.take(self._batch)):
            try:
                answers = await self._call([prompt for _, prompt in taken], again=False)
                if answers is None:
                    return
                self._widen(questions, answered, group)
                if any(isinstance(answer, Failure) and answer.retryable for answer in answers):
                    await self._places.acquire()
                    group.create_task(self._again(taken, answers, answered))
                else:
                    for (key, _), answer in zip(taken, answers, strict=True):
                        await answered(key, answer)
            except LedgerError:
                raise
            except CatenaError as error:  # the others finish their calls, which are paid for
                self._fail(error)
                return

    async def _again(self, taken: Sequence[Question], answers: Sequence[Answer], answered: Answered) -> None:
        try:
            final = await self.insist([prompt for _, prompt in taken], answers)
            for (key, _), answer in zip(taken, final, strict=True):
                await answered(key, answer)
        except LedgerError:
            raise
        except CatenaError as error:
            self._fail(error)
        finally:
            self._places.release()

    async def insist(self, prompts: Sequence[str], answers: Sequence[Answer]) -> list[Answer]:
        """Ask again, as long as that may help, about the prompts whose answers are failures that may pass.

        Args:
            prompts: All prompts of a first try.
            answers: Its answers, in order.

        Returns:
            A vote or a final failure for each prompt, in order.

        Raises:
            LinkError: The link is unusable as a whole.
        """
        final, attempt, tries, waited = list(answers), 1, 0, 0.0
        todo = list(range(len(prompts)))
        while True:
            failures = [
                (at, answer) for at in todo if isinstance(answer := final[at], Failure) and answer.retryable
            ]
            # A rate limit is no fault of the prompt.
            tries += any(failure.reason != "rate_limit" for _, failure in failures)
            pause = self._pause(attempt, [failure for _, failure in failures])
            if not failures or self._stopped or tries >= TRIES or waited + pause > LONGEST_REFUSED:
                return final
            await self._wait(pause)
            todo = [at for at, _ in failures]
            got = None if self._stopped else await self._call([prompts[at] for at in todo], again=True)
            if got is None:
                return final
            attempt, waited = attempt + 1, waited + pause
            for at, answer in zip(todo, got, strict=True):
                final[at] = _after(final[at], answer)

    async def _call(self, prompts: Sequence[str], *, again: bool) -> Sequence[Answer] | None:
        """Make one call when it may be made; None where no call may follow."""
        gate, budget = self._gate, self._budget
        limited = budget.limited
        bounds = [self._link.most(prompt) for prompt in prompts] if limited or gate.counts_tokens else []
        most = together([bound or NOTHING_USED for bound in bounds])
        reserved = most if limited else NOTHING_USED
        if not await budget.reserve(reserved):
            self._fail(None)
            return None
        tokens = self._share * (most.prompt_tokens + most.completion_tokens)
        try:
            await gate.admit(tokens, again=again)
        except LinkError:
            budget.settle(reserved, NOTHING_USED)
            raise
        answers: Sequence[Answer] = ()
        began, charged, lost = monotonic(), NOTHING_USED, False
        try:
            if self._stopped:
                return None
            charged = reserved  # unless it is known better: it may be ended in the middle
            answers = await self._link.ask(prompts)
            charged = _charged(
                answers, bounds if limited else [None] * len(answers), self._link.capabilities.turns
            )
        except LinkError:
            charged = NOTHING_USED
            raise
        finally:
            lost = budget.settle(reserved, charged, together([answer.usage for answer in answers]))
            gate.leave(began, prompts, answers)
        if lost:
            await self._remember()
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


def _after(before: Answer, answer: Answer) -> Answer:
    """Return the answer of a later try, with the usage of all tries."""
    return msgspec.structs.replace(answer, usage=together([before.usage, answer.usage]))


def _charged(answers: Sequence[Answer], bounds: Sequence[Usage | None], turns: int) -> Usage:
    """Return what a try may have cost: at its bound where an answer was lost, or says nothing of tokens."""
    return together(
        [
            _at_most(answer, bound, turns) if bound is not None and _unknown(answer) else answer.usage
            for answer, bound in zip(answers, bounds, strict=False)
        ]
    )


def _at_most(answer: Answer, bound: Usage, turns: int) -> Usage:
    """Return what an answer may have cost where that is not known; of several calls only the last one was lost.

    Which of its turns that was is not known: it counts as all of them.
    """
    used, alike = answer.usage, bound.calls // turns
    if alike <= 1 or isinstance(answer, Vote):
        return bound
    one = Usage(
        -(-bound.prompt_tokens // alike),
        -(-bound.completion_tokens // alike),
        None if bound.cost_usd is None else bound.cost_usd / alike,
        calls=0,  # it is among those of the answer
    )
    return together([used, one])


def _unknown(answer: Answer) -> bool:
    used = answer.usage
    if isinstance(answer, Failure) and not answer.text:
        return answer.charged
    return used.calls > 0 and not used.prompt_tokens and not used.completion_tokens
