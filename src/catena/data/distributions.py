"""The label distributions of a vote table, where links gave any."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable, read_columns
from catena.errors import DataError

__all__ = ["read_logprobs"]


def read_logprobs(folder: Path, votes: VoteTable) -> NDArray[np.float32] | None:
    """Read `label_logprobs` of a vote table.

    Args:
        folder: The vote table's folder.
        votes: The same table, as `read_votes` gives it.

    Returns:
        Natural-log probabilities, NaN where unknown, float32 [m, n, K]; None where no vote has any.

    Raises:
        DataError: A list is not as long as the labels.
    """
    path = folder / "votes.parquet"
    table = read_columns(path, needed=["item_id", "link"], optional=["label_logprobs"])
    if "label_logprobs" not in table.column_names or table["label_logprobs"].null_count == len(table):
        return None
    rows = {item: row for row, item in enumerate(votes.item_ids.tolist())}
    links = {name: at for at, name in enumerate(votes.links)}
    result = np.full((len(links), len(rows), len(votes.labels)), np.nan, np.float32)
    for batch in table.to_batches(max_chunksize=65_536):
        lists = batch.column("label_logprobs")
        lengths = np.diff(lists.offsets.to_numpy())
        full = lists.is_valid().to_numpy(zero_copy_only=False)
        if (lengths[full] != len(votes.labels)).any():
            raise DataError(
                f"{path}: a list in label_logprobs does not have {len(votes.labels)} numbers.",
                "It holds one per label, in the order of labels.json.",
            )
        values = (
            lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, len(votes.labels))
        )
        at = np.flatnonzero(full)
        items, names = batch.column("item_id").to_pylist(), batch.column("link").to_pylist()
        row = np.array([rows.get(items[i], -1) for i in at], np.int64)
        link = np.array([links[names[i]] for i in at], np.int64)
        known = row >= 0
        result[link[known], row[known]] = values[known]
    return result
