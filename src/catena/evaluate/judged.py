"""What is evaluated: votes, and the labels made of them, beside gold; and what of it a run has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES, Decision
from catena.data.cells import as_text
from catena.engine.results import RunVotes, check_labels, decide_run, run_gold, run_votes
from catena.errors import InputError, places
from catena.ledger import Ledger
from catena.task import TaskSpec

__all__ = [
    "Judged",
    "Result",
    "column_of_run",
    "exported",
    "gold_so_far",
    "judged_run",
    "judged_votes_of_run",
    "steps",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """The labels that a chain came to.

    Args:
        name: Of the rule that made them.
        label: Label index, -1 where unlabelled, int16 [n].
        confidence: As exported, NaN where there is none, [n].
        probable: Whether the confidence is the probability that the label is right.
        steps: What each link found and left: the label of an item after it, -1 for none, int16 [m, n]; None where it is
            not known which links an item went through.
    """

    name: str
    label: NDArray[np.int16]
    confidence: Floats
    probable: bool
    steps: NDArray[np.int16] | None = None


@dataclass(frozen=True)
class Judged:
    """Votes of m links about n items beside gold.

    Args:
        links: Their names, in the order of the chain where there is one.
        labels: The labels, in the order of every label index here.
        gold: -1 where unknown, int16 [n].
        label: The votes, -1 for none, int16 [m, n].
        confidence: NaN where there is none, [m, n].
        asked: Whether there is a vote or a failure, bool [m, n].
        reached: Whether the item reached the link in the chain; as `asked` where there is no chain, bool [m, n].
        chance: Probability of the label by the link itself, NaN where it gives none, [m, n].
        result: What the chain came to, where there is one.
        aggregates: The labels by each rule of aggregation, where there is a chain, int16 [n] each.
    """

    links: tuple[str, ...]
    labels: tuple[str, ...]
    gold: NDArray[np.int16]
    label: NDArray[np.int16]
    confidence: Floats
    asked: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    chance: Floats | None
    result: Result | None
    aggregates: dict[str, NDArray[np.int16]]

    def __len__(self) -> int:
        return len(self.gold)


def judged_run(
    ledger: Ledger, task: TaskSpec, gold: NDArray[np.int16] | None = None, *, chances: bool = True
) -> Judged:
    """Return the votes of a run and its labels as exported; of a run that is not finished, what its votes so far come to.

    Of a run that is not finished, gold counts on the rows that have a vote so far.

    Args:
        ledger: Of the run.
        task: The run's.
        gold: -1 where unknown, int16 [n]; the run's own unless said.
        chances: Whether to read the links' probabilities too, which takes longer.

    Raises:
        InputError: There is no gold, or none where there is a vote.
    """
    finished = ledger.get("finished") is not None
    votes = run_votes(ledger, task, chances=chances)
    gold = run_gold(ledger, task) if gold is None else gold
    if not (gold >= 0).any():
        raise InputError(
            f"{ledger.folder}: there is no gold to evaluate against.",
            "Name its column, data: {gold: COLUMN}, or a file of it: --gold FILE.",
        )
    if not finished:
        gold = gold_so_far(votes, gold)
    if not (gold >= 0).any():
        raise InputError(
            f"{ledger.folder}: no row with gold has a vote yet.", "The same catena run command goes on."
        )
    decision = decide_run(ledger, votes, task, provisional=not finished)
    if finished:
        label, confidence = exported(ledger, votes.labels)
    else:
        result = decision.result(task.aggregate, votes.votes, task.judge())
        label, confidence = result.label(), result.confidence()
    return judged_votes_of_run(votes, decision, gold, task.aggregate, label, confidence)


def gold_so_far(votes: RunVotes, gold: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return gold of the rows that any link has said something about, -1 elsewhere, int16 [n]."""
    return np.where(votes.answered.any(0), gold, -1).astype(np.int16)


def judged_votes_of_run(
    votes: RunVotes,
    decision: Decision,
    gold: NDArray[np.int16],
    aggregate: str,
    label: NDArray[np.int16],
    confidence: Floats,
) -> Judged:
    """Return the votes of a run, finished or not, beside gold and the labels that its aggregate made of them.

    Args:
        votes: Of the run.
        decision: Made from them.
        gold: -1 where unknown, int16 [n].
        aggregate: The rule that made the labels.
        label: -1 where unlabelled, int16 [n].
        confidence: Of the labels, NaN where there is none, [n].
    """
    return Judged(
        votes.links,
        votes.labels,
        gold,
        votes.label,
        votes.confidence,
        votes.answered,
        decision.reached,
        votes.chance,
        Result(
            aggregate,
            label,
            confidence,
            probable=aggregate not in RULES,
            steps=steps(decision.reached, votes.label),
        ),
        {rule: decision.labels(rule, votes.label) for rule in RULES},
    )


def exported(ledger: Ledger, labels: Sequence[str]) -> tuple[NDArray[np.int16], Floats]:
    """Return the labels of a run, -1 where there is none, and their confidences as they stand in the exported file.

    Raises:
        InputError: The file is missing, or is not what was written.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    file = pq.ParquetFile(check_labels(ledger))
    index: dict[str | None, int] = {label: at for at, label in enumerate(labels)}
    label, confidence = (np.empty(file.metadata.num_rows, kind) for kind in (np.int16, float))
    start = 0
    for batch in file.iter_batches(columns=["label", "confidence"]):
        stop = start + len(batch)
        label[start:stop] = [index.get(each, -1) for each in batch["label"].to_pylist()]
        confidence[start:stop] = batch["confidence"].to_numpy(zero_copy_only=False)
        start = stop
    return label, confidence


def column_of_run(ledger: Ledger, task: TaskSpec, column: str) -> list[str | None]:
    """Return a column of a run's rows as text.

    Raises:
        InputError: There is no such column.
    """
    known = ledger.get("columns")
    if column not in known:
        raise InputError(f"--by {column}: there is no such column.", f"The columns are {places(known)}.")
    own = {task.data.text: "text", task.data.id: "id", task.data.target: "target", task.data.gold: "gold"}
    if column in own:
        return [getattr(item, own[column]) for block in ledger.all_items() for item in block]
    return [as_text(item.fields.get(column)) for block in ledger.all_items() for item in block]


def steps(reached: NDArray[np.bool_], label: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the label of each item after each link: its own vote, or what stood before, int16 [m, n]."""
    found = np.where(reached[0], label[0], -1).astype(np.int16)
    steps = [found]
    for here, votes in zip(reached[1:], label[1:], strict=True):
        found = np.where(here & (votes >= 0), votes, found).astype(np.int16)
        steps.append(found)
    return np.array(steps)
