"""What an item is filed under: its final label, or what the links have said so far."""

from collections.abc import Iterator
from pathlib import Path

from catena.web.index import FAILED, NO_CONFIDENCE, WAITING, Cell

__all__ = ["Exported", "Told", "exported", "filed"]

Exported = tuple[str | None, float | None, str | None, str]
"""Label, confidence, link and status as exported."""

Told = tuple[str, str | None, float | None, str | None]
"""Link, label, confidence and reason of a failure."""


def filed(said: list[Told], gold: str | None, final: Exported | None) -> tuple[Cell, float]:
    """Return an item's cell and where it stands among the others; without its final label, by what was said so far."""
    votes = [(link, label, confidence) for link, label, confidence, _ in said if label is not None]
    reason = next((reason or "" for _, label, _, reason in reversed(said) if label is None), "")
    if final is not None:
        label, confidence, link, status = final
    else:
        link, label, confidence = votes[-1] if votes else (None, None, None)
        status = "provisional" if votes else "failed" if said else "waiting"
    disagree = len({label for _, label, _ in votes}) > 1
    right = "" if label is None or not gold else "right" if label == gold else "wrong"
    sure = NO_CONFIDENCE if confidence is None or confidence != confidence else confidence  # noqa: PLR0124 - NaN
    if label is None:
        sure = FAILED if status == "failed" else WAITING
    return Cell(status, label or "", link or "", reason, disagree, right), sure


def exported(path: Path, block: int) -> Iterator[list[Exported]]:
    """Yield what was exported about the rows, in blocks of so many."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    columns = ["label", "confidence", "link", "status"]
    with pq.ParquetFile(path) as file:
        left: list[Exported] = []
        for batch in file.iter_batches(block, columns=columns):
            left += zip(*(batch[name].to_pylist() for name in columns), strict=True)
            while len(left) >= block:
                yield left[:block]
                left = left[block:]
        if left:
            yield left
