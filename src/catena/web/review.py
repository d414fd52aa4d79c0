"""The review queue: people label here what has reached a link of kind human. Every change is a form; a GET claims nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from catena.engine.run import go_on, task_of
from catena.errors import CatenaError, InputError
from catena.evaluate.people import people_agreement
from catena.ledger import Ledger
from catena.ledger.desk import Desk, Queue, desk_of
from catena.ledger.lock import holder
from catena.ledger.seat import Claim, Seat, annotator_name
from catena.prompts import Prompter
from catena.types import Answer, Item, Vote
from catena.web.actions import action
from catena.web.guidelines import blocks
from catena.web.pages import show, site_of

__all__ = ["routes"]

KEYS = "123456789"


@dataclass(frozen=True)
class Seen:
    """What a person sees of an item.

    Args:
        claim: Which one.
        item: Its text and columns.
        question: What is asked about it.
        fields: The other columns.
        votes: What earlier links said; None where people are blind to it.
        by_label: The names of the links that named each label.
    """

    claim: Claim
    item: Item
    question: str
    fields: list[tuple[str, Any]]
    votes: list[tuple[str, Answer]] | None
    by_label: dict[str, list[str]]


class _Finisher:
    """Takes answers in where no process works on the run: then the page does what the next `catena run` would."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: set[Path] = set()
        self.said: dict[Path, str] = {}

    def begin(self, folder: Path) -> None:
        """Begin, unless it is done already; what goes wrong is said on the page."""
        with self._lock:
            if folder in self._at_work or holder(folder) is not None:
                return
            self._at_work.add(folder)
        threading.Thread(target=self._work, args=(folder,), daemon=True, name="finisher").start()

    def at_work(self, folder: Path) -> bool:
        """Whether answers are being taken in now."""
        return folder in self._at_work

    def _work(self, folder: Path) -> None:
        try:
            go_on(folder)
            self.said.pop(folder, None)
        except CatenaError as error:
            self.said[folder] = f"{error.message} The same command that asked for them takes the answers in."
        finally:
            self._at_work.discard(folder)


_finisher = _Finisher()


def _review(request: Request) -> Response:
    site = site_of(request)
    desk = desk_of(site.folder)
    if desk is None:
        return show(request, "review_none.html", has_people=_has_people(site.folder))
    with desk:
        queues = desk.queues()
        if not queues:
            return show(request, "review_none.html", has_people=_has_people(site.folder))
        queue = _queue(desk, queues, request.query_params.get("queue"))
        name = site.annotators.get(request.state.form_token)
        counts = desk.counts(queue.number)
        around: dict[str, Any] = {
            "queue": queue,
            "queues": queues,
            "counts": counts,
            "name": name,
            "keys": KEYS,
        }
        if name is None:
            return show(request, "review_name.html", **around, guidelines=blocks(queue.guidelines))
        seat = Seat(desk, queue.number, name)
        claim = seat.current()
        if claim is None:
            people = desk.annotators(queue.number)
            agreement = people_agreement(desk, queue.number, queue.labels)
            state = _state(site.folder, queue)
            return show(
                request,
                "review_rest.html",
                **around,
                **state,
                people=people,
                agreement=agreement,
                given=seat.given(),
            )
        seen = _seen(site.folder, queue, claim)
        if seen is None:
            return show(request, "review_none.html", has_people=True)
        return show(
            request,
            "review.html",
            **around,
            seen=seen,
            given=seat.given(),
            guidelines=blocks(queue.guidelines),
        )


def _queue(desk: Desk, queues: list[Queue], wanted: str | None) -> Queue:
    """Return the queue with a number; otherwise the first one in which something waits, or the first one."""
    named = (queue for queue in queues if str(queue.number) == wanted)
    waiting = (queue for queue in queues if desk.counts(queue.number).waiting)
    return next(named, None) or next(waiting, None) or queues[0]


def _has_people(folder: Path) -> bool:
    try:
        with Ledger(folder) as ledger:
            return any(spec.kind == "human" for spec in task_of(ledger).chain)
    except InputError:
        return False


def _state(folder: Path, queue: Queue) -> dict[str, Any]:
    """Return how the run stands, for people who have nothing to label."""
    with Ledger(folder) as ledger:
        finished, numbers = ledger.get("finished") is not None, ledger.links()
        link = queue.name in numbers
        answered, failed = ledger.asked_count(numbers[queue.name][0]) if link else (0, 0)
        apart = not link and all(spec.name != queue.name for spec in task_of(ledger).chain)
    taking = _finisher.at_work(folder)
    return {
        "finished": finished and not taking,
        "apart": apart,  # what is said is gold, and no vote
        "by_people": answered - failed,
        "taking": taking,
        "working": holder(folder) is not None and not taking,
        "trouble": _finisher.said.get(folder, ""),
    }


def _seen(folder: Path, queue: Queue, claim: Claim) -> Seen | None:
    """Return what people see of an item; None where the run's rows are others now, until it goes on."""
    with Ledger(folder) as ledger:
        if claim.row >= ledger.items_count():
            return None
        (item,) = ledger.items([claim.row])
        if item.id != claim.id:
            return None
        fields = [
            (name, value) for name, value in item.fields.items() if queue.show is None or name in queue.show
        ]
        task = task_of(ledger)
        question = Prompter(task, "review", prompt="{{ question }}")(item)
        if queue.blind:
            return Seen(claim, item, question, fields, None, {})
        numbers = ledger.links()
        votes = [
            (spec.name, said[claim.row])
            for spec in task.chain
            if spec.kind != "human" and spec.name in numbers
            for said in [ledger.said(numbers[spec.name][0], [claim.row])]
            if claim.row in said
        ]
    by_label: dict[str, list[str]] = {}
    for name, answer in votes:
        if isinstance(answer, Vote):
            by_label.setdefault(answer.label, []).append(name)
    return Seen(claim, item, question, fields, votes, by_label)


# -- what people do ---------------------------------------------------------------------------------------------


@contextmanager
def _at_desk(request: Request, form: FormData) -> Iterator[tuple[Desk, Queue]]:
    desk = desk_of(site_of(request).folder)
    if desk is None:
        raise HTTPException(409, "No item waits for a person in this run.")
    with desk:
        queues = desk.queues()
        if not queues:
            raise HTTPException(409, "No item waits for a person in this run.")
        yield desk, _queue(desk, queues, _text(form, "queue"))


def _seat(request: Request, desk: Desk, queue: Queue) -> Seat:
    name = site_of(request).annotators.get(request.state.form_token)
    if name is None:
        raise HTTPException(409, "Say who you are first: open Review.")
    return Seat(desk, queue.number, name)


def _sit(request: Request, form: FormData) -> Response:
    """Take a person's name, and give them an item."""
    site = site_of(request)
    try:
        name = annotator_name(_text(form, "name"))
    except InputError as error:
        raise HTTPException(400, error.message[:1].upper() + error.message[1:]) from error
    with _at_desk(request, form) as (desk, queue):
        Seat(desk, queue.number, name).next()
    site.annotators[request.state.form_token] = name
    return _back(queue)


def _leave(request: Request, form: FormData) -> Response:
    """Let somebody else sit down here."""
    with _at_desk(request, form) as (_, queue):
        site_of(request).annotators.pop(request.state.form_token, None)
    return _back(queue)


def _next(request: Request, form: FormData) -> Response:
    with _at_desk(request, form) as (desk, queue):
        _seat(request, desk, queue).next()
    return _back(queue)


def _say(request: Request, form: FormData) -> Response:
    """Keep a label or pass the item over; where that was the last one and nobody works on the run, take answers in."""
    with _at_desk(request, form) as (desk, queue):
        seat, item, note = _seat(request, desk, queue), _text(form, "item"), _text(form, "note").strip()
        if not (item.isascii() and item.isdigit() and len(item) < 19):
            raise HTTPException(400, "The form names no item.")
        try:
            if "skip" in form:
                claim = seat.skip(int(item), note)
            else:
                claim = seat.label(int(item), _text(form, "label"), note, queue.labels)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        if claim is None and not desk.counts(queue.number).waiting:
            _finisher.begin(site_of(request).folder)
    return _back(queue)


def _undo(request: Request, form: FormData) -> Response:
    with _at_desk(request, form) as (desk, queue):
        _seat(request, desk, queue).undo()
    return _back(queue)


def _finish(request: Request, form: FormData) -> Response:
    """Let the run go on without people."""
    with _at_desk(request, form) as (desk, queue):
        desk.finish(queue.name)
        _finisher.begin(site_of(request).folder)
    return _back(queue)


def _text(form: FormData, name: str) -> str:
    given = form.get(name, "")
    return given if isinstance(given, str) else ""


def _back(queue: Queue) -> Response:
    return RedirectResponse(f"/review?queue={queue.number}", 303)


routes = [
    Route("/review", _review),
    action("/review/sit", _sit),
    action("/review/leave", _leave),
    action("/review/next", _next),
    action("/review/say", _say),
    action("/review/undo", _undo),
    action("/review/finish", _finish),
]
