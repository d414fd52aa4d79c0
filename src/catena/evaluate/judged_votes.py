"""What is evaluated of a vote table: its votes, and labels from a chain over them or from a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES
from catena.data.distributions import read_logprobs
from catena.data.votes import VoteTable, read_columns
from catena.errors import DataError, places
from catena.evaluate.judged import Judged, Result, steps
from catena.evaluate.simulate import Simulator

__all__ = ["column_of_votes", "judged_votes", "read_result"]

Floats = NDArray[np.float64]


def judged_votes(
    folder: Path,
    votes: VoteTable,
    chain: Sequence[str] = (),
    share: Sequence[str] | None = None,
    rule: str = "rank",
    seed: int = 0,
) -> Judged:
    """Return the votes of a vote table; with a chain, those of its links and what it comes to.

    Args:
        folder: The vote table's, for the probabilities in it.
        votes: The same table.
        chain: Links in order; all of them, each for itself, unless said.
        share: What each link of the chain keeps; equal unless said.
        rule: One of `aggregate.RULES`.
        seed: Settles ties.

    Raises:
        DataError: There is no gold, or a link is unknown.
        InputError: Shares that don't fit the chain.
    """
    if not (votes.gold >= 0).any():
        raise DataError(
            f"{folder}: there is no gold to evaluate against.", "items.parquet needs a column gold."
        )
    words = read_logprobs(folder, votes)
    at = [votes.links.index(name) for name in chain] if set(chain) <= set(votes.links) else []
    result, aggregates, reached = None, {}, votes.recorded
    if chain:
        decision = Simulator(votes, seed).decide(chain, share)
        votes = votes.chain(chain)
        words = None if words is None else words[at]
        reached = decision.reached
        aggregates = {each: decision.labels(each, votes.label) for each in RULES}
        source = decision.source(rule)
        sure = votes.confidence[np.maximum(source, 0), np.arange(len(votes))]
        found = steps(reached, votes.label)
        result = Result(
            rule, aggregates[rule], np.where(source >= 0, sure, np.nan), probable=False, steps=found
        )
    chance = None if words is None else _chances(words, votes.label)
    return Judged(
        votes.links,
        votes.labels,
        votes.gold,
        votes.label,
        votes.confidence,
        votes.recorded,
        reached,
        chance,
        result,
        aggregates,
    )


def _chances(logprobs: NDArray[np.float32], label: NDArray[np.int16]) -> Floats:
    said = np.take_along_axis(logprobs, np.maximum(label, 0)[..., None].astype(np.int64), 2)[..., 0]
    chance: Floats = np.minimum(np.exp(said.astype(float)), 1.0)
    return np.where(label >= 0, chance, np.nan)


def read_result(path: Path, votes: VoteTable) -> tuple[Result, NDArray[np.bool_]]:
    """Read labels from a Parquet file with item_id, label and, where known, confidence.

    Confidences that all lie in [0, 1] are taken for probabilities that the labels are right.

    Args:
        path: As `catena plan --labels` writes it.
        votes: Of the same items.

    Returns:
        The labels, and which items the file has, bool [n].

    Raises:
        DataError: An item is not in the table or there twice, or a label is none of the labels.
    """
    table = read_columns(path, ["item_id", "label"], ["confidence"])
    rows = {item: row for row, item in enumerate(votes.item_ids.tolist())}
    ids = table["item_id"].to_pylist()
    unknown = [str(item) for item in ids if item not in rows]
    if unknown:
        raise DataError(f"{path}: not in the vote table: {places(unknown)}.")
    at = np.array([rows[item] for item in ids], np.int64)
    if len(np.unique(at)) < len(at):
        raise DataError(f"{path}: an item_id occurs more than once.", "Every item needs one label.")
    index: dict[str | None, int] = {None: -1} | {label: k for k, label in enumerate(votes.labels)}
    texts = table["label"].to_pylist()
    outside = sorted({text for text in texts if text not in index})
    if outside:
        raise DataError(f"{path}: none of the labels: {places(outside)}.")
    label, confidence, here = (
        np.full(len(votes), -1, np.int16),
        np.full(len(votes), np.nan),
        np.zeros(len(votes), bool),
    )
    label[at], here[at] = [index[text] for text in texts], True
    if "confidence" in table.column_names:
        confidence[at] = table["confidence"].to_numpy()
    known = confidence[np.isfinite(confidence)]
    probable = bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())
    return Result(path.name, label, confidence, probable), here


def column_of_votes(folder: Path, column: str) -> list[str | None]:
    """Return a column of a vote table's items as text.

    Raises:
        DataError: There is no such column, or it can't be read.
    """
    values: list[str | None] = read_columns(folder / "items.parquet", [column], [])[column].to_pylist()
    return values
