"""Counts of a run as it goes, for whoever watches."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from catena.engine.steering import Trouble
from catena.types import Failure

if TYPE_CHECKING:
    from catena.engine.budget import Budget
    from catena.engine.endpoint import Gate

__all__ = ["LinkProgress", "Progress"]

MOST_TROUBLES = 20


@dataclass
class LinkProgress:
    """What one link has done so far.

    `sure` is how many items it will receive, None where that depends on the votes of the link `before` it; `reused` were
    in the ledger; `waits_for` says what it waits for long; `troubles` are its latest failures.
    """

    name: str
    model: str
    sure: int | None
    before: "LinkProgress | None" = None
    received: int = 0
    answered: int = 0
    forwarded: int = 0
    failed: int = 0
    reused: int = 0
    calls: int = 0
    cost_usd: float = 0.0
    waits_for: str = ""
    gate: "Gate | None" = None
    troubles: deque[Trouble] = field(default_factory=lambda: deque(maxlen=MOST_TROUBLES))

    @property
    def expected(self) -> int:
        """How many items it will receive, as far as that is known."""
        if self.sure is not None:
            return self.sure
        return self.before.forwarded if self.before else self.received

    @property
    def in_flight(self) -> int:
        """How many calls the link has in flight."""
        return self.gate.in_flight if self.gate else 0

    @property
    def out(self) -> str:
        """Why none of its calls works now; empty while they do."""
        return self.gate.out if self.gate else ""

    def note(self, row: int, failure: Failure) -> None:
        """Remember an item that failed, for whoever watches."""
        self.troubles.append(Trouble(time.time(), row, failure.reason, failure.message))


@dataclass
class Progress:
    """What the whole run has done so far."""

    items: int
    links: list[LinkProgress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    budget: "Budget | None" = None

    @property
    def capped(self) -> str:
        """What is used of the budget, for a person; empty where there is none."""
        return self.budget.said() if self.budget and self.budget.limited else ""
