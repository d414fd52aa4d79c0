"""What is asked of the process that works on a run: pause, go on, calls at a time, budget."""

import math
import threading
from pathlib import Path
from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from catena.engine.steering import Control, RunSeen, read_control, read_progress, write_control
from catena.ledger.lock import holder
from catena.task import BudgetSpec
from catena.web.actions import action
from catena.web.pages import site_of

__all__ = ["ask", "routes"]

MOST_NUMBER = 1e15
_one_at_a_time = threading.Lock()


def ask(folder: Path, **changes: Any) -> None:
    """Ask something of the process that works on a run; see `engine.steering.Control`.

    Raises:
        HTTPException: No process works on it, or the control file can't be written.
    """
    with _one_at_a_time:
        seen = _at_work(folder)
        before = read_control(folder)
        if before is None or before.process != seen.process:
            before = Control(seen.process)
        after = msgspec.structs.replace(before, number=before.number + 1, **changes)
        try:
            write_control(folder, after)
        except OSError as error:
            raise HTTPException(500, f"The run's folder can't be written: {error.strerror}.") from error


def _at_work(folder: Path) -> RunSeen:
    at_work, seen = holder(folder), read_progress(folder)
    if seen is None or at_work is None or seen.holder != at_work or seen.over:
        raise HTTPException(
            409,
            "No process that can be steered works on this run now. The same catena run command begins it again.",
        )
    return seen


def _steer(request: Request, form: FormData) -> Response:
    folder = site_of(request).folder
    what = form.get("what")
    if what in {"pause", "resume"}:
        ask(folder, paused=what == "pause")
    elif what == "concurrency":
        ask(folder, concurrency=_concurrency(folder, form))
    elif what == "budget":
        ask(folder, budget=_budget(form))
    else:
        raise HTTPException(400, "The form asks for nothing that there is.")
    return RedirectResponse("/", 303)


def _concurrency(folder: Path, form: FormData) -> dict[str, int]:
    """Return the calls at a time by link, from fields that are named by its place in the chain."""
    seen, before = _at_work(folder), read_control(folder)
    wanted = dict(before.concurrency) if before and before.process == seen.process else {}
    for at, link in enumerate(seen.links):
        given = form.get(f"most.{at}")
        if given is None:
            continue
        number = _whole(given, f"Calls at a time of '{link.name}'")
        if number is None or not 1 <= number <= link.allowed:
            raise HTTPException(400, f"Calls at a time of '{link.name}' are from 1 to {link.allowed:,}.")
        wanted[link.name] = number
    return wanted


def _budget(form: FormData) -> BudgetSpec | None:
    """Return the caps of a form, in which an empty field is no cap; None for the task's own."""
    if form.get("own"):
        return None
    usd = _amount(form.get("usd"), "USD")
    return BudgetSpec(usd, _whole(form.get("tokens"), "Tokens"), _whole(form.get("calls"), "Calls"))


def _whole(given: Any, what: str) -> int | None:
    amount = _amount(given, what)
    if amount is not None and amount != int(amount):
        raise HTTPException(400, f"{what}: a whole number is needed.")
    return None if amount is None else int(amount)


def _amount(given: Any, what: str) -> float | None:
    text = given.strip().replace(",", "") if isinstance(given, str) else ""
    if not text:
        return None
    try:
        amount = float(text) if text.isascii() else math.nan
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= MOST_NUMBER:
        raise HTTPException(400, f"{what}: a number from 0 is needed.")
    return amount


routes = [action("/steer", _steer)]
