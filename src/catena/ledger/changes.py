"""How given rows differ from those of a run."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

import msgspec

from catena.ledger.items import item_digest
from catena.types import Item

__all__ = ["RowChanges", "compare"]


class RowChanges(msgspec.Struct, frozen=True):
    """How given rows differ from those of the run, by id. Other gold alone is no difference: it shapes no vote."""

    added: int = 0
    removed: int = 0
    edited: int = 0
    moved: int = 0
    gold: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.moved)

    def __str__(self) -> str:
        names = ("added", "removed", "edited", "moved")
        parts = [f"{getattr(self, name):,} {name}" for name in names if getattr(self, name)]
        return ", ".join(parts)


def compare(
    connection: sqlite3.Connection,
    given: Iterable[Sequence[Item]],
    ours: Iterable[Sequence[Item]],
    ignore: Collection[str],
) -> RowChanges:
    """Lay given rows beside the run's own and return how they differ; `given` may be read twice.

    Args:
        connection: Of the ledger, in a transaction.
        given: All given rows.
        ours: All rows of the run, checked as they are read.
        ignore: Other columns that don't count.
    """
    if not ignore and _same(connection, given):
        return RowChanges()
    if not ignore:
        for _ in ours:  # each is checked: a damaged row is no changed one
            pass
    for name, rows in [("given", given), ("ours", ours)] if ignore else [("given", given)]:
        connection.execute(
            f"CREATE TEMP TABLE {name} (row INTEGER PRIMARY KEY, id TEXT, gold TEXT, digest BLOB)"
        )
        for block in rows:
            values = [(each.row, each.id, each.gold, item_digest(each, ignore)) for each in block]
            connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", values)  # noqa: S608
    if not ignore:
        connection.execute("CREATE TEMP TABLE ours AS SELECT row, id, gold, digest FROM items")
    try:
        return _changes(connection)
    finally:
        connection.execute("DROP TABLE given")
        connection.execute("DROP TABLE ours")


def _same(connection: sqlite3.Connection, given: Iterable[Sequence[Item]]) -> bool:
    """Tell whether the rows are the run's own, one after the other: the usual case, and much the fastest to see."""
    ours = connection.execute("SELECT row, id, gold, digest FROM items ORDER BY row")
    for block in given:
        if [(each.row, each.id, each.gold, item_digest(each)) for each in block] != ours.fetchmany(
            len(block)
        ):
            return False
    return ours.fetchone() is None


def _changes(connection: sqlite3.Connection) -> RowChanges:
    def count(what: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608 - our own words

    for name in ("given", "ours"):
        connection.execute(f"CREATE INDEX temp.{name}_by_id ON {name} (id)")
    both = "given g JOIN ours o ON o.id = g.id"
    ranks = "SELECT row_number() OVER (ORDER BY g.row) AS one, row_number() OVER (ORDER BY o.row) AS other"
    return RowChanges(
        added=count("given WHERE id NOT IN (SELECT id FROM ours)"),
        removed=count("ours WHERE id NOT IN (SELECT id FROM given)"),
        edited=count(f"{both} WHERE o.digest <> g.digest"),
        moved=count(f"({ranks} FROM {both}) WHERE one <> other"),
        gold=count(f"{both} WHERE o.gold IS NOT g.gold"),
    )
