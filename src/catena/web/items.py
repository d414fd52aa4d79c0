"""The table of a run's items: search, filters, order, pages; and one item with all that the links have said about it."""

import contextlib
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from catena.engine.run import task_of
from catena.errors import InputError
from catena.ledger import Ledger
from catena.task import TaskSpec
from catena.types import Answer, Item, Vote
from catena.web.finder import ORDERS, Filters, Found, find, options
from catena.web.index import NO_CONFIDENCE, Cell, cells_of, open_index
from catena.web.pages import show, site_of

__all__ = ["Said", "beside", "routes"]

PAGE = 50
MOST_ROW = 1 << 62
MOST_WORDS = 300
MOST_CHANCES = 12
NOTHING = Filters()


@dataclass(frozen=True)
class Said:
    """What one link has said about one item.

    Args:
        link: Its name.
        answer: A vote or a failure.
        chances: Labels with their probabilities, the most likely first; None where the link gave none.
        others: How many further labels have one.
    """

    link: str
    answer: Answer
    chances: list[tuple[str, float]] | None = None
    others: int = 0

    @property
    def voted(self) -> bool:
        """Whether it is a vote."""
        return isinstance(self.answer, Vote)


@dataclass(frozen=True)
class Line:
    """One item of the table: where it stands (None where that is not known yet), and what was said about it."""

    item: Item
    cell: Cell | None
    sure: float | None
    said: list[Said]


def _table(request: Request) -> Response:
    site, filters = site_of(request), filters_of(request.query_params)
    after, before = _row(request, "after"), _row(request, "before")
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(site.folder))
        index = _opened(stack, site.folder)
        task = _task(ledger)
        found = _found(index, ledger, filters, after, before)
        lines = _lines(index, ledger, task, found)
        choices = options(index) if index is not None else {}
    return show(
        request,
        "items.html",
        filters=filters,
        orders=ORDERS,
        choices=choices,
        found=found,
        lines=lines,
        index=site.indexer.state,
        places=_places(task),
        ways=_ways(filters, found),
        query=query_of(filters),
    )


def _opened(stack: contextlib.ExitStack, folder: Path) -> sqlite3.Connection | None:
    """Open the index until the end of the stack; None where there is none yet."""
    index = open_index(folder)
    return None if index is None else stack.enter_context(contextlib.closing(index))


def _found(
    index: sqlite3.Connection | None,
    ledger: Ledger,
    filters: Filters,
    after: int | None,
    before: int | None,
    size: int = PAGE,
) -> Found:
    """Return a page: of all items straight from the ledger, or of some by the index."""
    if index is not None and (filters.narrow or filters.order != "row"):
        return find(index, ledger, filters, size, after=after, before=before)
    n = ledger.items_count()
    if before is not None:
        stop = min(before, n)
        rows = range(max(0, stop - size), stop)
    else:
        start = 0 if after is None else min(after + 1, n)
        rows = range(start, min(start + size, n))
    cells = cells_of(index) if index is not None else {}
    stands = _stands(index, rows)
    return Found(
        [(row, cells[stands[row][0]][0] if row in stands else None) for row in rows],
        before=bool(rows) and rows.start > 0,
        after=bool(rows) and rows.stop < n,
        total=n,
    )


def _stands(index: sqlite3.Connection | None, rows: Sequence[int]) -> dict[int, tuple[int, float]]:
    """Return cell and place of some rows."""
    if index is None:
        return {}
    marks = ",".join("?" * len(rows))
    found = index.execute(f"SELECT row, cell, sure FROM rows WHERE row IN ({marks})", list(rows))  # noqa: S608
    return {row: (cell, sure) for row, cell, sure in found}


def _lines(index: sqlite3.Connection | None, ledger: Ledger, task: TaskSpec, found: Found) -> list[Line]:
    rows = [row for row, _ in found.rows]
    if not rows:
        return []
    stands = _stands(index, rows)
    return [
        Line(item, cell, _sure(stands.get(item.row)), said)
        for (item, said), (_, cell) in zip(beside(ledger, task, ledger.items(rows)), found.rows, strict=True)
    ]


def _sure(stands: tuple[int, float] | None) -> float | None:
    return stands[1] if stands and stands[1] > NO_CONFIDENCE else None


def _item(request: Request) -> Response:
    site, row = site_of(request), int(request.path_params["row"])
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(site.folder))
        if row >= ledger.items_count():
            raise HTTPException(404)
        index = _opened(stack, site.folder)
        task = _task(ledger)
        stands = _stands(index, [row]).get(row)
        cell = cells_of(index)[stands[0]][0] if index is not None and stands else None
        (line,) = _lines(index, ledger, task, Found([(row, cell)]))
    filters = filters_of(request.query_params)
    return show(
        request,
        "item.html",
        line=line,
        columns=_columns(line.item, task),
        places=_places(task),
        query=query_of(filters),
    )


def _next(request: Request) -> Response:
    """Go to the item after one, among those that the filters find; stay where there is none."""
    return _step(request, back=False)


def _previous(request: Request) -> Response:
    """Go to the item before one; likewise."""
    return _step(request, back=True)


def _step(request: Request, *, back: bool) -> Response:
    site, row, filters = site_of(request), int(request.path_params["row"]), filters_of(request.query_params)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(site.folder))
        index = _opened(stack, site.folder)
        found = _found(index, ledger, filters, None if back else row, row if back else None, size=1)
    to = found.rows[0][0] if found.rows else row
    return RedirectResponse(f"/items/{to:d}{query_of(filters)}", 303)


def _index(request: Request) -> Response:
    """How far the index is, as a part of the table's page."""
    return show(request, "index.html", index=site_of(request).indexer.state)


def _task(ledger: Ledger) -> TaskSpec:
    try:
        return task_of(ledger)
    except InputError as error:
        raise HTTPException(503, "The run has not begun yet. Look again in a moment.") from error


# -- what is asked for ------------------------------------------------------------------------------------------


def filters_of(given: Mapping[str, str]) -> Filters:
    """Return what the query of an address asks for; what makes no sense asks for nothing."""
    words = {
        name: given.get(name, "")[:MOST_WORDS] for name in ("label", "link", "status", "failure", "gold")
    }
    order = given.get("order", "")
    return Filters(
        search=given.get("search", "").strip()[:MOST_WORDS],
        **words,
        disagree=given.get("disagree") == "1",
        least=_confidence(given.get("least", "")),
        most=_confidence(given.get("most", "")),
        order=order if order in ORDERS else "row",
    )


def query_of(filters: Filters, **more: int) -> str:
    """Return the query of an address that asks for this; empty where it asks for nothing."""
    asked: dict[str, Any] = {
        name: value for name, value in vars(filters).items() if value != getattr(NOTHING, name)
    }
    asked |= {"disagree": 1} if filters.disagree else {}
    asked |= more
    return f"?{urlencode(asked, errors='replace')}" if asked else ""


def _ways(filters: Filters, found: Found) -> dict[str, str]:
    """Return the addresses of the first, previous, next and last page, and of a search that goes on."""
    ways = {}
    if found.rows and found.before:
        ways["first"] = query_of(filters)
        ways["previous"] = query_of(filters, before=found.rows[0][0])
    if found.rows and found.after:
        ways["next"] = query_of(filters, after=found.rows[-1][0])
        ways["last"] = query_of(filters, before=MOST_ROW)
    if found.looked_to is not None:
        ways["on"] = query_of(filters, after=found.looked_to)
    return ways


def _row(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return min(int(text), MOST_ROW) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _confidence(text: str) -> float | None:
    try:
        value = float(text) if text.isascii() else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# -- what is shown ----------------------------------------------------------------------------------------------


def beside(ledger: Ledger, task: TaskSpec, items: Sequence[Item]) -> list[tuple[Item, list[Said]]]:
    """Return items with what the links of the chain have said about them, in its order."""
    numbers, rows = ledger.links(), [item.row for item in items]
    said = [
        (spec.name, ledger.said(numbers[spec.name][0], rows)) for spec in task.chain if spec.name in numbers
    ]
    return [
        (item, [_said(name, by_row[item.row], task) for name, by_row in said if item.row in by_row])
        for item in items
    ]


def _said(link: str, answer: Answer, task: TaskSpec) -> Said:
    if not isinstance(answer, Vote) or answer.logprobs is None:
        return Said(link, answer)
    known = zip(task.labels, answer.logprobs, strict=False)
    chances = [(label, min(1.0, math.exp(value))) for label, value in known if value is not None]
    chances.sort(key=lambda each: -each[1])
    return Said(link, answer, chances[:MOST_CHANCES], len(chances[MOST_CHANCES:]))


def _columns(item: Item, task: TaskSpec) -> list[tuple[str, Any]]:
    """Return the row's other columns by name."""
    own = [(task.data.target, item.target), (task.data.gold, item.gold)]
    return [(name, value) for name, value in [*own, *item.fields.items()] if name is not None]


def _places(task: TaskSpec) -> dict[str, int]:
    """Return the colour of each label, from 1 to 8."""
    return {label: at % 8 + 1 for at, label in enumerate(task.labels)}


routes = [
    Route("/items", _table),
    Route("/items/index", _index),
    Route("/items/{row:int}", _item),
    Route("/items/{row:int}/next", _next),
    Route("/items/{row:int}/previous", _previous),
]
