"""Examples chosen for each row: the most similar texts with gold, by sentence embeddings, as many of each label.

Similar examples teach more than any others (Liu et al. 2022, arXiv:2101.06804); all labels are shown, since the labels of the
nearest ones alone would answer for the model, and rare ones would seldom be among them.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.errors import TaskError
from catena.prompts.examples import alike, as_example, drawn, first_of, pools_of
from catena.task import Draw, TaskSpec
from catena.types import Example, Item
from catena.vectors import encode, encoder

__all__ = ["Neighbours", "examples_key", "neighbours_of", "with_examples"]

MOST = 2048  # rows to choose from: all of them become vectors before the first question
MOST_CHARS = 4000  # far beyond what the encoder reads
MOST_REMEMBERED = 1 << 16
DIGITS = 4  # of a similarity, so that a machine's last bits seldom decide anything


def with_examples(task: TaskSpec) -> TaskSpec:
    """Return a task whose examples are drawn (see `drawn`); those that are chosen for each row are seen to be there.

    Raises:
        DataError: The file can't be read as rows of the task.
        TaskError: It has too few rows with gold.
    """
    if neighbours_of(task) is not None:
        return task
    return msgspec.structs.replace(task, examples=drawn(task))


def examples_key(task: TaskSpec) -> Any:
    """Return what changes when the examples do, or the rows that they are chosen from, wherever these stand."""
    if (near := neighbours_of(task)) is not None:
        return near.digest
    return msgspec.to_builtins(task.examples)


def neighbours_of(task: TaskSpec) -> "Neighbours | None":
    """Return what chooses a task's examples for each row; None where they are the same for every row.

    Raises:
        DataError: The file can't be read as rows of the task.
        TaskError: It has too few rows with gold.
    """
    wanted = task.examples
    if not isinstance(wanted, Draw) or wanted.draw != "nearest":
        return None
    try:
        stat = Path(wanted.file).stat()
    except OSError:  # reading it says what is wrong
        return _read(msgspec.json.encode(task), 0, 0)
    return _read(msgspec.json.encode(task), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read(task: bytes, changed: int, size: int) -> "Neighbours":  # noqa: ARG001 - the file's; another one is read anew
    return Neighbours(msgspec.json.decode(task, type=TaskSpec))


class Neighbours:
    """Rows with gold, and which of them are shown beside a text. Vectors are made when they are first asked for.

    Args:
        task: Its examples are a draw of the nearest.
    """

    def __init__(self, task: TaskSpec) -> None:
        assert isinstance(task.examples, Draw)
        self._wanted = wanted = task.examples
        pools = pools_of(task, wanted, max(wanted.count, MOST // len(task.labels)))
        rows = first_of(chain.from_iterable(pools.values()), MOST + wanted.count * len(pools))
        if len(rows) <= wanted.count:
            raise TaskError(
                f"examples: {wanted.file} has {len(rows):,} texts with gold, too few to choose {wanted.count:,} from.",
                "Add rows, or lower count.",
            )
        self.examples: Sequence[Example] = [as_example(item, task) for _, item in rows]
        self._texts = [_meant(item) for _, item in rows]
        self._alike = np.array([alike(item.text) for _, item in rows], object)
        self._by_label = [
            np.array([at for at, example in enumerate(self.examples) if example.label == label], np.int64)
            for label in task.labels
        ]
        self._encoder: Any = None
        self._vectors: NDArray[np.float32] | None = None
        self._remembered: dict[tuple[str, str], tuple[int, ...]] = {}

    @property
    def digest(self) -> str:
        """What changes when another example may be chosen."""
        said = [self.examples, self._wanted.count, self._wanted.seed, self._wanted.model]
        return blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()

    def near(self, item: Item) -> tuple[int, ...]:
        """Return the positions of the examples for an item, the most similar one last; never one with its own text.

        Each label has its most similar rows, all as many as there are or one more where the count does not part evenly:
        then the most similar of the next ones are taken.
        """
        key = (_meant(item), alike(item.text))
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._near(*key)
            if len(self._remembered) > MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return found

    def _near(self, meant: str, own: str) -> tuple[int, ...]:
        if self._vectors is None:
            self._encoder = encoder(self._wanted.model, "examples")
            self._vectors = encode(self._encoder, self._texts, alone=False)
        similarity = np.round(self._vectors @ encode(self._encoder, [meant])[0], DIGITS)
        places = np.lexsort((np.arange(len(similarity)), -similarity))
        rank = np.empty(len(places), np.int64)
        rank[places] = np.arange(len(places))
        allowed = self._alike != own
        queues = [sorted(rows[allowed[rows]].tolist(), key=rank.__getitem__) for rows in self._by_label]
        chosen = islice(_in_turn(queues, rank), self._wanted.count)
        return tuple(sorted(chosen, key=rank.__getitem__, reverse=True))


def _in_turn(queues: Sequence[Sequence[int]], rank: NDArray[np.int64]) -> Iterator[int]:
    """Yield the first of each queue, the most similar first, then the second of each, and so on."""
    for at in range(max(map(len, queues), default=0)):
        yield from sorted((queue[at] for queue in queues if at < len(queue)), key=rank.__getitem__)


def _meant(item: Item) -> str:
    """Return what a row is compared by: its text, and the target where there is one."""
    text = item.text[:MOST_CHARS]
    return f"{item.target}: {text}" if item.target else text
