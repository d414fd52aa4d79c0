"""Labels of people on their way from and to other tools: one module here for each format, and what they have in common."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from catena.data.cells import as_text, one_line
from catena.data.tables import replacing
from catena.errors import DataError, places

__all__ = [
    "FORMATS",
    "Given",
    "Outgoing",
    "Suggestion",
    "iso",
    "labels_of",
    "objects",
    "read_given",
    "seconds",
    "write_array",
    "write_outgoing",
]

FORMATS = ("argilla", "crowd-kit", "label-studio")
MOST_BYTES = 1 << 30
MOST_KEPT = 1000


class Suggestion(msgspec.Struct, frozen=True):
    """What a link said about an item; confidences of different links can't be compared."""

    link: str
    label: str
    confidence: float | None = None


class Given(msgspec.Struct, frozen=True):
    """A label that a person gave to an item.

    Args:
        item: The item's id, as text.
        who: The person.
        label: The label.
        note: A remark; empty for none.
        at: Seconds since 1970; None where that is not known.
        seconds: How long it took; 0 where that is not known.
        where: Its place in the file, for messages.
    """

    item: str
    who: str
    label: str
    note: str = ""
    at: float | None = None
    seconds: float = 0.0
    where: str = ""


class Outgoing(msgspec.Struct, frozen=True):
    """An item with what is known of its label.

    Args:
        item: Its id, as text.
        row: Its place in the input, from 0.
        text: The text.
        fields: Other columns, target included, by name.
        suggestions: What links said, in the order of the chain.
        given: What people said.
        label: The run's label; None where it has none.
    """

    item: str
    row: int
    text: str
    fields: Mapping[str, str | None]
    suggestions: Sequence[Suggestion]
    given: Sequence[Given]
    label: str | None = None


class _Format(Protocol):
    def write(self, path: Path, items: Iterable[Outgoing], labels: Sequence[str]) -> None: ...

    def read(self, path: Path) -> Iterator[Given]: ...


def _format(name: str) -> _Format:
    if name not in FORMATS:
        raise DataError(f"unknown format '{name}'.", f"Formats: {', '.join(FORMATS)}.")
    return cast("_Format", import_module(f"catena.data.{name.replace('-', '_')}"))


def write_outgoing(name: str, path: Path, items: Iterable[Outgoing], labels: Sequence[str]) -> None:
    """Write items in a format; the file appears when it is complete.

    Args:
        name: One of `FORMATS`.
        path: The file.
        items: In any order.
        labels: The task's, in order.

    Raises:
        DataError: An unknown format.
        StoppedError: The file can't be written.
    """
    _format(name).write(path, items, labels)


def read_given(name: str, path: Path) -> list[Given]:
    """Read what people said from a file of a format: all of it, or nothing.

    Raises:
        DataError: The file can't be read, is of another format, or holds something else than one label where one must
            be; the line lists up to 20 places.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{one_line(path)} has more than {MOST_BYTES >> 30} GiB.", "Import it in parts.")
        return list(_format(name).read(path))
    except OSError as error:
        raise DataError(f"{one_line(path)}: {error.strerror}.", "Name a file that is there.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{one_line(path)} is not UTF-8 text.", "Save it as UTF-8.") from error


def objects(path: Path, what: str) -> list[dict[str, Any]]:
    """Read a file that holds a JSON array of objects, or one object a line.

    Raises:
        DataError: It holds something else.
    """
    text = path.read_text("utf-8-sig")
    try:
        if path.suffix.lower() in {".jsonl", ".ndjson"}:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{one_line(path)} is not valid JSON: {error}.", f"It must be an export of {what}."
        ) from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DataError(f"{one_line(path)} is no JSON array of objects.", f"It must be an export of {what}.")
    return found


def labels_of(path: Path, wrong: Sequence[str], what: str) -> None:
    """Refuse a file with wrong places.

    Raises:
        DataError: There are some.
    """
    if wrong:
        raise DataError(
            f"{one_line(path)}: {what}: {places(wrong[:MOST_KEPT], len(wrong))}.", "Nothing was taken in."
        )


def write_array(path: Path, things: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON array of objects, one a line."""
    with replacing(path) as file:
        file.write(b"[")
        for at, thing in enumerate(things):
            text = json.dumps(thing, ensure_ascii=False, default=as_text, allow_nan=False)
            file.write((",\n" if at else "\n").encode() + text.encode("utf-8", "replace"))
        file.write(b"\n]\n")


def iso(at: float) -> str:
    """Return a time as the ISO standard writes it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(at: object) -> float | None:
    """Return a time in seconds since 1970; None where it is none."""
    if not isinstance(at, str):
        return None
    try:
        found = datetime.fromisoformat(at)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
