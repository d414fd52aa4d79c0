"""Aggregating whole panels of votes: which items every link was asked about, and what the crowd methods make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.crowd import crowd
from catena.data.tables import numbers, texts, write_table
from catena.data.votes import VoteTable
from catena.errors import InputError, places
from catena.evaluate.metrics import score

__all__ = ["Crowded", "crowded", "write_crowded_labels"]


@dataclass(frozen=True)
class Crowded:
    """What a crowd method made of some items.

    Args:
        rows: Of the vote table, [n].
        label: Label index, -1 without any vote, int16 [n].
        confidence: The label's posterior probability, NaN without, [n].
        figures: Ready for JSON.
    """

    rows: NDArray[np.int64]
    label: NDArray[np.int16]
    confidence: NDArray[np.float64]
    figures: dict[str, Any]


def crowded(
    votes: VoteTable, method: str, chain: Sequence[str] = (), items: Path | None = None, seed: int = 0
) -> Crowded:
    """Label items by a crowd method, over the votes of links that were all asked about all of them.

    A vote that failed is a missing one; that it failed is taken for chance.

    Args:
        votes: The vote table.
        method: One of `aggregate.crowd.METHODS`.
        chain: Which links; all unless said.
        items: A file with the item_ids of a random sample to take instead of all items, one a line.
        seed: Of what the method draws.

    Raises:
        InputError: Some links were not asked about some of the items, or there are fewer than two links.
        MissingExtraError: crowd-kit is not installed.
    """
    links = list(chain) or list(votes.links)
    at = votes.rows_of(links)
    if len(at) < 2:
        raise InputError(f"{method} needs the votes of at least two links.")
    rows = np.arange(len(votes)) if items is None else _listed(votes, items)
    lacking = ~votes.recorded[np.ix_(np.array(at), rows)]
    if lacking.any():
        some = int(lacking.any(0).sum())
        raise InputError(
            f"{method} needs every link's vote on every item: {some:,} of {len(rows):,} items lack votes. Where votes are "
            "missing by confidence, as in a chain, it would learn from the hard items only.",
            "Name a random sample on which every link voted with --items FILE (one item_id a line).",
        )
    label = votes.label[np.ix_(np.array(at), rows)]
    found, sure = crowd(method, label, len(votes.labels), seed)
    cost = votes.cost_usd[np.ix_(np.array(at), rows)]
    figures = {
        "crowd": method,
        "links": links,
        "n": len(rows),
        "unlabelled": int((found < 0).sum()),
        "failed_votes": int((label < 0).sum()),
        **score(votes.gold[rows], found, votes.labels).brief(),
        "alone": [
            {"link": link, **score(votes.gold[rows], each, votes.labels).brief()}
            for link, each in zip(links, label, strict=True)
        ],
        "cost_usd": None if np.isnan(cost).all() else float(np.nansum(cost)),
    }
    return Crowded(rows, found, sure, figures)


def _listed(votes: VoteTable, path: Path) -> NDArray[np.int64]:
    try:
        ids = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"--items {path}: {reason}.", "It lists one item_id a line.") from error
    at = {item: row for row, item in enumerate(votes.item_ids.tolist())}
    unknown = [item for item in ids if item not in at]
    if unknown or not ids:
        raise InputError(
            f"{path}: not in the vote table: {places(unknown)}." if ids else f"{path} lists no item."
        )
    return np.unique(np.array([at[item] for item in ids], np.int64))


def write_crowded_labels(votes: VoteTable, found: Crowded, path: Path) -> None:
    """Write item_id, label and confidence (the label's posterior probability), in input order."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    labels = np.array([*votes.labels, None], dtype=object)
    columns = {
        "item_id": texts(votes.item_ids[found.rows].tolist()),
        "label": texts(labels[found.label].tolist()),
        "confidence": numbers(found.confidence, np.isnan(found.confidence)),
    }
    table = pa.table(columns)
    write_table(path, table.schema, table.to_batches())
