"""From a ledger to labels: the decision over all votes, written row by row in input order."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catena.aggregate import Decision, decide, decide_so_far
from catena.data.cells import as_text
from catena.data.tables import write_table
from catena.data.votes import VoteTable
from catena.ledger import Ledger
from catena.routing import exact_shares, ties
from catena.task import TaskSpec
from catena.types import Item

__all__ = ["LABELS_FILE", "decide_run", "run_votes", "write_labels"]

LABELS_FILE = "labels.parquet"
BLOCK = 16_384


def run_votes(ledger: Ledger, task: TaskSpec) -> VoteTable:
    """Return the votes that a run's ledger holds about its items, links in the order of the chain."""
    labels = tuple(task.labels)
    index = {label: at for at, label in enumerate(labels)}
    ids = ledger.ids()
    numbers = ledger.links()
    found = [
        ledger.decided(numbers[spec.name][0], labels, len(ids)) for spec in task.chain if spec.name in numbers
    ]
    return VoteTable(
        item_ids=np.asarray(ids, dtype=object),
        links=tuple(spec.name for spec in task.chain if spec.name in numbers),
        labels=labels,
        label=np.stack([label for _, label, _ in found]),
        confidence=np.stack([confidence for _, _, confidence in found]),
        recorded=np.stack([asked for asked, _, _ in found]),
        cost_usd=np.full((len(found), len(ids)), np.nan),
        gold=np.fromiter((index.get(gold or "", -1) for gold in ledger.gold()), np.int16, len(ids)),
    )


def decide_run(votes: VoteTable, task: TaskSpec, *, provisional: bool = False) -> Decision:
    """Route and aggregate the votes of a run by its task; provisionally, whatever votes there are so far."""
    tie = ties(votes.item_ids.tolist(), task.seed)
    if provisional:
        return decide_so_far(votes.voted, votes.recorded, votes.confidence, tie)
    return decide(votes.voted, votes.confidence, exact_shares(task.share, len(task.chain)), tie)


def write_labels(
    ledger: Ledger,
    task: TaskSpec,
    path: Path,
    join: bool = False,
    spreadsheet_safe: bool = False,
    provisional: bool = False,
) -> None:
    """Write one row per input row in input order: id, label, confidence, link, status, reason, and gold if any.

    Args:
        ledger: Of a run that has all its votes, unless the labels are provisional.
        task: The run's task.
        path: Ends in .parquet, .csv or .jsonl.
        join: Put the columns of the input before those of the result. Where the input has a column of such a name,
            the result's is `label_catena` and so on.
        spreadsheet_safe: See `data.tables.write_table`.
        provisional: The run is not finished: label each row that has any vote, with the status `provisional`.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    votes = run_votes(ledger, task)
    decision = decide_run(votes, task, provisional=provisional)
    fields = _fields(ledger, task)
    same = {
        name for name in ("id", "gold") if getattr(task.data, name) == name
    }  # given and result are one column
    inputs = [name for name in ledger.get("columns") if name not in same] if join else []
    names = {name: f"{name}_catena" if name in inputs else name for name in fields}
    schema = pa.schema(
        [*[(name, pa.string()) for name in inputs], *[(names[name], kind) for name, kind in fields.items()]]
    )
    batches = (
        pa.RecordBatch.from_pylist(
            [
                {name: as_text(given.get(name)) for name in inputs}
                | {names[name]: value for name, value in row.items()}
                for given, row in rows
            ],
            schema=schema,
        )
        for rows in _rows(ledger, task, votes, decision, "provisional" if provisional else "labelled")
    )
    write_table(path, schema, batches, spreadsheet_safe=spreadsheet_safe)


def _fields(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    fields = {
        "id": pa.int64() if ledger.get("id_type") == "int64" else pa.string(),
        "label": pa.string(),
        "confidence": pa.float64(),
        "link": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
    }
    return fields | {"gold": pa.string()} if task.data.gold else fields


def _rows(
    ledger: Ledger, task: TaskSpec, votes: VoteTable, decision: Decision, labelled: str
) -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Yield blocks of (columns of the input, columns of the result)."""
    source = decision.source(task.aggregate)
    reasons = _reasons(ledger, votes.links, {int(row) for row in np.flatnonzero(source < 0)})
    whole = ledger.get("id_type") == "int64"
    for items in ledger.all_items(BLOCK):
        rows = []
        for item in items:
            link = int(source[item.row])
            row: dict[str, Any] = {"id": int(item.id) if whole else item.id}
            if task.data.gold:
                row["gold"] = item.gold
            if link < 0:
                row |= {"status": "failed", "reason": reasons.get(item.row, "no link has seen it")}
            else:
                confidence = float(votes.confidence[link, item.row])
                row |= {
                    "label": votes.labels[votes.label[link, item.row]],
                    "confidence": None if np.isnan(confidence) else confidence,
                    "link": votes.links[link],
                    "status": labelled,
                }
            rows.append((_given(item, task), row))
        yield rows


def _given(item: Item, task: TaskSpec) -> dict[str, Any]:
    """Return the columns of an input row by their own names."""
    own = {
        task.data.text: item.text,
        task.data.id: item.id,
        task.data.target: item.target,
        task.data.gold: item.gold,
    }
    return {**item.fields, **{name: value for name, value in own.items() if name is not None}}


def _reasons(ledger: Ledger, links: Sequence[str], rows: set[int]) -> dict[int, str]:
    """Return why these rows failed, as the latest link that was asked says."""
    reasons: dict[int, str] = {}
    numbers = ledger.links()
    for name in links if rows else ():
        for row, message in ledger.failures(numbers[name][0]):
            if row in rows:
                reasons[row] = f"link '{name}': {message}"
    return reasons
