"""crowd-kit's table of answers: `task`, `worker`, `label` (https://github.com/Toloka/crowd-kit, read in November 2026).

Workers are people by their names, and links as `link:NAME`, so that reading such a file takes in what people said alone.
Times and notes are in further columns, which crowd-kit does not look at.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from catena.data.exchange import Given, Outgoing, iso, labels_of, seconds
from catena.data.tables import csv_lines, replacing
from catena.errors import DataError

__all__ = ["LINK", "read", "write"]

COLUMNS = ("task", "worker", "label", "at", "seconds", "note")
LINK = "link:"


def write(path: Path, items: Iterable[Outgoing], labels: Sequence[str]) -> None:  # noqa: ARG001 - as in all formats
    """Write one line for each vote of a link and each label of a person; see `exchange.write_outgoing`."""
    with replacing(path) as file:
        file.write(csv_lines([list(COLUMNS)]))
        for item in items:
            file.write(csv_lines(list(_lines(item))))


def _lines(item: Outgoing) -> Iterator[list[str | None]]:
    for each in item.suggestions:
        yield [item.item, f"{LINK}{each.link}", each.label, None, None, None]
    for given in item.given:
        at = None if given.at is None else iso(given.at)
        yield [item.item, given.who, given.label, at, str(given.seconds), given.note or None]


def read(path: Path) -> Iterator[Given]:
    """Yield what people said; see `exchange.read_given`. Lines of links are left out; `performer` is an older name."""
    found: list[Given] = []
    wrong: list[str] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                where = f"row {len(found) + len(wrong) + 1}"
                item, who, label = row["task"], row.get("worker") or row.get("performer"), row["label"]
                if not item or not who or not label:
                    wrong.append(where)
                else:
                    found.append(_given(row, item, who, label, where))
        except csv.Error as error:
            raise DataError(
                f"{path}: it is not valid CSV: {error}.", "It needs task, worker, label."
            ) from error
    labels_of(path, wrong, "without a task, a worker or a label")
    yield from (each for each in found if not each.who.startswith(LINK))


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if not {"task", "label"} <= set(names) or not {"worker", "performer"} & set(names):
        raise DataError(f"{path} lacks a column: it needs task, worker, label.", "Is it of another format?")


def _given(row: dict[str, Any], item: str, who: str, label: str, where: str) -> Given:
    try:
        spent = float(row.get("seconds") or 0)
    except ValueError:
        spent = 0.0
    return Given(
        item,
        who,
        label,
        row.get("note") or "",
        seconds(row.get("at")),
        spent if 0 <= spent < 1e9 else 0.0,
        where,
    )
