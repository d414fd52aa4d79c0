"""Labels that somebody gave to items, in a file with ids or in a vote table."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catena.data.rows import read_rows
from catena.data.votes import VoteTable, read_votes
from catena.errors import DataError, InputError, places
from catena.task import Columns

__all__ = ["GivenGold", "read_gold", "table_labels"]


class GivenGold(NamedTuple):
    """Gold by item.

    Args:
        label: -1 where it has none, int16 [n].
        blank: How many rows of the file are there without a label.
        others: How many items of a vote table are none of these.
    """

    label: NDArray[np.int16]
    blank: int = 0
    others: int = 0


def read_gold(asked: Path, item_ids: Iterable[str], labels: Collection[str]) -> GivenGold:
    """Read gold that somebody gave.

    Args:
        asked: A file with the columns `id` and `gold` (or `label`), or a vote table: `DIR`, or `DIR:LINK` where it has several.
        item_ids: Of all items.
        labels: What gold may be, in order.

    Raises:
        InputError: A vote table leaves open whose labels are meant, or has others than these.
        DataError: The file can't be read, names items that are not there, or gold outside the labels.
    """
    rows = {name: row for row, name in enumerate(item_ids)}
    index = {label: at for at, label in enumerate(labels)}
    said = table_labels(str(asked), labels, "--gold")
    given, blank = _file_labels(asked, labels) if said is None else (said, 0)
    unknown = [name for name in given if name not in rows]
    if unknown and said is None:
        raise DataError(f"{asked}: ids that the run does not have: {places(unknown)}.")
    found = np.full(len(rows), -1, np.int16)
    for name in given.keys() & rows.keys():
        found[rows[name]] = index[given[name]]
    return GivenGold(found, blank, len(unknown))


def _file_labels(path: Path, labels: Collection[str]) -> tuple[dict[str, str], int]:
    """Return the label of each id, and how many have none."""
    columns = read_rows(path, Columns(text="id", id="id"), labels).column_names
    gold = "label" if "gold" not in columns and "label" in columns else "gold"
    items = [
        item for block in read_rows(path, Columns(text="id", id="id", gold=gold), labels) for item in block
    ]
    found = {item.id: item.gold for item in items if item.gold is not None}
    return found, len(items) - len(found)


def table_labels(asked: str, labels: Collection[str], option: str) -> dict[str, str] | None:
    """Return the labels of one link of a vote table by item id; None where no such folder is named.

    Args:
        asked: `DIR`, or `DIR:LINK` where it has several.
        labels: The task's.
        option: What the user wrote it behind.

    Raises:
        InputError: It is open whose labels are meant, or one is none of the task's.
    """
    folder, _, name = (asked, "", "") if Path(asked).is_dir() else asked.rpartition(":")
    if not folder or not Path(folder).is_dir():
        return None
    return _said_by(read_votes(Path(folder)), name, f"{option} {asked}", f"{option} {folder}", labels)


def _said_by(table: VoteTable, name: str, asked: str, way: str, labels: Collection[str]) -> dict[str, str]:
    if not name and len(table.links) == 1:
        (name,) = table.links
    if name not in table.links:
        raise InputError(
            f"{asked}: whose labels? It has votes of {', '.join(table.links)}.",
            f"Write {way}:{table.links[0]}",
        )
    given = table.label[table.links.index(name)]
    said = {
        item: table.labels[at]
        for item, at in zip(table.item_ids.tolist(), given.tolist(), strict=True)
        if at >= 0
    }
    if outside := sorted(set(said.values()) - set(labels)):
        raise InputError(f"{asked}: '{outside[0]}' is none of the task's labels.")
    return said
