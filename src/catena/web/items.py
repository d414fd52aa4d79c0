"""The table of a run's items, and one item with all that the links have said about it."""

import math
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catena.engine.run import task_of
from catena.ledger import Ledger
from catena.task import TaskSpec
from catena.types import Answer, Item, Vote
from catena.web.pages import show, site_of

__all__ = ["routes"]

PAGE = 50
MOST_ROW = 1 << 62


@dataclass(frozen=True)
class Said:
    """What one link has said about one item.

    Args:
        link: Its name.
        answer: A vote or a failure.
        chances: Each label with its probability, the most likely first; None where the link gave none.
    """

    link: str
    answer: Answer
    chances: list[tuple[str, float]] | None

    @property
    def voted(self) -> bool:
        """Whether it is a vote."""
        return isinstance(self.answer, Vote)


def _table(request: Request) -> Response:
    after = _number(request, "after", -1)
    with Ledger(site_of(request).folder) as ledger:
        task, n = task_of(ledger), ledger.items_count()
        rows = range(min(after + 1, n), min(after + 1 + PAGE, n))
        found = _beside(ledger, task, ledger.items(rows)) if rows else []
    return show(request, "items.html", found=found, n=n, more=rows.stop if rows and rows.stop < n else None)


def _item(request: Request) -> Response:
    row = int(request.path_params["row"])
    with Ledger(site_of(request).folder) as ledger:
        if row >= ledger.items_count():
            raise HTTPException(404)
        task = task_of(ledger)
        ((item, said),) = _beside(ledger, task, ledger.items([row]))
    return show(
        request, "item.html", item=item, said=said, columns=_columns(item, task), labels=list(task.labels)
    )


def _beside(ledger: Ledger, task: TaskSpec, items: list[Item]) -> list[tuple[Item, list[Said]]]:
    """Return items with what the links have said about them, in the order of the chain."""
    numbers, rows = ledger.links(), [item.row for item in items]
    said = [
        (spec.name, ledger.answers_about(numbers[spec.name][0], rows))
        for spec in task.chain
        if spec.name in numbers
    ]
    return [
        (item, [_said(name, by_row[item.row], task) for name, by_row in said if item.row in by_row])
        for item in items
    ]


def _said(link: str, answer: Answer, task: TaskSpec) -> Said:
    if not isinstance(answer, Vote) or answer.logprobs is None:
        return Said(link, answer, None)
    known = zip(task.labels, answer.logprobs, strict=False)
    chances = [(label, min(1.0, math.exp(value))) for label, value in known if value is not None]
    return Said(link, answer, sorted(chances, key=lambda each: -each[1]))


def _columns(item: Item, task: TaskSpec) -> list[tuple[str, Any]]:
    """Return the row's other columns by name."""
    own = [(task.data.target, item.target), (task.data.gold, item.gold)]
    return [(name, value) for name, value in [*own, *item.fields.items()] if name is not None]


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return min(int(text), MOST_ROW) if text.isascii() and text.isdigit() else default


routes = [Route("/items", _table), Route("/items/{row:int}", _item)]
