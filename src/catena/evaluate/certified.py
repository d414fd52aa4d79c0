"""What became of a certificate: whether its votes still give it, and whether a run's labels are the ones it is about."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from catena.engine.results import check_labels, decide_run, run_votes
from catena.engine.run import task_of
from catena.errors import InputError
from catena.evaluate.certificate import GOLD, Certificate, certify, differences
from catena.evaluate.certify import LackingError
from catena.evaluate.given_gold import read_gold
from catena.evaluate.ledger_votes import votes_in
from catena.ledger import FILE, Ledger
from catena.routing import Policy

__all__ = ["Labels", "labels_of_certified", "votes_behind", "worked_out_again"]


@dataclass(frozen=True)
class Labels:
    """How a run's labels stand to a certificate.

    Args:
        state: `certified`: it is about them; `other`: the run ended with other ones; `none`: it has not ended yet.
        said: The same for a person.
    """

    state: Literal["certified", "other", "none"]
    said: str


def votes_behind(said: Certificate, path: Path) -> Path:
    """Return the folder of the votes that a certificate names; where it is gone, the run that the certificate lies in.

    Args:
        said: The certificate.
        path: Its file.
    """
    named = Path(said.votes)
    return path.parent if not named.exists() and (path.parent / FILE).exists() else named


def worked_out_again(said: Certificate, folder: Path) -> list[str]:
    """Return what a certificate says otherwise than follows from the votes in a folder, one line each.

    Args:
        said: The certificate.
        folder: Of a vote table, or of a run.

    Raises:
        DataError: The votes, or the file of the gold, are not there, or lack what the certificate needs.
        LedgerError: The run's ledger is damaged.
    """
    table, gold = votes_in(folder), said.gold if said.asked.reference == GOLD else None
    if gold is not None:
        given = read_gold(Path(gold), table.item_ids.tolist(), table.labels).label
        table = replace(table, gold=np.where(given >= 0, given, table.gold).astype(np.int16))
    try:
        _, _, found = certify(table, said.asked, str(folder), gold)
    except LackingError as lacking:  # other items, or other votes of earlier links, lead to other draws
        other = f"items: {said.items:,}, not {len(table):,}" if len(table) != said.items else ""
        return [line for line in (other, lacking.message) if line]
    return differences(said, found)


def labels_of_certified(said: Certificate, folder: Path) -> Labels | None:
    """Return how the labels of a run stand to a certificate that holds; None where the folder is no run's.

    They are the ones it is about if the run ended with its chain, thresholds and aggregate, they are what was written then,
    and as many items were kept before the last link as the certificate says.
    """
    if not (folder / FILE).exists():
        return None
    with Ledger(folder) as ledger:
        task = task_of(ledger)
        if ledger.get("finished") is None:
            return Labels("none", "its labels are not all there yet: run the certified task.")
        names = tuple(link.name for link in task.chain)
        policy = Policy(threshold=tuple(said.thresholds))
        if (names, task.policy, task.aggregate) != (said.asked.chain, policy, "last"):
            return Labels(
                "other",
                "its labels are of another chain, policy or aggregate, and nothing is promised of them.",
            )
        try:
            check_labels(ledger)
        except InputError as error:
            return Labels("other", f"nothing is promised of its labels: {error}")
        decision = decide_run(ledger, run_votes(ledger, task), task)
    kept, promised = int((decision.kept_by < len(names) - 1).sum()), said.path[said.cut or 0].kept
    if kept != promised:
        return Labels(
            "other",
            f"links before the last kept {kept:,} items, not {promised:,}: nothing is promised of its labels.",
        )
    return Labels("certified", "its labels are the ones that this is said of.")
