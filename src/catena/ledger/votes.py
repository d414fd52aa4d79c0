"""A link's votes as the ledger holds them: each is checked as it is read, and read as it counts in decisions."""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.ledger.facts import fact
from catena.ledger.rows import VOTE_COLUMNS, Broken, answer_from, checksum, counted, vote_digest
from catena.types import Answer

__all__ = ["answers", "decided", "find", "mean", "of_rows", "scored", "told"]

BLOCK = 4096
_FLOAT = struct.Struct("<d")
LABEL, CONFIDENCE, LOGPROBS, COST, REASON = (
    VOTE_COLUMNS.split(", ").index(name) for name in ("label", "confidence", "logprobs", "cost_usd", "reason")
)


def mean(connection: sqlite3.Connection, link: int) -> dict[str, float] | None:
    """Return what a link's label distributions are divided by, by label; None where they count as they are.

    Raises:
        Broken: It is not what was stored.
    """
    return (fact(connection, "means") or {}).get(str(link)) or None


def find(connection: sqlite3.Connection, link: int, keys: Sequence[bytes]) -> dict[bytes, Answer]:
    """Return the stored answers among these keys of a link.

    Raises:
        Broken: One is not what was stored.
    """
    marks = ",".join("?" * len(keys))
    found = connection.execute(
        f"SELECT {VOTE_COLUMNS}, digest FROM votes WHERE link = ? AND key IN ({marks})",  # noqa: S608
        [link, *keys],
    ).fetchall()
    if any(vote_digest(row[:-1]) != row[-1] for row in found):
        raise Broken("a vote")
    return {row[1]: answer_from(row[:-1]) for row in found}


def decided(
    connection: sqlite3.Connection,
    link: int,
    labels: Sequence[str],
    n: int,
    chance: NDArray[np.float64] | None = None,
    cost: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
    """Return, for one link: which rows have an answer, its label index (-1 for a failure), its confidence.

    Args:
        connection: Of the ledger.
        link: Its number.
        labels: The labels, in the order of the indices.
        n: Rows.
        chance: Full of NaN; filled with the link's probability of its label where it gives one, [n].
        cost: Likewise, with what each answer cost in USD where that is known, [n]. A vote that rows share costs each all.

    Raises:
        Broken: A vote is not what was stored.
    """
    asked = np.zeros(n, bool)
    label = np.full(n, -1, np.int16)
    confidence = np.full(n, np.nan)
    index = {name: at for at, name in enumerate(labels)}
    for row, vote in _read(connection, link, n=n):
        asked[row] = True
        label[row] = at = index.get(vote[LABEL], -1)
        if vote[CONFIDENCE] is not None:
            confidence[row] = vote[CONFIDENCE]
        if cost is not None and vote[COST] is not None:
            cost[row] = vote[COST]
        if chance is not None and at >= 0 and vote[LOGPROBS] is not None:
            chance[row] = _FLOAT.unpack_from(vote[LOGPROBS], 8 * at)[0]
    if chance is not None:
        np.minimum(np.exp(chance, out=chance), 1.0, out=chance)
    return asked, label, confidence


def scored(
    connection: sqlite3.Connection, link: int, labels: int, n: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float64]]:
    """Return, for one link: log-probabilities of the labels, [n, K], and what each row's vote costs in USD, [n].

    NaN where there is none. A vote that rows share costs each of them all.

    Args:
        connection: Of the ledger.
        link: Its number.
        labels: K; 0 where log-probabilities are not wanted: then there are none.
        n: Rows.

    Raises:
        Broken: A vote is not what was stored.
    """
    logprobs = np.full((n, labels), np.nan, np.float32) if labels else None
    cost = np.full(n, np.nan)
    for row, vote in _read(connection, link, n=n):
        cost[row] = np.nan if vote[COST] is None else vote[COST]
        if logprobs is not None and vote[LOGPROBS] is not None:
            logprobs[row] = np.frombuffer(vote[LOGPROBS], "<f8")
    return logprobs, cost


def answers(
    connection: sqlite3.Connection, link: int, *, given: bool = False
) -> Iterator[tuple[int, str, Answer, bool]]:
    """Yield (row, id, answer, whether it is the first row with this answer) of a link in row order.

    Args:
        connection: Of the ledger.
        link: Its number.
        given: Whether votes are wanted as the link gave them.

    Raises:
        Broken: A vote is not what was stored.
    """
    most = connection.execute("SELECT coalesce(max(vote), 0) FROM votes").fetchone()[0]
    seen = bytearray(most // 8 + 1)
    more, tables = ", votes.vote, items.id", "JOIN items USING (row)"
    for row, values, vote, name in _read(connection, link, more=more, tables=tables, given=given):
        byte, bit = vote >> 3, 1 << (vote & 7)
        yield row, name, answer_from(values), not seen[byte] & bit
        seen[byte] |= bit


def of_rows(connection: sqlite3.Connection, link: int, rows: Sequence[int]) -> dict[int, Answer]:
    """Return what a link has said about some rows, by row; those that it has said nothing about are left out.

    Raises:
        Broken: A vote is not what was stored.
    """
    return {row: answer_from(values) for row, values in _read(connection, link, rows=rows)}


def told(
    connection: sqlite3.Connection, link: int, rows: Sequence[int]
) -> Iterator[tuple[int, str | None, float | None, str | None]]:
    """Yield (row, label, confidence, reason of a failure) of those of some rows that a link has said something about.

    Raises:
        Broken: A vote is not what was stored.
    """
    for row, values in _read(connection, link, rows=rows):
        yield row, values[LABEL], values[CONFIDENCE], values[REASON]


def _read(
    connection: sqlite3.Connection,
    link: int,
    n: int | None = None,
    more: str = "",
    tables: str = "",
    rows: Sequence[int] | None = None,
    *,
    given: bool = False,
) -> Iterator[tuple[Any, ...]]:
    """Yield (row, vote columns, more columns) in row order, of some rows or all. `more` and `tables` are our own words."""
    only = "" if rows is None else f"AND row IN ({', '.join('?' * len(rows))})"
    divisor = None if given else mean(connection, link)
    columns = ", ".join(f"votes.{name.strip()}" for name in VOTE_COLUMNS.split(",")[2:])
    cursor = connection.execute(
        f"SELECT asked.link, row, asked.key, asked.crc, votes.digest, asked.link, asked.key, {columns} {more} "  # noqa: S608
        f"FROM asked LEFT JOIN votes USING (link, key) {tables} WHERE asked.link = ? {only} ORDER BY row",
        (link, *(rows or ())),
    )
    width = 7 + len(VOTE_COLUMNS.split(",")) - 2
    while found := cursor.fetchmany(BLOCK):
        if any(
            checksum(row[:3]) != row[3]
            or vote_digest(row[5:width]) != row[4]
            or (n is not None and row[1] >= n)
            for row in found
        ):
            raise Broken(f"votes of link number {link}")
        for row in found:
            values = row[5:width] if divisor is None else counted(row[5:width], divisor)
            yield (row[1], values, *row[width:])
