"""The durable store of votes: the single truth of a run."""

from catena.ledger.lock import RunLock
from catena.ledger.store import FILE, Ledger, RowChanges, store

__all__ = ["FILE", "Ledger", "RowChanges", "RunLock", "store"]
