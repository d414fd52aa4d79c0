"""Rows found in the raw pages of a ledger file, whatever is left of the structure around them.

SQLite's file format: https://www.sqlite.org/fileformat2.html. A row that is found here may be stale or damaged: only
its checksum says that it is whole.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catena.ledger import wal

__all__ = ["records"]

PAGE = 4096
LEAF_TABLE, LEAF_INDEX, INNER_INDEX = 0x0D, 0x0A, 0x02
MOST_COLUMNS = 32
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def records(path: Path) -> Iterator[tuple[int | None, list[Any]]]:
    """Yield (row number, None in a table without; values) of everything in a file and its log that looks like a row."""
    raw = path.read_bytes()
    for page in wal.pages(path):
        yield from _rows(page, 0, raw)
    for start in range(0, len(raw) - 511, PAGE):
        yield from _rows(raw[start : start + PAGE], 100 if start == 0 else 0, raw)


def _rows(page: bytes, header: int, raw: bytes) -> Iterator[tuple[int | None, list[Any]]]:
    kind = page[header]
    if kind not in {LEAF_TABLE, LEAF_INDEX, INNER_INDEX}:
        return
    first = header + (12 if kind == INNER_INDEX else 8)
    cells = min(struct.unpack_from(">H", page, header + 3)[0], (len(page) - first) // 2)
    for at in struct.unpack_from(f">{cells}H", page, first):
        try:
            yield _cell(page, at, kind, raw)
        except (IndexError, ValueError, struct.error):
            continue  # no row


def _cell(page: bytes, at: int, kind: int, raw: bytes) -> tuple[int | None, list[Any]]:
    if kind == INNER_INDEX:
        at += 4
    size, at = _varint(page, at)
    number = None
    if kind == LEAF_TABLE:
        number, at = _varint(page, at)
    local = _local_size(size, len(page), table=kind == LEAF_TABLE)
    payload = page[at : at + local]
    if local < size:
        payload += _overflow(raw, struct.unpack_from(">I", page, at + local)[0], size - local, len(page))
    if len(payload) < size:
        raise ValueError("cut")
    return number, _values(payload)


def _local_size(size: int, page: int, *, table: bool) -> int:
    """Return how many bytes of a row are in its own page; the rest is in overflow pages."""
    most = page - 35 if table else (page - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (page - 12) * 32 // 255 - 23
    local = least + (size - least) % (page - 4)
    return local if local <= most else least


def _overflow(raw: bytes, number: int, size: int, page: int) -> bytes:
    parts = []
    while size > 0 and 0 < number <= len(raw) // page:
        start = (number - 1) * page
        parts.append(raw[start + 4 : start + 4 + min(size, page - 4)])
        size -= page - 4
        number = struct.unpack_from(">I", raw, start)[0]
    return b"".join(parts)


def _values(payload: bytes) -> list[Any]:
    size, at = _varint(payload, 0)
    kinds = []
    while at < size:
        kind, at = _varint(payload, at)
        kinds.append(kind)
        if len(kinds) > MOST_COLUMNS:
            raise ValueError("too many columns")
    values, at = [], size
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind >= 12:
        size = (kind - 12) // 2
        raw = payload[at : at + size]
        if len(raw) < size:
            raise ValueError("cut")
        return (raw.decode() if kind % 2 else raw), at + size
    if kind in INTEGERS:
        size = INTEGERS[kind]
        return int.from_bytes(payload[at : at + size], "big", signed=True), at + size
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in {0, 8, 9}:
        return {0: None, 8: 0, 9: 1}[kind], at
    raise ValueError("no such kind of value")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        byte = raw[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | raw[at + 8], at + 9
