"""Gold from people: a random sample of a run's rows waits on the desk, blind, and what they say is gold."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from catena.data.tables import texts, write_table
from catena.engine.exchange import people_of
from catena.engine.run import task_of
from catena.errors import InputError
from catena.evaluate.sampled import sample_of
from catena.ledger import Ledger
from catena.ledger.desk import Desk, desk_of
from catena.links import open_link
from catena.links.human import HumanLink
from catena.links.identity import vote_key
from catena.task import LinkSpec, TaskSpec

if TYPE_CHECKING:
    from catena.ledger.marks import Mark

__all__ = ["GOLD", "ask_for_gold", "write_gold"]

GOLD = "gold"
"""The name of the queue: it is no link of the chain."""


def ask_for_gold(folder: Path, count: int, seed: int) -> int:
    """Put a random sample of a run's rows on the desk for people, and return how many wait there.

    The same seed draws the same rows, and a larger sample holds a smaller one: so one may ask for more later.

    Raises:
        InputError: The run has fewer rows, or a link has the queue's name.
    """
    with Ledger(folder) as ledger, Desk(folder) as desk:
        task = task_of(ledger)
        if any(spec.name == GOLD for spec in task.chain):
            raise InputError(f"the task has a link '{GOLD}'.", "Give it another name.")
        link = _asker(task)
        queue = desk.lay_out(GOLD, link.desk_settings | {"blind": True})
        items = sample_of(ledger, count, seed, "--gold")
        keys = [vote_key(link.fingerprint, f"{item.id}\0{link.render(item)}") for item in items]
        desk.put(
            queue,
            [(key, item.row, item.id, link.needs(key)) for key, item in zip(keys, items, strict=True)],
        )
        return desk.counts(queue).waiting


def _asker(task: TaskSpec) -> HumanLink:
    """Return people as the task has them; as the defaults have them where it has none."""
    if any(spec.kind == "human" for spec in task.chain):
        name = next(spec.name for spec in task.chain if spec.kind == "human")
        return people_of(task, name)
    link = open_link(LinkSpec(GOLD, "human"), msgspec.structs.replace(task, chain=()))
    assert isinstance(link, HumanLink)
    return link


def write_gold(folder: Path, path: Path) -> int:
    """Write what people said of the sample as a file with columns id and gold, and return how many rows have gold.

    Of an item that several people have labelled, gold is what most of them say.

    Raises:
        InputError: Nobody was asked for gold.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    with Ledger(folder) as ledger:
        link = _asker(task_of(ledger))
    desk = desk_of(folder)
    queue = next((each for each in desk.queues() if each.name == GOLD), None) if desk else None
    if desk is None or queue is None:
        raise InputError(f"{folder}: nobody was asked for gold.", "Ask with: catena review RUN --gold 200")
    said: dict[str, list[Mark]] = {}
    with desk:
        for _, name, mark in desk.all_marks(queue.number):
            said.setdefault(name, []).append(mark)
    gold = {name: getattr(link.vote(marks), "label", None) for name, marks in said.items()}
    table = pa.table({"id": texts(gold), "gold": texts(gold.values())})
    write_table(path, table.schema, table.to_batches())
    return sum(label is not None for label in gold.values())
