"""A run whose last link is people, and people who label without a browser."""

import contextlib
import threading
import time

from catena.ledger.desk import FILE, Desk
from catena.ledger.seat import Seat
from chains import LABELS, chain_task, chain_text, rows_of, texts
from tables import vote, write_votes

__all__ = ["Person", "at_desk", "data_of", "people", "person", "recorded", "task_of", "text_of"]


def recorded(folder, n, label="favor"):
    """Write a vote table of a link `small` that says the same of n items, surer of each than of the one before."""
    ids = [f"i{at}" for at in range(n)]
    return write_votes(
        folder, [vote(i, "small", label, (at + 1) / n) for at, i in enumerate(ids)], ids, labels=list(LABELS)
    )


def people(**options):
    """Return a link that is people."""
    return {"name": "people", "kind": "human"} | options


def chain(votes, **options):
    """Return a replayed link, and people behind it."""
    return [{"name": "small", "kind": "replay", "votes": str(votes)}, people(**options)]


HALF = {"data": {"id": "id"}, "policy": {"share": ["0.5", "0.5"]}, "aggregate": "last"}


def task_of(votes, task=None, **options):
    """Return a task in which half of the items reach people."""
    return chain_task(*chain(votes, **options), **(HALF | (task or {})))


def text_of(votes, task=None, **options):
    """Return it as the text of a file."""
    return chain_text(*chain(votes, **options), **(HALF | (task or {})))


def data_of(n, **columns):
    """Return the rows."""
    return rows_of(texts(n), **columns)


@contextlib.contextmanager
def at_desk(out, name="Ada", queue=0, seconds=60):
    """Sit down at a run's desk as soon as it has a queue: a seat, the desk, the queue."""
    end = time.monotonic() + seconds
    while not (out / FILE).exists() and time.monotonic() < end:
        time.sleep(0.01)
    with Desk(out) as desk:
        while not desk.queues() and time.monotonic() < end:
            time.sleep(0.01)
        found = desk.queues()[queue]
        yield Seat(desk, found.number, name), desk, found


class Person(threading.Thread):
    """Labels so many items at a desk, each as `says(claim)`, and remembers which.

    Attributes:
        given: The label of each item id.
        error: What went wrong, if anything.
    """

    def __init__(self, out, count, says=lambda claim: "against", name="Ada", note=""):
        super().__init__(daemon=True)
        self.given, self.error = {}, None
        self._out, self._count, self._says, self._name, self._note = out, count, says, name, note

    def run(self):
        """Label until there are enough."""
        try:
            with at_desk(self._out, self._name) as (seat, _, queue):
                end = time.monotonic() + 60
                while len(self.given) < self._count and time.monotonic() < end:
                    claim = seat.next()
                    if claim is None:
                        time.sleep(0.01)
                        continue
                    assert claim.id not in self.given, f"{claim.id} was asked twice"
                    seat.label(claim.item, self._says(claim), self._note, queue.labels)
                    self.given[claim.id] = self._says(claim)
                    end = time.monotonic() + 60
        except BaseException as error:  # noqa: BLE001 - for the thread that waits
            self.error = error


@contextlib.contextmanager
def person(out, count, says=lambda claim: "against", name="Ada", note=""):
    """Let somebody label while the block works; they are through, without an error, at its end."""
    who = Person(out, count, says, name, note)
    who.start()
    yield who
    who.join(100)
    assert who.error is None, who.error
    assert len(who.given) == count
