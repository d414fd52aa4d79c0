"""A run's items on their way to other tools, and what people said there on its way to the desk."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from catena.data.cells import as_text
from catena.data.exchange import Given, Outgoing, Suggestion
from catena.engine.results import decide_run, run_votes
from catena.engine.run import task_of
from catena.errors import DataError, InputError, places
from catena.ledger import Ledger
from catena.ledger.desk import Counts, Desk, desk_of
from catena.ledger.marks import Mark
from catena.ledger.seat import LONGEST_NOTE, annotator_name
from catena.links import open_link
from catena.links.human import HumanLink
from catena.links.identity import vote_key
from catena.task import TaskSpec
from catena.types import Item, Vote

__all__ = ["Which", "outgoing", "people_of", "take_in"]

Which = Literal["all", "waiting", "disagreeing"]
BLOCK = 1024


def people_of(task: TaskSpec, name: str | None = None) -> HumanLink:
    """Return the link of a task that is people: the one with a name, or the only one.

    Raises:
        InputError: There is none, or there are several and none is named.
    """
    names = [spec.name for spec in task.chain if spec.kind == "human"]
    if name is None and len(names) == 1:
        (name,) = names
    if name not in names:
        raise InputError(
            f"links that are people: {', '.join(names) or 'none'}.",
            "Name one: --link NAME." if names else "Add one to the chain: kind: human.",
        )
    link = open_link(next(spec for spec in task.chain if spec.name == name), task)
    assert isinstance(link, HumanLink)
    return link


def outgoing(ledger: Ledger, which: Which = "all") -> Iterator[Outgoing]:
    """Yield items with what is known of their labels, in input order.

    Args:
        ledger: Of the run, finished or not.
        which: All, those that wait for people, or those on which votes differ, of links or people.
    """
    task = task_of(ledger)
    labels = _labels(ledger, task)
    numbers = ledger.links()
    links = [
        (spec.name, numbers[spec.name][0])
        for spec in task.chain
        if spec.kind != "human" and spec.name in numbers
    ]
    with contextlib.ExitStack() as stack:
        desk = desk_of(ledger.folder)
        people = [(stack.enter_context(desk), queue.number) for queue in desk.queues()] if desk else []
        for items in ledger.all_items(BLOCK):
            rows = [item.row for item in items]
            votes = [(name, ledger.said(number, rows)) for name, number in links]
            given: dict[str, list[Given]] = {}
            waiting: set[str] = set()
            for at_desk, queue in people:
                _look_up(at_desk, queue, items, given, waiting)
            for item in items:
                said = [
                    Suggestion(name, answer.label, answer.confidence)
                    for name, by_row in votes
                    if isinstance(answer := by_row.get(item.row), Vote)
                ]
                made = _outgoing(item, task, said, given.get(item.id, []), labels[item.row])
                if _wanted(made, which, waiting):
                    yield made


def _labels(ledger: Ledger, task: TaskSpec) -> list[str | None]:
    """Return the run's label of each row, provisional ones where it is not finished."""
    if not ledger.links():
        return [None] * ledger.items_count()
    votes = run_votes(ledger, task)
    provisional = ledger.get("finished") is None
    decision = decide_run(ledger, votes, task, provisional=provisional)
    result = decision.result(task.aggregate, votes.votes, task.judge())
    names = np.array([*votes.labels, None], dtype=object)
    found: list[str | None] = names[result.label()].tolist()
    return found


def _look_up(
    desk: Desk, queue: int, items: Sequence[Item], given: dict[str, list[Given]], waiting: set[str]
) -> None:
    for name, (open_, marks) in desk.seen(queue, [item.id for item in items]).items():
        if open_:
            waiting.add(name)
        for mark in marks:
            said = Given(name, mark.annotator, mark.label or "", mark.note, mark.at, mark.seconds)
            given.setdefault(name, []).append(said)


def _outgoing(
    item: Item, task: TaskSpec, said: Sequence[Suggestion], given: Sequence[Given], label: str | None
) -> Outgoing:
    fields = {name: as_text(value) for name, value in item.fields.items()}
    if task.data.target is not None:
        fields = {task.data.target: item.target} | fields
    return Outgoing(item.id, item.row, item.text, fields, said, given, label)


def _wanted(item: Outgoing, which: Which, waiting: set[str]) -> bool:
    if which == "waiting":
        return item.item in waiting
    if which == "disagreeing":
        return len({each.label for each in item.suggestions} | {each.label for each in item.given}) > 1
    return True


def take_in(folder: Path, given: Sequence[Given], how: str, name: str | None = None) -> tuple[int, Counts]:
    """Put what people said elsewhere on the desk: all of it, or nothing.

    Args:
        folder: The run's; another process may work on it.
        given: What they said.
        how: Where it comes from, kept with each label.
        name: The link that is people; the only one unless said.

    Returns:
        How many labels were new, and how the link's queue stands.

    Raises:
        DataError: An item that is not in the run, a label that the task lacks, or a name that is none; up to 20 places.
        InputError: No link is people.
    """
    with Ledger(folder) as ledger:
        task = task_of(ledger)
        link = people_of(task, name)
        labels = link.desk_settings["labels"]
        wanted = {each.item for each in given}
        rows = {item: row for block in ledger.names() for row, item, _ in block if item in wanted}
        _refuse(given, rows, labels)
        marks = [_mark(each, how) for each in given]
        with Desk(folder) as desk:
            queue = desk.lay_out(link.name, link.desk_settings)
            items = _known(desk, queue, ledger, link, sorted(rows.values()))
            new = desk.answer_all([(items[each.item], mark) for each, mark in zip(given, marks, strict=True)])
            return new, desk.counts(queue)


def _refuse(given: Sequence[Given], rows: Mapping[str, int], labels: Collection[str]) -> None:
    unknown = [f"{each.where}: '{each.item}'" for each in given if each.item not in rows]
    if unknown:
        raise DataError(
            f"items that are not in the run: {places(unknown)}.",
            "Nothing was taken in: is it of another run?",
        )
    wrong = [f"{each.where}: '{each.label}'" for each in given if each.label not in labels]
    if wrong:
        raise DataError(
            f"labels that the task lacks: {places(wrong)}.",
            f"Nothing was taken in. Labels: {', '.join(labels)}.",
        )


def _mark(given: Given, how: str) -> Mark:
    try:
        who = annotator_name(given.who)
    except InputError as error:
        raise DataError(f"{given.where}: {error.message}", "Nothing was taken in.") from error
    at = time.time() if given.at is None else given.at
    return Mark(who, given.label, given.note[:LONGEST_NOTE], at, given.seconds, how)


def _known(desk: Desk, queue: int, ledger: Ledger, link: HumanLink, rows: Sequence[int]) -> dict[str, int]:
    """Return the numbers at the desk of these rows' items, by their ids; those that never reached the link are kept there."""
    found: dict[str, int] = {}
    for at in range(0, len(rows), BLOCK):
        keys = {}
        for item in ledger.items(rows[at : at + BLOCK]):
            keys[vote_key(link.fingerprint, f"{item.id}\0{link.render(item)}")] = item
        desk.keep(queue, [(key, item.row, item.id, link.needs(key)) for key, item in keys.items()])
        found |= {keys[key].id: number for key, number in desk.find(queue, list(keys)).items()}
    return found
