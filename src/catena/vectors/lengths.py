"""Texts of similar length in one batch: what fills a batch up is work for nothing."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

__all__ = ["batches", "even_batches"]


def batches(lengths: Sequence[int], most: int, rows: int | None = None) -> Iterator[list[int]]:
    """Yield the positions of all texts, from short to long, in batches of similar length.

    Args:
        lengths: Tokens of each text.
        most: Most tokens in a batch, all texts counted as long as its longest; a longer text is a batch of its own.
        rows: Most texts in a batch.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    for end in _ends([lengths[at] for at in order], most, rows):
        yield order[start:end]
        start = end


def even_batches(
    lengths: Sequence[int], most: int, rows: int | None = None, at_once: int = 1
) -> list[list[int]]:
    """Return the positions of all texts, from long to short, in batches that are about equally large.

    Args:
        lengths: Tokens of each text.
        most: See `batches`.
        rows: See `batches`.
        at_once: How many batches are worked on at the same time; where there are several, none waits for a last one.
    """
    growing = sorted(lengths)
    fewest = sum(1 for _ in _ends(growing, most, rows))
    wanted = -(-fewest // at_once) * at_once if fewest > 1 else fewest
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if sum(1 for _ in _ends(growing, middle, rows)) > wanted:
            low = middle + 1
        else:
            high = middle
    return list(batches(lengths, high, rows))[::-1]


def _ends(growing: Sequence[int], most: int, rows: int | None) -> Iterator[int]:
    """Yield where each batch of ever longer texts ends."""
    start = 0
    while start < len(growing):
        ends = range(start + 1, min(len(growing), start + (rows or len(growing))) + 1)
        start += max(1, bisect_right(ends, most, key=lambda end: (end - start) * growing[end - 1]))
        yield start
