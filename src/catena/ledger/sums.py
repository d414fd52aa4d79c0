"""What the votes of a run add up to, counted by SQLite: models, sources, failures, and how the cost grew."""

import sqlite3
from typing import NamedTuple

__all__ = ["Failed", "Step", "course", "failed_by", "said_by"]

MOST_NAMES = 1000


class Failed(NamedTuple):
    """How many rows a link has no label for, for one reason, and what it said about one of them."""

    reason: str
    rows: int
    message: str


class Step(NamedTuple):
    """What a link's votes in one stretch of all votes cost, in the order in which they were stored.

    Args:
        at: The stretch, from 0.
        link: The link's number.
        votes: How many there are.
        usd: None where no cost is known.
        tokens: Of prompts and answers.
    """

    at: int
    link: int
    votes: int
    usd: float | None
    tokens: int


def failed_by(connection: sqlite3.Connection, link: int) -> list[Failed]:
    """Return why rows have no label of a link, the most frequent reason first."""
    found = connection.execute(
        "SELECT reason, count(*) AS rows, min(message) FROM asked JOIN votes USING (link, key) "
        "WHERE link = ? AND label IS NULL GROUP BY reason ORDER BY rows DESC, reason",
        (link,),
    )
    return [Failed(str(reason), int(rows), str(message or "")) for reason, rows, message in found]


def said_by(connection: sqlite3.Connection) -> dict[int, dict[str, list[tuple[str, int]]]]:
    """Return, by a link's number, the `model`s that answered for it and the `source`s of its confidences, with their votes.

    The most frequent ones come first; what is very rare among very many is left out.
    """
    found: dict[int, dict[str, list[tuple[str, int]]]] = {}
    for what in ("model", "source"):
        rows = connection.execute(
            f"SELECT link, {what}, count(*) AS votes FROM votes NOT INDEXED WHERE label IS NOT NULL "  # noqa: S608 - our own words
            f"GROUP BY link, {what} ORDER BY votes DESC, {what} LIMIT {MOST_NAMES}"
        )
        for link, name, votes in rows:
            found.setdefault(link, {"model": [], "source": []})[what].append((str(name), int(votes)))
    return found


def course(connection: sqlite3.Connection, steps: int) -> list[Step]:
    """Return how votes and their cost came in, in at most so many stretches of equally many votes."""
    most = connection.execute("SELECT coalesce(max(vote), 0) FROM votes").fetchone()[0]
    found = connection.execute(
        "SELECT (vote - 1) * ?1 / ?2 AS at, link, count(*), sum(cost_usd), total(prompt_tokens + completion_tokens) "
        "FROM votes GROUP BY at, link ORDER BY at, link",
        (min(steps, most), most),
    )
    return [Step(at, link, votes, usd, int(tokens)) for at, link, votes, usd, tokens in found]
