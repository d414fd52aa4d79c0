"""What a run may use: every call reserves its upper bound before it is made, so that the cap holds at any concurrency."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from catena.errors import StoppedError, TaskError
from catena.task import BudgetSpec
from catena.types import Link, Usage

__all__ = ["Budget", "BudgetError"]

KINDS: Final = ("usd", "tokens", "calls")


class BudgetError(StoppedError):
    """The budget is reached; the labels so far are written and the run can go on with a larger one."""


class Budget:
    """Counts what is spent and what is reserved for calls in flight.

    Args:
        spec: The caps; kinds that it does not name are not limited.
        spent: What the run's votes have used before.
        lost: USD, tokens and calls of answers that were lost before.

    Attributes:
        spent: USD, tokens and calls used so far; a call whose answer was lost, but may be charged, at its upper bound.
        lost: The part of it that no vote tells.
        exhausted: Whether a call could not be made for lack of budget.
        steered: Whether the caps were set while the run worked.
    """

    def __init__(
        self, spec: BudgetSpec | None, spent: Usage, lost: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> None:
        self._caps = _caps(spec)
        self.lost = list(lost)
        self.spent = [a + b for a, b in zip(_amounts(spent), lost, strict=True)]
        self.exhausted = self.steered = False
        self._reserved = [0.0, 0.0, 0.0]
        self._in_flight = 0
        self._news = asyncio.Event()
        self._stopped = False

    @property
    def limited(self) -> bool:
        """Whether there is any cap."""
        return bool(self._caps)

    @property
    def caps(self) -> list[float | None]:
        """The caps on USD, tokens and calls; None for none."""
        known = dict(self._caps)
        return [known.get(at) for at in range(len(KINDS))]

    def cap(self, spec: BudgetSpec | None, links: Iterable[Link], *, steered: bool) -> None:
        """Set other caps while calls are under way. Those that began without any cap have reserved nothing.

        Args:
            spec: The caps; None for none.
            links: Whose calls they have to hold for.
            steered: Whether they are not the task's own.

        Raises:
            TaskError: A link's calls have no bound; the caps stay as they are.
        """
        before, self._caps = self._caps, _caps(spec)
        try:
            for link in links:
                self.check(link, "")
        except TaskError:
            self._caps = before
            raise
        self.steered = steered
        self._news.set()

    def check(self, link: Link, prompt: str) -> None:
        """See that a link's calls have the bound that the caps need.

        Raises:
            TaskError: They have none.
        """
        if self.limited and link.most(prompt) is None:
            raise TaskError(
                f"budget: link '{link.name}' has no upper bound of what a call costs, so no cap can hold.",
                "Give the link max_tokens, or leave the budget out.",
            )

    async def reserve(self, most: Usage) -> bool:
        """Reserve the upper bound of one call; waits while calls in flight may still give some back.

        Returns:
            False where the budget does not hold it: no call may be made.
        """
        amounts = _amounts(most)
        while not self._holds(amounts):
            if not self._in_flight or self.exhausted or self._stopped:
                self.exhausted = self.exhausted or not self._stopped
                return False
            self._news.clear()
            await self._news.wait()
        self.hold(most)
        return True

    def hold(self, most: Usage) -> None:
        """Reserve what an earlier run has begun: it is under way, whether the budget holds it or not."""
        for at, amount in enumerate(_amounts(most)):
            self._reserved[at] += amount
        self._in_flight += 1

    def settle(self, most: Usage, charged: Usage, told: Usage | None = None) -> bool:
        """Put what a call may have cost in the place of what was reserved for it.

        Args:
            most: What was reserved.
            charged: What it may have cost.
            told: What its votes will tell of it, where that is less.

        Returns:
            Whether something was lost, which the ledger has to remember.
        """
        lost = [a - b for a, b in zip(_amounts(charged), _amounts(told or charged), strict=True)]
        for at, amount in enumerate(_amounts(charged)):
            self.spent[at] += amount
            self.lost[at] += lost[at]
        for at, amount in enumerate(_amounts(most)):
            self._reserved[at] -= amount
        self._in_flight -= 1
        self._news.set()
        return any(amount > 0 for amount in lost)

    def lose(self, most: Usage) -> None:
        """Count what may have been paid for and brings no vote; the ledger has to remember it."""
        for at, amount in enumerate(_amounts(most)):
            self.spent[at] += amount
            self.lost[at] += amount

    def charge(self, most: Usage) -> None:
        """Count what is under way at a provider and will bring no vote."""
        for at, amount in enumerate(_amounts(most)):
            self.spent[at] += amount

    def stop(self) -> None:
        """Let nothing wait any more."""
        self._stopped = True
        self._news.set()

    def said(self) -> str:
        """Return the caps and what is spent of them, for a person."""
        return ", ".join(f"{_said(at, self.spent[at])} of {_said(at, cap)}" for at, cap in self._caps)

    def _holds(self, amounts: tuple[float, float, float]) -> bool:
        return all(self.spent[at] + self._reserved[at] + amounts[at] <= cap + 1e-12 for at, cap in self._caps)


def _caps(spec: BudgetSpec | None) -> list[tuple[int, float]]:
    """Return the kinds that are limited, as indices into KINDS, and how much of each there may be."""
    caps = (None, None, None) if spec is None else (spec.usd, spec.tokens, spec.calls)
    return [(at, float(cap)) for at, cap in enumerate(caps) if cap is not None]


def _amounts(usage: Usage) -> tuple[float, float, float]:
    return usage.cost_usd or 0.0, float(usage.prompt_tokens + usage.completion_tokens), float(usage.calls)


def _said(kind: int, amount: float) -> str:
    if kind == 0:
        return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.6f}"
    return f"{amount:,.0f} {KINDS[kind]}"
