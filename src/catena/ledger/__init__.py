"""The durable store of votes: the single truth of a run."""

from catena.ledger.changes import RowChanges
from catena.ledger.file import FILE
from catena.ledger.lock import RunLock
from catena.ledger.store import Ledger
from catena.ledger.writable import WritableLedger

__all__ = ["FILE", "Ledger", "RowChanges", "RunLock", "WritableLedger"]
