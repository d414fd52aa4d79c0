"""Texts of similar length in one batch: what fills a batch up is work for nothing."""

from collections.abc import Iterator, Sequence

__all__ = ["batches"]


def batches(lengths: Sequence[int], most: int, rows: int | None = None) -> Iterator[list[int]]:
    """Yield the positions of all texts, from short to long, in batches of similar length.

    Args:
        lengths: Tokens of each text.
        most: Most tokens in a batch, all texts counted as long as its longest; a longer text is a batch of its own.
        rows: Most texts in a batch.
    """
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and ((len(batch) + 1) * lengths[at] > most or len(batch) == rows):
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
