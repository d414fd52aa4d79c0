"""A random sample of a run's rows for a person to label, and what a run's labels are worth with its gold."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.data.tables import texts, write_table
from catena.engine.results import need_finished, run_gold
from catena.errors import InputError
from catena.evaluate.given_gold import read_gold
from catena.evaluate.judged import exported
from catena.evaluate.prevalence import class_shares
from catena.ledger import Ledger
from catena.routing import ties
from catena.task import TaskSpec
from catena.types import Item

__all__ = ["draw_sample", "estimate_run", "sample_of"]

SAMPLE = "the random sample of catena estimate"  # sets its hash apart from that of ties and pilots


def draw_sample(ledger: Ledger, task: TaskSpec, count: int, seed: int, path: Path) -> None:
    """Write a random sample of a run's rows in input order: id, text, target (where there is one), and gold to fill in.

    Args:
        ledger: Of the run.
        task: The run's.
        count: How many rows.
        seed: The same one draws the same rows, and a larger sample holds a smaller one.
        path: Ends in .csv, .jsonl or .parquet.

    Raises:
        InputError: The run has fewer rows.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy

    items = sample_of(ledger, count, seed)
    columns = {"id": texts([item.id for item in items]), "text": texts([item.text for item in items])}
    if task.data.target:
        columns["target"] = texts([item.target for item in items])
    columns["gold"] = texts([None] * len(items))
    table = pa.table(columns)
    write_table(path, table.schema, table.to_batches())


def sample_of(ledger: Ledger, count: int, seed: int, asked: str = "--draw") -> list[Item]:
    """Return a random sample of a run's items in input order; a larger one holds a smaller one.

    Raises:
        InputError: The run has fewer rows.
    """
    n = ledger.items_count()
    if count > n:
        raise InputError(f"{asked} {count:,}: the run has {n:,} rows.", "Draw fewer.")
    order = np.argsort(ties((f"{SAMPLE}\n{name}" for name in ledger.ids()), seed), kind="stable")
    return [each for block in _blocks(np.sort(order[:count])) for each in ledger.items(block)]


def _blocks(rows: NDArray[np.int64], size: int = 500) -> list[list[int]]:
    return [rows[start : start + size].tolist() for start in range(0, len(rows), size)]


def estimate_run(ledger: Ledger, task: TaskSpec, gold: Path | None, level: float = 0.95) -> dict[str, Any]:
    """Return the share of each label in a finished run, with intervals.

    Args:
        ledger: Of the run.
        task: The run's.
        gold: See `given_gold.read_gold`; the run's own gold unless said.
        level: Of the intervals.

    Raises:
        InputError: The run is not finished, or too few rows have gold.
        DataError: The file can't be read, names rows that the run does not have, or gold outside the labels.
    """
    need_finished(ledger)
    label, _ = exported(ledger, tuple(task.labels))
    blank = 0
    if gold is None:
        truth = run_gold(ledger, task)
    else:
        truth, blank, _ = read_gold(gold, ledger.ids(), task.labels)
    if not (truth >= 0).any():
        hint = "Draw a random sample with --draw 200 --out sample.csv, have it labelled, and give it with --gold."
        raise InputError(f"{gold or ledger.folder}: there is no gold to estimate from.", hint)
    shares = class_shares(truth, label, tuple(task.labels), level)
    return {
        "n": len(label),
        "gold": int((truth >= 0).sum()),
        "blank": blank,
        "unlabelled": int((label < 0).sum()),
        "level": level,
        "method": "prediction-powered inference (PPI++), normal intervals with one miss and one false alarm added",
        "assumes": "the rows with gold are a random sample of all rows",
        "shares": msgspec.to_builtins(shares),
    }
