"""The durable store of votes: the single truth of a run."""

from catena.ledger.lock import RunLock
from catena.ledger.store import Ledger, RowChanges

__all__ = ["Ledger", "RowChanges", "RunLock"]
