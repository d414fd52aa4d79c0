"""Vote tables in and out: the interchange format of recorded votes (a folder of three files)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import DataError, places

__all__ = ["VoteTable", "read_columns", "read_votes"]

A_TABLE = "A vote table is a folder with items.parquet, votes.parquet and labels.json."
TABLE_FILES = ("items.parquet", "votes.parquet")
NO_LABEL = -1
MOST_LABELS = 10_000
NUMBERS = frozenset({"confidence", "cost_usd", "latency_ms", "prompt_tokens", "completion_tokens"})
LISTS = frozenset({"label_logprobs", "label_lower", "label_upper"})


@dataclass(frozen=True)
class VoteTable:
    """Votes of m links about n items as dense arrays, in input order.

    Args:
        item_ids: Ids as text, [n].
        links: Names of the links, sorted by name when read from a file, [m].
        labels: The labels, in the order of every label index here.
        label: Label index of each vote, -1 where the link has none, int16 [m, n].
        confidence: Confidence of each vote, NaN where there is none, float64 [m, n].
        recorded: Whether there is a vote or a failure at all, bool [m, n].
        cost_usd: Cost of each vote or failure, NaN where unknown, float64 [m, n].
        gold: Label index of the truth, -1 where unknown, int16 [n].
        notes: Lines to show the user about what was ignored while reading.
    """

    item_ids: NDArray[np.str_]
    links: tuple[str, ...]
    labels: tuple[str, ...]
    label: NDArray[np.int16]
    confidence: NDArray[np.float64]
    recorded: NDArray[np.bool_]
    cost_usd: NDArray[np.float64]
    gold: NDArray[np.int16]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def voted(self) -> NDArray[np.bool_]:
        """Whether each link has a label for each item, bool [m, n]."""
        voted: NDArray[np.bool_] = self.label != NO_LABEL
        return voted

    def rows_of(self, names: Sequence[str]) -> list[int]:
        """Return where these links stand in the arrays, in their order.

        Raises:
            DataError: A name is none of the links, or occurs twice.
        """
        unknown = [name for name in names if name not in self.links]
        if unknown:
            raise DataError(f"unknown link: {places(unknown)}.", f"The links are {', '.join(self.links)}.")
        if len(set(names)) < len(names) or not names:
            raise DataError("a chain names each of its links once, and at least one.")
        return [self.links.index(name) for name in names]

    def chain(self, names: Sequence[str]) -> "VoteTable":
        """Return the table of these links only, in this order.

        Raises:
            DataError: A name is none of the links, or occurs twice.
        """
        at = self.rows_of(names)
        return replace(
            self,
            links=tuple(names),
            label=self.label[at],
            confidence=self.confidence[at],
            recorded=self.recorded[at],
            cost_usd=self.cost_usd[at],
        )


def read_votes(folder: Path) -> VoteTable:
    """Read a vote table.

    Args:
        folder: Holds `items.parquet` (item_id, and gold where known; its order is the input order), `votes.parquet`
            (item_id, link, label, confidence, and cost_usd where known; any row order) and `labels.json`.

    Raises:
        DataError: A file or column is missing, an item or a vote occurs twice, or gold lies outside the labels.
    """
    labels = _read_labels(folder / "labels.json")
    items = read_columns(folder / "items.parquet", needed=["item_id"], optional=["gold"])
    votes = read_columns(
        folder / "votes.parquet", needed=["item_id", "link", "label", "confidence"], optional=["cost_usd"]
    )
    ids = items["item_id"].combine_chunks()
    _refuse_repeated(ids, folder / "items.parquet")
    gold = _gold(items, labels, folder / "items.parquet")
    table, notes = _fill(ids, votes, labels, folder / "votes.parquet")
    return VoteTable(
        item_ids=np.asarray(ids.to_pylist(), dtype=object), labels=labels, gold=gold, notes=notes, **table
    )


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        given = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", A_TABLE) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: can't read the labels: {error}.", "It is a JSON list of the labels."
        ) from error
    if not isinstance(given, list) or not all(isinstance(label, str | int | float) for label in given):
        raise DataError(f"{path}: the labels must be a JSON list of distinct texts.")
    labels = tuple(label if isinstance(label, str) else json.dumps(label) for label in given)
    if not labels or "" in labels or len(set(labels)) < len(labels) or len(labels) > MOST_LABELS:
        raise DataError(f"{path}: the labels must be 1 to {MOST_LABELS:,} distinct texts, none empty.")
    return labels


def read_columns(path: Path, needed: list[str], optional: list[str]) -> Any:
    """Read columns of a vote table's file as an Arrow table of texts, numbers and lists of numbers.

    Raises:
        DataError: The file is no Parquet, lacks a needed column, or a column holds something else.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in needed if name not in names]
        if missing:
            raise DataError(f"{path}: no column {places(missing)}.", f"It has {places(names)}.")
        table = file.read(columns=needed + [name for name in optional if name in names])
        return pa.table({name: _column(path, table, name) for name in table.column_names})
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", A_TABLE if path.name in TABLE_FILES else "") from error
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{path}: not a readable Parquet file: {said}.") from error


def _column(path: Path, table: Any, name: str) -> Any:
    """Return a column as text, or as numbers where it holds numbers."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    column = table[name]
    wanted = pa.list_(pa.float64()) if name in LISTS else pa.float64() if name in NUMBERS else pa.string()
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_integer(column.type) and wanted == pa.float64():
            column = column.cast(wanted, safe=False)
        column = column.cast(wanted).combine_chunks()
        column.validate(full=True)
    except pa.ArrowException as error:
        what = "texts" if wanted == pa.string() else "numbers"
        raise DataError(
            f"{path}: column {name} can't be read as {what}: {' '.join(str(error).split())}."
        ) from error
    return column


def _refuse_repeated(ids: Any, path: Path) -> None:
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    if ids.null_count:
        raise DataError(f"{path}: {ids.null_count:,} rows have no item_id.")
    if not len(ids):
        raise DataError(f"{path}: there are no items.")
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = pc.value_counts(ids)
        twice = [row["values"] for row in counts.to_pylist() if row["counts"] > 1]
        raise DataError(
            f"{path}: item_id occurs more than once: {places(twice)}.", "Every item needs an id of its own."
        )


def _gold(items: Any, labels: tuple[str, ...], path: Path) -> NDArray[np.int16]:
    if "gold" not in items.column_names:
        return np.full(len(items), NO_LABEL, np.int16)
    text = items["gold"].combine_chunks()
    at, outside = _label_index(text, labels)
    if outside:
        raise DataError(
            f"{path}: gold values outside the labels: {places([repr(text) for text in outside])}.",
            f"Labels: {', '.join(labels)}.",
        )
    return at


def _label_index(text: Any, labels: tuple[str, ...]) -> tuple[NDArray[np.int16], list[str]]:
    """Return the index of each label (-1 for null) and the distinct texts that are no label."""
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    at = pc.index_in(text, value_set=pa.array(labels, pa.string()))
    outside = pc.and_(pc.is_null(at), pc.is_valid(text))
    names = pc.unique(text.filter(outside)).to_pylist() if pc.any(outside).as_py() else []
    return pc.fill_null(at, NO_LABEL).to_numpy(zero_copy_only=False).astype(np.int16), names


def _fill(
    ids: Any, votes: Any, labels: tuple[str, ...], path: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Lay the votes out as [link, item] arrays."""
    import pyarrow.compute as pc  # noqa: PLC0415 - heavy

    notes = []
    link_text = votes["link"].combine_chunks()
    if link_text.null_count:
        raise DataError(f"{path}: {link_text.null_count:,} votes name no link.")
    coded = link_text.dictionary_encode()
    found = coded.dictionary.to_pylist()
    links = tuple(sorted(found))
    row = np.array([links.index(name) for name in found], np.int64)[
        coded.indices.to_numpy(zero_copy_only=False)
    ]
    column = pc.fill_null(pc.index_in(votes["item_id"].combine_chunks(), value_set=ids), -1).to_numpy(
        zero_copy_only=False
    )
    known = column >= 0
    if not known.all():
        notes.append(
            f"{path}: {int((~known).sum()):,} votes are for items that are not in items.parquet; ignored."
        )
    flat = (row * len(ids) + column)[known]
    _refuse_two_votes(flat, ids, links, path)
    label, outside = _label_index(votes["label"].combine_chunks(), labels)
    if outside:
        notes.append(
            f"{path}: votes for texts that are none of the labels count as failures: {places(outside)}."
        )
    shape = (len(links), len(ids))
    return {
        "links": links,
        "label": _scatter(shape, NO_LABEL, np.int16, flat, label[known]),
        "confidence": _scatter(shape, np.nan, np.float64, flat, _floats(votes, "confidence")[known]),
        "recorded": _scatter(shape, False, np.bool_, flat, True),
        "cost_usd": _scatter(shape, np.nan, np.float64, flat, _costs(votes, path)[known]),
    }, tuple(notes)


def _refuse_two_votes(flat: NDArray[np.int64], ids: Any, links: tuple[str, ...], path: Path) -> None:
    seen = np.zeros(len(ids) * len(links), bool)
    seen[flat] = True
    if seen.sum() < len(flat):
        distinct, counts = np.unique(flat, return_counts=True)
        twice = distinct[counts > 1]
        found = [f"{ids[int(at % len(ids))].as_py()} at {links[int(at // len(ids))]}" for at in twice[:20]]
        raise DataError(f"{path}: more than one vote of a link for an item: {places(found, len(twice))}.")


def _floats(votes: Any, name: str) -> NDArray[np.float64]:
    if name not in votes.column_names:
        return np.full(len(votes), np.nan)
    values: NDArray[np.float64] = votes[name].combine_chunks().to_numpy(zero_copy_only=False)
    return values


def _costs(votes: Any, path: Path) -> NDArray[np.float64]:
    """Return what each vote cost, NaN where that is unknown."""
    costs = _floats(votes, "cost_usd")
    wrong = (costs < 0) | np.isinf(costs)
    if wrong.any():
        found = f"{int(wrong.sum()):,} of cost_usd, {costs[wrong][0]:g} the first"
        raise DataError(
            f"{path}: costs can't be below 0 or without end: {found}.", "Null is unknown, 0 is free."
        )
    return costs


def _scatter(
    shape: tuple[int, int], empty: Any, kind: type, at: NDArray[np.int64], values: Any
) -> NDArray[Any]:
    array: NDArray[Any] = np.full(shape, empty, kind)
    array.ravel()[at] = values
    return array
