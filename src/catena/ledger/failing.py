"""Failures that may have passed, so that their questions can be asked again."""

import sqlite3
from collections.abc import Iterable

__all__ = ["TRANSIENT", "failing", "forget_failing"]

TRANSIENT = ("rate_limit", "overloaded", "server", "timeout", "transport", "bad_body", "bad_request")
"""Reasons that may have passed."""

_LAID_OUT = "(SELECT link, key FROM temp.forgotten)"

Key = tuple[int, bytes]
"""A link's number and the key of its answer."""


def failing(connection: sqlite3.Connection) -> list[Key]:
    """Return the failures that may have passed, in the order in which they came."""
    marks = ",".join("?" * len(TRANSIENT))
    found = connection.execute(
        f"SELECT link, key FROM votes WHERE reason IN ({marks}) ORDER BY vote",  # noqa: S608 - our own words
        TRANSIENT,
    )
    return [(int(link), key) for link, key in found]


def forget_failing(
    connection: sqlite3.Connection, keys: Iterable[Key]
) -> tuple[int, int, tuple[float, float, float]]:
    """Forget these answers.

    Returns:
        How many rows used them, how many there were, and what they had used: USD, tokens, calls.
    """
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS forgotten (link INTEGER, key BLOB)")
    connection.execute("DELETE FROM temp.forgotten")
    connection.executemany("INSERT INTO temp.forgotten VALUES (?, ?)", keys)
    used = "total(cost_usd), total(prompt_tokens + completion_tokens), total(calls)"
    usd, tokens, calls = connection.execute(
        f"SELECT {used} FROM votes WHERE (link, key) IN {_LAID_OUT}"  # noqa: S608
    ).fetchone()
    gone = connection.execute(f"DELETE FROM asked WHERE (link, key) IN {_LAID_OUT}").rowcount  # noqa: S608
    freed = connection.execute(f"DELETE FROM votes WHERE (link, key) IN {_LAID_OUT}").rowcount  # noqa: S608
    return gone, freed, (usd, tokens, calls)
