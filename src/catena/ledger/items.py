"""Items as ledger rows and back: each is checked as it is read."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from catena.data.cells import as_text
from catena.ledger.facts import fact
from catena.ledger.rows import Broken, checksum
from catena.types import Item

__all__ = ["BLOCK", "ITEM_COLUMNS", "blocks", "golds", "item_digest", "item_row", "names", "of_rows"]

BLOCK = 4096
ITEM_COLUMNS = "row, id, text, target, gold, fields, digest, crc, body_crc"
NAME_COLUMNS = "row, id, gold, digest, crc"

_encode = msgspec.json.Encoder(enc_hook=as_text).encode
_encode_sorted = msgspec.json.Encoder(enc_hook=as_text, order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def item_digest(item: Item, ignore: Collection[str] = ()) -> bytes:
    """Return the digest of what a row says, gold and ignored columns left out."""
    fields = {name: value for name, value in item.fields.items() if name not in ignore}
    return blake2b(_encode_sorted([item.id, item.text, item.target, fields]), digest_size=8).digest()


def item_row(item: Item) -> tuple[Any, ...]:
    """Return the columns of an item, its checksums last."""
    fields = _encode(item.fields).decode()
    said = item_digest(item)
    crc = checksum((item.row, item.id, item.gold, said))
    body = checksum((item.row, item.text, item.target, fields))
    return (item.row, item.id, item.text, item.target, item.gold, fields, said, crc, body)


def _item(values: Sequence[Any]) -> Item:
    """Return the item of a row of `ITEM_COLUMNS`.

    Raises:
        Broken: It is not what was stored.
    """
    row, id_, text, target, gold, fields, said, crc, body = values
    if checksum((row, id_, gold, said)) != crc or checksum((row, text, target, fields)) != body:
        raise Broken(f"row {row} of its items" if isinstance(row, int) else "a row of its items")
    return Item(row, id_, text, _decode(fields), target, gold)


def of_rows(connection: sqlite3.Connection, rows: Sequence[int]) -> list[Item]:
    """Return the items of these rows, in their order.

    Raises:
        Broken: One is missing, or not what was stored.
    """
    marks = ",".join("?" * len(rows))
    found = connection.execute(
        f"SELECT {ITEM_COLUMNS} FROM items WHERE row IN ({marks})",  # noqa: S608
        list(rows),
    )
    by_row = {row[0]: _item(row) for row in found}
    if len(by_row) < len(rows):
        raise Broken(f"{len(rows) - len(by_row):,} rows are missing")
    return [by_row[row] for row in rows]


def blocks(connection: sqlite3.Connection, size: int) -> Iterator[list[Item]]:
    """Yield all items in input order, in blocks.

    Raises:
        Broken: One is missing, or not what was stored.
    """
    for rows in _all(connection, ITEM_COLUMNS, size):
        yield [_item(row) for row in rows]


def names(connection: sqlite3.Connection, size: int) -> Iterator[list[tuple[int, str, str | None]]]:
    """Yield (row, id, gold) of all items in input order, in blocks.

    Raises:
        Broken: One is missing, or not what was stored.
    """
    for rows in _all(connection, NAME_COLUMNS, size):
        yield [_named(row) for row in rows]


def golds(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, str | None]:
    """Return the gold labels of some rows.

    Raises:
        Broken: One is not what was stored.
    """
    marks = ",".join("?" * len(rows))
    query = f"SELECT {NAME_COLUMNS} FROM items WHERE row IN ({marks})"  # noqa: S608
    found = map(_named, connection.execute(query, list(rows)))
    return {row: gold for row, _, gold in found}


def _named(values: Sequence[Any]) -> tuple[int, str, str | None]:
    row, id_, gold, _, crc = values
    if checksum(values[:4]) != crc:
        raise Broken("a row of its items")
    return row, id_, gold


def _all(connection: sqlite3.Connection, columns: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows of items in blocks; they are numbered from 0 without a gap."""
    cursor = connection.execute(f"SELECT {columns} FROM items ORDER BY row")  # noqa: S608 - our own words
    count = 0
    while rows := cursor.fetchmany(size):
        count += len(rows)
        if rows[-1][0] != count - 1:
            raise Broken("rows are missing")
        yield rows
    stored = fact(connection, "rows")
    if stored is not None and stored != count:
        raise Broken(f"it holds {count:,} of {stored:,} rows")
