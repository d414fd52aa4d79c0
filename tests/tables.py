"""Small vote tables, on disk and in memory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catena.data.votes import VoteTable

LABELS = ("against", "favor")
NAN = float("nan")


def write_votes(
    folder: Path,
    votes: Sequence[Mapping[str, object]] | pa.Table,
    items: Sequence[object] | pa.Table = ("a", "b"),
    *,
    gold: Sequence[object] | None = None,
    labels: object = LABELS,
) -> Path:
    """Write a vote table and return its folder.

    Args:
        folder: Where to; made where it is missing.
        votes: Rows of votes.parquet, or the table itself where its types matter.
        items: The ids in input order, or the table itself.
        gold: The gold column; none is written for None.
        labels: What labels.json holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(items, pa.Table):
        columns = {"item_id": items, "text": [f"text of {id_}" for id_ in items]}
        items = pa.table(columns if gold is None else columns | {"gold": gold})
    if not isinstance(votes, pa.Table):
        votes = pa.Table.from_pylist([dict(vote) for vote in votes])
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(votes, folder / "votes.parquet")
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    return folder


def vote(
    item_id: object, link: str = "small", label: str | None = "favor", confidence: float | None = 0.5, **more
):
    """Return a row of votes.parquet."""
    return {"item_id": item_id, "link": link, "label": label, "confidence": confidence, **more}


def table_of(
    confidence: Sequence[Sequence[float]],
    label: Sequence[Sequence[int]] | None = None,
    *,
    gold: Sequence[int] | None = None,
    recorded: Sequence[Sequence[bool]] | None = None,
    cost_usd: Sequence[Sequence[float]] | None = None,
    labels: Sequence[str] = LABELS,
) -> VoteTable:
    """Return a table in memory: links link0, link1 ..., items item0, item1 ...; all votes say the first label."""
    values = np.array(confidence, float)
    links, items = values.shape
    return VoteTable(
        item_ids=np.array([f"item{i}" for i in range(items)], dtype=object),
        links=tuple(f"link{j}" for j in range(links)),
        labels=tuple(labels),
        label=np.zeros((links, items), np.int16) if label is None else np.array(label, np.int16),
        confidence=values,
        recorded=np.ones((links, items), bool) if recorded is None else np.array(recorded, bool),
        cost_usd=np.full((links, items), np.nan) if cost_usd is None else np.array(cost_usd, float),
        gold=np.full(items, -1, np.int16) if gold is None else np.array(gold, np.int16),
    )
