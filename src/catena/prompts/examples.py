"""Examples for models: drawn from rows with gold, once, the same for every link and every row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from operator import itemgetter

import msgspec

from catena.data.rows import read_rows
from catena.errors import TaskError
from catena.routing import ties
from catena.task import Columns, Draw, TaskSpec
from catena.types import Example, Item

__all__ = ["alike", "drawn", "with_examples"]

Drawn = tuple[int, Item]
"""A row and what settles its place in the draw."""


def with_examples(task: TaskSpec) -> TaskSpec:
    """Return a task whose examples are drawn; see `drawn`."""
    return msgspec.structs.replace(task, examples=drawn(task))


def drawn(task: TaskSpec) -> tuple[Example, ...]:
    """Return a task's examples, the same ones wherever file, count and seed are the same.

    A row's chance depends on its text, not on its place in the file; equal texts count once.

    Raises:
        DataError: The file can't be read as rows of the task.
        TaskError: It has too few rows with gold.
    """
    if not isinstance(task.examples, Draw):
        return task.examples
    wanted = task.examples
    pools = _pools(task, wanted)
    if wanted.draw == "balanced":
        if lacking := [label for label, pool in pools.items() if not pool]:
            raise TaskError(
                f"examples: {wanted.file} has no row with gold '{lacking[0]}'.", "Add one, or draw: random."
            )
        rounds = chain.from_iterable(zip_longest(*pools.values()))
        chosen = list(islice(_distinct(each for each in rounds if each is not None), wanted.count))
    else:
        chosen = _first(chain.from_iterable(pools.values()), wanted.count)
    if len(chosen) < wanted.count:
        raise TaskError(
            f"examples: {wanted.file} has {len(chosen):,} texts with gold, and {wanted.count:,} are wanted.",
            "Add rows, or lower count.",
        )
    said = [task.instruction, *(str(spec.options.get("instruction", "")) for spec in task.chain)]
    mixed = _first(chosen, wanted.count)  # not label by label
    return tuple(_example(item, said) for _, item in mixed)


def alike(text: str) -> str:
    """Return text so that texts are equal that differ only in case and spaces."""
    return " ".join(text.split()).casefold()


def _pools(task: TaskSpec, wanted: Draw) -> Mapping[str, Sequence[Drawn]]:
    """Return the first rows of each label in the order of the draw, no more than can be wanted."""
    columns = Columns(task.data.text, None, task.data.target, task.data.gold)
    pools: dict[str, Sequence[Drawn]] = dict.fromkeys(task.labels, ())
    for block in read_rows(wanted.file, columns, task.labels.keys()):
        items = [item for item in block if item.gold and 0 < len(item.text.strip()) <= task.max_chars]
        places = ties((alike(item.text) for item in items), wanted.seed).tolist()
        new: dict[str, list[Drawn]] = {}
        for place, item in zip(places, items, strict=True):
            new.setdefault(item.gold or "", []).append((place, item))
        for label, pool in new.items():
            pools[label] = _first([*pools[label], *pool], wanted.count)
    return pools


def _first(pool: Iterable[Drawn], count: int) -> list[Drawn]:
    """Return the first of a pool in the order of the draw, each text once."""
    return sorted(_distinct(pool), key=itemgetter(0))[:count]


def _distinct(pool: Iterable[Drawn]) -> Iterator[Drawn]:
    seen = set[int]()
    for each in pool:
        if each[0] not in seen:
            seen.add(each[0])
            yield each


def _example(item: Item, instructions: Sequence[str]) -> Example:
    """Return a row as an example, with the columns that any instruction may name."""
    fields = {
        name: value for name, value in item.fields.items() if any(name in said for said in instructions)
    }
    return Example(item.text, item.gold or "", item.target, fields)
