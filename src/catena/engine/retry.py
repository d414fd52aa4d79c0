"""Asking again: by cause, with growing pauses, as long as it may help."""

import asyncio
import random
from collections.abc import Callable, Sequence
from time import monotonic

import msgspec

from catena.types import Answer, Failure, Link, Usage

__all__ = ["Asker"]

ATTEMPTS = 6
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_ASKED = 600.0
"""A longer Retry-After is cut: the try after it fails, and a later run asks again."""


class Asker:
    """Asks a link until it has answered or no further try helps. Every try is counted in the answer's usage.

    Args:
        link: The link.
        attempts: Most tries for one prompt.
        tried: Called with the prompt, the answer and the time of each try; may raise a LinkError.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        link: Link,
        attempts: int = ATTEMPTS,
        tried: Callable[[str, Answer, float], None] = lambda prompt, answer, now: None,  # noqa: ARG005
        sleep: Callable[[float], asyncio.Future[None]] | None = None,
    ) -> None:
        self._link = link
        self._attempts = attempts
        self._tried = tried
        self._sleep = sleep or asyncio.sleep
        self._random = random.Random()  # noqa: S311 - spreads calls over time, decides nothing
        self._stopped = False
        self._pauses = set[asyncio.Future[None]]()

    def stop(self) -> None:
        """Try nothing again, and end the pauses: what failed stays failed, and a later run asks again."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()

    async def ask(self, prompts: Sequence[str]) -> list[Answer]:
        """Return a vote or a final failure for each prompt, in order.

        Raises:
            LinkError: The link is unusable as a whole.
        """
        answers = await self._try(prompts)
        for attempt in range(1, self._attempts):
            again = [
                at for at, answer in enumerate(answers) if isinstance(answer, Failure) and answer.retryable
            ]
            if not again or self._stopped:
                break
            await self._wait(self._pause(attempt, [answers[at] for at in again]))
            if self._stopped:
                break
            for at, answer in zip(again, await self._try([prompts[at] for at in again]), strict=True):
                usage = _together(answers[at].usage, answer.usage)
                answers[at] = msgspec.structs.replace(answer, usage=usage)
        return answers

    async def _try(self, prompts: Sequence[str]) -> list[Answer]:
        answers = list(await self._link.ask(prompts))
        now = monotonic()
        for prompt, answer in zip(prompts, answers, strict=True):
            self._tried(prompt, answer, now)
        return answers

    async def _wait(self, seconds: float) -> None:
        pause = asyncio.ensure_future(self._sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause])
        finally:
            pause.cancel()
            self._pauses.discard(pause)

    def _pause(self, attempt: int, failures: Sequence[Answer]) -> float:
        asked_for = [f.retry_after for f in failures if isinstance(f, Failure) and f.retry_after is not None]
        asked_for = [min(seconds, LONGEST_ASKED) for seconds in asked_for]
        pause = min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE) * self._random.uniform(0.5, 1.0)
        return max([pause, *asked_for]) if asked_for else pause


def _together(one: Usage, other: Usage) -> Usage:
    costs = [usage.cost_usd for usage in (one, other) if usage.cost_usd is not None]
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        sum(costs) if costs else None,
        one.latency_ms + other.latency_ms,
        max(one.calls, 1) + max(other.calls, 1),
    )
