"""From a ledger to labels: the decision over all votes, written row by row in input order."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Decision, Result, Votes, decide_by, decide_so_far
from catena.data.cells import as_text
from catena.data.tables import numbers, texts, write_table
from catena.errors import InputError
from catena.ledger import Ledger
from catena.routing import ties
from catena.task import TaskSpec
from catena.types import Item

__all__ = [
    "LABELS_FILE",
    "RunVotes",
    "check_labels",
    "decide_run",
    "labels_digest",
    "labels_state",
    "need_finished",
    "run_gold",
    "run_votes",
    "write_labels",
]

LABELS_FILE = "labels.parquet"
BLOCK = 16_384


@dataclass(frozen=True)
class RunVotes:
    """What the m links of a run have said about its n items, as dense arrays in input order.

    Args:
        links: Their names, in the order of the chain.
        labels: The labels, in the order of every label index here.
        label: Label index of each vote, -1 where the link has none, int16 [m, n].
        confidence: NaN where there is none, float64 [m, n].
        answered: Whether there is a vote or a failure, bool [m, n].
        tie: Settles ties, uint64 [n].
        logprobs: Of each link whose label distributions the task's rule reads, float32 [n, K].
        cost_usd: Where the task's policy steers by costs, [m, n].
        chance: Probability of each label by its link, NaN where it gives none, [m, n]; where they were asked for.
    """

    links: tuple[str, ...]
    labels: tuple[str, ...]
    label: NDArray[np.int16]
    confidence: NDArray[np.float64]
    answered: NDArray[np.bool_]
    tie: NDArray[np.uint64]
    logprobs: Sequence[NDArray[np.float32] | None] = ()
    cost_usd: NDArray[np.float64] | None = None
    chance: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.tie)

    @property
    def votes(self) -> Votes:
        """What decisions are made from."""
        return Votes(self.label, self.confidence, self.logprobs, self.cost_usd)


def run_votes(ledger: Ledger, task: TaskSpec, *, chances: bool = False) -> RunVotes:
    """Return the votes that a run's ledger holds about its items, links in the order of the chain.

    Args:
        ledger: Of the run.
        task: The run's.
        chances: Whether to tell the probabilities of labels too.

    Raises:
        LedgerError: The ledger is damaged.
    """
    tie = ties(ledger.ids(), task.seed)
    numbers = ledger.links()
    links = tuple(spec.name for spec in task.chain if spec.name in numbers)
    shape, rule = (len(links), len(tie)), task.calibrated
    labels, spends = tuple(task.labels), task.policy.spend is not None
    votes = RunVotes(
        links,
        labels,
        np.empty(shape, np.int16),
        np.empty(shape),
        np.empty(shape, bool),
        tie,
        logprobs=[None] * len(links),
        cost_usd=np.full(shape, np.nan) if spends else None,
        chance=np.full(shape, np.nan) if chances else None,
    )
    for at, name in enumerate(links):
        number, reads = numbers[name][0], rule is not None and rule.reads(name)
        found = ledger.decided(
            number,
            labels,
            len(tie),
            chance=None if votes.chance is None else votes.chance[at],
            cost=None if votes.cost_usd is None else votes.cost_usd[at],
        )
        votes.answered[at], votes.label[at], votes.confidence[at] = found
        if reads:
            votes.logprobs[at], _ = ledger.scored(number, len(labels), len(tie))  # type: ignore[index]
    return votes


def run_gold(ledger: Ledger, task: TaskSpec) -> NDArray[np.int16]:
    """Return the label index of each item's gold, -1 where it has none, int16 [n]."""
    index = {label: at for at, label in enumerate(task.labels)}
    return np.fromiter((index.get(gold or "", -1) for gold in ledger.gold()), np.int16)


def decide_run(ledger: Ledger, votes: RunVotes, task: TaskSpec, *, provisional: bool = False) -> Decision:
    """Route and aggregate the votes of a run by its task; provisionally, whatever votes there are so far.

    Raises:
        LedgerError: The ledger lacks answers that a finished run has.
    """
    if provisional:
        return decide_so_far(votes.label >= 0, votes.answered, votes.confidence, votes.tie)
    decision = decide_by(task.judge(), votes.votes, votes.tie)
    lacking = np.count_nonzero(decision.reached & ~votes.answered)
    if lacking:
        raise ledger.damaged(f"it lacks {lacking:,} answers that it had")
    return decision


def labels_digest(path: Path) -> str | None:
    """Return the digest of a file of labels, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except FileNotFoundError:
        return None


def need_finished(ledger: Ledger) -> None:
    """See that a run is finished.

    Raises:
        InputError: It is not.
    """
    if ledger.get("finished") is None:
        raise InputError(
            f"{ledger.folder}: the run is not finished.", "Run the same catena run command to go on."
        )


def check_labels(ledger: Ledger) -> Path:
    """Return where the labels of a run are.

    Raises:
        InputError: They are missing, or not what was written.
    """
    path = ledger.folder / LABELS_FILE
    state = labels_state(ledger)
    if state != "whole":
        what = "is missing" if state == "missing" else "is not what was written"
        raise InputError(f"{path} {what}.", "Run the same catena run command to write it again.")
    return path


def labels_state(ledger: Ledger) -> Literal["whole", "changed", "missing"]:
    """Tell whether the labels of a finished run are still what was written."""
    found, stored = labels_digest(ledger.folder / LABELS_FILE), ledger.get("labels")
    if found is None:
        return "missing"
    return "whole" if stored in (found, None) else "changed"


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
    decision = decide_run(ledger, votes, task, provisional=provisional)
    result, kept_by = decision.result(task.aggregate, votes.votes, task.judge()), decision.kept_by
    del decision
    fields = _fields(ledger, task)
    same = {
        name for name in ("id", "gold") if getattr(task.data, name) == name
    }  # given and result are one column
    inputs = [name for name in ledger.get("columns") if name not in same] if join else []
    names = {name: f"{name}_catena" if name in inputs else name for name in fields}
    schema = pa.schema(
        [*[(name, pa.string()) for name in inputs], *[(names[name], kind) for name, kind in fields.items()]]
    )
    rows = _rows(ledger, task, votes, result, kept_by, "provisional" if provisional else "labelled")
    if join:
        batches = _joined(ledger, task, rows, inputs, schema)
    else:
        batches = (pa.RecordBatch.from_arrays(columns, schema=schema) for columns in rows)
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
    ledger: Ledger,
    task: TaskSpec,
    votes: RunVotes,
    result: Result,
    kept_by: NDArray[np.int16],
    labelled: str,
) -> Iterator[list[Any]]:
    """Yield blocks of the result's columns, in the order of `_fields`."""
    whole = ledger.get("id_type") == "int64"
    links, labels = texts(votes.links), texts(votes.labels)
    start = 0
    for block in ledger.names(BLOCK):
        stop = start + len(block)
        rows = slice(start, stop)
        here, confidence = result.source[rows], result.confidence(rows)
        none, at = here < 0, np.maximum(here, 0)
        ids = [name for _, name, _ in block]
        columns = [
            numbers(np.array(ids, np.int64)) if whole else texts(ids),
            labels.take(numbers(np.maximum(result.label(rows), 0), none)),
            numbers(confidence, none | np.isnan(confidence)),
            links.take(numbers(at, none)),
            texts(np.where(none, "failed", labelled).tolist()),
            _reasons(ledger, votes.links, start, none, kept_by[rows]),
        ]
        yield columns + ([texts(gold for *_, gold in block)] if task.data.gold else [])
        start = stop


def _joined(
    ledger: Ledger, task: TaskSpec, rows: Iterable[list[Any]], inputs: Sequence[str], schema: Any
) -> Iterator[Any]:
    """Yield batches of the input's columns, then the result's."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    for items, columns in zip(ledger.all_items(BLOCK), rows, strict=True):
        given = [_given(item, task) for item in items]
        before = [texts(as_text(row.get(name)) for row in given) for name in inputs]
        yield pa.RecordBatch.from_arrays([*before, *columns], schema=schema)


def _given(item: Item, task: TaskSpec) -> dict[str, Any]:
    """Return the columns of an input row by their own names."""
    own = {
        task.data.text: item.text,
        task.data.id: item.id,
        task.data.target: item.target,
        task.data.gold: item.gold,
    }
    return {**item.fields, **{name: value for name, value in own.items() if name is not None}}


def _reasons(
    ledger: Ledger,
    links: Sequence[str],
    start: int,
    failed: NDArray[np.bool_],
    kept_by: NDArray[np.int16],
) -> Any:
    """Return why rows from `start` on failed, as the latest link that they reached says; null for the others.

    The ledger may also hold what a link said that another decision asked.
    """
    reasons: list[str | None] = ["no link has seen it" if fails else None for fails in failed.tolist()]
    numbers = ledger.links() if failed.any() else {}
    for at, name in enumerate(links) if numbers else ():
        for row, message in ledger.failures(numbers[name][0], start, start + len(failed)):
            if failed[row - start] and at <= kept_by[row - start]:
                reasons[row - start] = f"link '{name}': {message}"
    return texts(reasons)
