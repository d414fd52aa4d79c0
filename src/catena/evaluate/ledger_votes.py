"""The votes of a run as a vote table, straight from its ledger: the same as its export would hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catena.data.votes import VoteTable, read_votes
from catena.engine.results import run_gold
from catena.engine.run import task_of
from catena.ledger import FILE, Ledger

__all__ = ["votes_in", "votes_of_run"]


def votes_in(folder: Path) -> VoteTable:
    """Return the votes in a run's folder, or in that of a vote table.

    Raises:
        InputError: The run has not begun.
        DataError: It is neither.
        LedgerError: The ledger is damaged.
    """
    return votes_of_run(folder) if (folder / FILE).exists() else read_votes(folder)


def votes_of_run(folder: Path, links: Sequence[str] | None = None) -> VoteTable:
    """Return the votes that a run's ledger holds about its items; a vote that items share costs each of them all.

    Args:
        folder: Of the run.
        links: Which of its links, in order; all that it knows unless said. One that it does not know has said nothing.

    Raises:
        InputError: The run has not begun.
        LedgerError: The ledger is damaged.
    """
    with Ledger(folder) as ledger:
        task, known = task_of(ledger), ledger.links()
        names, labels = tuple(known if links is None else links), tuple(task.labels)
        ids = np.array(list(ledger.ids()), dtype=object)
        shape = len(names), len(ids)
        label, recorded = np.full(shape, -1, np.int16), np.zeros(shape, bool)
        sure, cost = np.full(shape, np.nan), np.full(shape, np.nan)
        for j, name in enumerate(names):
            if name in known:
                recorded[j], label[j], sure[j] = ledger.decided(
                    known[name][0], labels, len(ids), cost=cost[j]
                )
        gold = run_gold(ledger, task)
    return VoteTable(ids, names, labels, label, sure, recorded, cost, gold)
