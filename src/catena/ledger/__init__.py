"""The durable store of votes: the single truth of a run."""

from catena.ledger.lock import RunLock
from catena.ledger.store import FILE, Ledger, RowChanges

__all__ = ["FILE", "Ledger", "RowChanges", "RunLock"]
