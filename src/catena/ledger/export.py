"""A run's votes as a vote table: what `simulate`, `replay` links and other tools read."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from catena.data.cells import as_text
from catena.data.tables import write_table
from catena.errors import DataError
from catena.ledger.store import Ledger
from catena.task import Columns
from catena.types import Answer, Failure, Usage

__all__ = ["export_votes"]

BLOCK = 16_384


def export_votes(
    ledger: Ledger, links: Sequence[str], labels: Sequence[str], columns: Columns, folder: Path
) -> dict[str, int]:
    """Write items.parquet, votes.parquet and labels.json; returns how many items and votes there are.

    A vote that several items share costs its first item all and the others nothing.

    Raises:
        DataError: The folder exists and is no vote table.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "votes.parquet").exists():
        raise DataError(f"{folder} holds other files.", "Choose an empty or new folder.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: can't be made: {error.strerror}.", "Choose another folder.") from error
    counts = {"items": 0, "votes": 0}
    _write_items(ledger, columns, folder / "items.parquet", counts)
    _write_votes(ledger, links, folder / "votes.parquet", counts)
    text = json.dumps(list(labels), ensure_ascii=False)
    with os.fdopen(
        os.open(folder / "labels.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    return counts


def _write_items(ledger: Ledger, columns: Columns, path: Path, counts: dict[str, int]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    own = {"item_id", "text", "target", "gold", columns.text, columns.id, columns.target, columns.gold}
    others = [name for name in ledger.get("columns") if name not in own]
    names = [
        "item_id",
        "text",
        *(["target"] if columns.target else []),
        *others,
        *(["gold"] if columns.gold else []),
    ]
    schema = pa.schema([(name, pa.string()) for name in names])

    def rows() -> Iterator[dict[str, Any]]:
        for block in ledger.all_items():
            for item in block:
                counts["items"] += 1
                fields = {name: as_text(item.fields.get(name)) for name in others}
                yield {
                    **fields,
                    "item_id": item.id,
                    "text": item.text,
                    "target": item.target,
                    "gold": item.gold,
                }

    write_table(path, schema, _batches(rows(), schema))


def _write_votes(ledger: Ledger, links: Sequence[str], path: Path, counts: dict[str, int]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    schema = pa.schema([
        ("item_id", pa.string()), ("link", pa.string()), ("label", pa.string()), ("confidence", pa.float64()),
        ("label_logprobs", pa.list_(pa.float64())), ("label_lower", pa.list_(pa.float64())),
        ("label_upper", pa.list_(pa.float64())), ("confidence_source", pa.string()), ("cost_usd", pa.float64()),
        ("prompt_tokens", pa.int64()), ("completion_tokens", pa.int64()), ("latency_ms", pa.float64()),
        ("calls", pa.int64()), ("model", pa.string()), ("text", pa.string()), ("error", pa.string()),
    ])  # fmt: skip
    numbers = ledger.links()

    def rows() -> Iterator[dict[str, Any]]:
        for name in links:
            for _, item_id, answer, first in ledger.answers(numbers[name][0]) if name in numbers else ():
                counts["votes"] += 1
                yield {"item_id": item_id, "link": name, **_said(answer), **_used(answer.usage, first=first)}

    write_table(path, schema, _batches(rows(), schema))


def _batches(rows: Iterable[dict[str, Any]], schema: Any) -> Iterator[Any]:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    rows = iter(rows)
    while block := list(islice(rows, BLOCK)):
        yield pa.RecordBatch.from_pylist(block, schema=schema)


def _said(answer: Answer) -> dict[str, Any]:
    said: dict[str, Any] = {"model": answer.model, "text": answer.text}
    if isinstance(answer, Failure):
        return said | {"error": f"{answer.reason}: {answer.message}"}
    vote = {"label": answer.label, "confidence": answer.confidence, "label_logprobs": answer.logprobs}
    vote |= {"label_lower": answer.lower, "label_upper": answer.upper}
    return said | vote | {"confidence_source": answer.source}


def _used(usage: Usage, *, first: bool) -> dict[str, Any]:
    return {
        "cost_usd": usage.cost_usd if first or usage.cost_usd is None else 0.0,
        "prompt_tokens": usage.prompt_tokens if first else 0,
        "completion_tokens": usage.completion_tokens if first else 0,
        "latency_ms": usage.latency_ms,
        "calls": usage.calls if first else 0,
    }
