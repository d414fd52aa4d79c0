"""How long all prompts of a task are, which is known without a call, and a random sample of rows that has all lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catena.data.rows import Rows
from catena.errors import DataError, InputError
from catena.routing import ties
from catena.types import Link

__all__ = ["Lengths", "draw_by_length", "lengths_of"]

SAMPLE = "the sample of catena check --estimate"  # sets its hash apart from that of ties and pilots

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lengths:
    """What is known of all N rows without a call.

    Args:
        size: Bytes of each row's prompt at each link, NaN where no call is made, [m, N].
        once: One over the number of rows with the same prompt there, [m, N].
        text: Bytes of each row's text, NaN where no link is asked about it, [N].
        ids: Of the rows.
    """

    size: Floats
    once: Floats
    text: Floats
    ids: list[str]


def lengths_of(links: Sequence[Link], rows: Rows, max_chars: int) -> Lengths:
    """Return how long every prompt is, and which are equal.

    Args:
        links: Of the task.
        rows: All of them.
        max_chars: Longer texts are not asked about.
    """
    shape = (len(links), rows.count)
    size, prompts = np.full(shape, np.nan), np.zeros(shape, np.int64)
    text, ids = np.full(rows.count, np.nan), []
    for block in rows:
        for item in block:
            ids.append(item.id)
            if not item.text.strip() or len(item.text) > max_chars:
                continue
            text[item.row] = len(item.text.encode(errors="replace"))
            for j, link in enumerate(links):
                try:
                    prompt = link.render(item)
                except DataError:
                    continue
                size[j, item.row] = max(len(prompt.encode(errors="replace")), 1)
                prompts[j, item.row] = hash(prompt) if not link.capabilities.per_item else item.row
    once = np.ones(shape)
    for j in range(len(links)):
        _, at, times = np.unique(prompts[j], return_inverse=True, return_counts=True)
        once[j] = 1 / times[at]
    return Lengths(size, once, text, ids)


def draw_by_length(lengths: Lengths, count: int, seed: int) -> NDArray[np.int64]:
    """Return a random sample in random order: one row from each of `count` groups of rows whose texts are about as long.

    So long texts, which cost most, are among them as often as they should be.

    Args:
        lengths: Of all rows.
        count: How many rows; all that can be asked about where there are fewer.
        seed: The same one draws the same rows.

    Raises:
        InputError: No row can be asked about.
    """
    usable = np.flatnonzero(~np.isnan(lengths.text))
    if not len(usable):
        raise InputError("no row can be asked about: all texts are empty or too long.", "See max_chars.")
    order = ties((f"{SAMPLE}\n{lengths.ids[row]}" for row in usable.tolist()), seed)
    by_length = np.lexsort((order, lengths.text[usable]))
    groups = np.array_split(by_length, min(count, len(usable)))
    drawn = np.array([group[np.argmin(order[group])] for group in groups])
    found: NDArray[np.int64] = usable[drawn[np.argsort(order[drawn])]]
    return found
