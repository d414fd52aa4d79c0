"""The ledger of a run as the process that works on it holds it: what changes it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from catena.ledger import wal
from catena.ledger.changes import RowChanges, compare
from catena.ledger.facts import note
from catena.ledger.file import connect, make
from catena.ledger.items import ITEM_COLUMNS, item_row
from catena.ledger.rows import checksum
from catena.ledger.schema import LINK_FACT, count, migrate
from catena.ledger.store import CUT, Ledger
from catena.ledger.transaction import transaction
from catena.ledger.writer import Writer
from catena.types import Item

__all__ = ["WritableLedger"]

TRANSIENT = ("rate_limit", "overloaded", "server", "timeout", "transport", "bad_body", "bad_request")


class WritableLedger(Ledger):
    """Reads and changes one ledger file, which is made where there is none. Only who holds the run's lock may have one.

    Args:
        folder: The run's folder.

    Raises:
        LedgerError: The file is no Catena ledger, or is damaged, or it can't be read or written.
    """

    _mode = "rw"

    def _find(self) -> None:
        if not self.path.exists():
            make(self.path)
        if not self.path.stat().st_size or wal.is_cut(self.path):
            raise self.damaged(CUT)

    def _bring_up_to_date(self) -> None:
        migrate(self._db, str(self.path))

    def writer(self, committed: Callable[[list[tuple[int, bytes]]], None]) -> Writer:
        """Start the thread that commits votes; call within the event loop."""
        return Writer(lambda: connect(self.path, "rw"), committed)

    def put(self, **facts: Any) -> None:
        """Store facts of the run, all at once."""
        with transaction(self._db):
            self._note(facts)

    def _note(self, facts: Mapping[str, Any]) -> None:
        note(facts)(self._db)

    def compare_items(self, blocks: Iterable[Sequence[Item]], ignore: Collection[str] = ()) -> RowChanges:
        """Lay given rows beside the run's own and return how they differ; nothing is changed.

        Args:
            blocks: The given rows; may be read twice.
            ignore: Other columns that don't count, since they are gold in one of the two.
        """
        with transaction(self._db):
            return compare(self._db, blocks, self.all_items(), ignore)

    def replace_items(
        self, blocks: Iterable[Sequence[Item]], *, keep_asked: bool = False, **facts: Any
    ) -> None:
        """Store these items in place of the run's, and facts of the run.

        Args:
            blocks: All rows.
            keep_asked: Whether the rows still use the votes that they used; otherwise that (not the votes) is forgotten.
            facts: As in `put`.
        """
        with transaction(self._db):
            self._db.execute("DELETE FROM items")
            if not keep_asked:
                self._db.execute("DELETE FROM asked")
                self._db.execute("UPDATE totals SET answered = 0, failed = 0")
            rows = 0
            for block in blocks:
                self._db.executemany(
                    f"INSERT INTO items ({ITEM_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    [item_row(each) for each in block],
                )
                rows += len(block)
            self._note(facts | {"rows": rows})

    def put_link(self, name: str, fingerprint: bytes, model: str) -> int:
        """Store a link and return its number. A link with a new fingerprint forgets which votes its items used."""
        known = self.links()
        number = known[name][0] if name in known else self._free_number(known)
        with transaction(self._db):
            if name in known and known[name][1] != fingerprint:
                self._db.execute("DELETE FROM asked WHERE link = ?", (number,))
                self._db.execute("UPDATE totals SET answered = 0, failed = 0 WHERE link = ?", (number,))
                self._note({"finished": None})
            row = (number, name, fingerprint, model)
            self._db.execute(
                "INSERT INTO links (link, name, fingerprint, model, crc) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO "
                "UPDATE SET fingerprint = excluded.fingerprint, model = excluded.model, crc = excluded.crc",
                (*row, checksum(row)),
            )
            self._db.execute("INSERT OR IGNORE INTO totals VALUES (?, 0, 0, 0, 0, 0, 0, NULL)", (number,))
            self._note({LINK_FACT + name: [number, name, fingerprint.hex(), model]})
        return number

    def _free_number(self, known: Mapping[str, tuple[int, bytes]]) -> int:
        """Return a number that no link has, nor votes whose link was lost."""
        voted = self._db.execute("SELECT coalesce(max(link), 0) FROM votes").fetchone()[0]
        return 1 + max(int(voted), *(number for number, _ in known.values()), 0)

    def add_seconds(self, link: int, seconds: float) -> None:
        """Add to the time that a link has worked."""
        with transaction(self._db):
            self._db.execute("UPDATE links SET seconds = seconds + ? WHERE link = ?", (seconds, link))

    def forget_transient(self) -> int:
        """Let rows whose failure may have passed ask again; returns how many."""
        marks = ",".join("?" * len(TRANSIENT))
        keys = f"SELECT link, key FROM votes WHERE reason IN ({marks})"  # noqa: S608
        used = "total(cost_usd), total(prompt_tokens + completion_tokens), total(calls)"
        with transaction(self._db):
            charged = self._db.execute(
                f"SELECT {used} FROM votes WHERE reason IN ({marks})",  # noqa: S608
                TRANSIENT,
            ).fetchone()
            gone = self._db.execute(f"DELETE FROM asked WHERE (link, key) IN ({keys})", TRANSIENT).rowcount  # noqa: S608
            freed = self._db.execute(f"DELETE FROM votes WHERE reason IN ({marks})", TRANSIENT).rowcount  # noqa: S608
            if gone or freed:
                for link, _ in self.links().values():
                    count(self._db, link)
                lost = self.get("lost") or (0.0, 0.0, 0.0)
                self._note({"finished": None, "lost": [a + b for a, b in zip(lost, charged, strict=True)]})
        return gone

    def forget(self, link: int, keys: Sequence[bytes]) -> int:
        """Forget a link's answers to these keys, so that their rows ask again; returns how many there were."""
        with transaction(self._db):
            at = [(link, key) for key in keys]
            gone = self._db.executemany("DELETE FROM votes WHERE link = ? AND key = ?", at).rowcount
            if gone:
                self._db.executemany(
                    "DELETE FROM asked WHERE link = ?1 AND row IN (SELECT row FROM asked WHERE link = ?1 AND key = ?2)",
                    at,
                )
                count(self._db, link)
                self._note({"finished": None})
        return max(gone, 0)
