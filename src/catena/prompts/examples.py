"""Examples for models: drawn from rows with gold, once, the same for every link and every row.

Those that are chosen for each row are in `nearest`; what they are chosen from is read here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from operator import itemgetter

from catena.data.rows import read_rows
from catena.errors import TaskError
from catena.routing import ties
from catena.task import Columns, Draw, TaskSpec
from catena.types import Example, Item

__all__ = ["alike", "as_example", "drawn", "first_of", "pools_of"]

Drawn = tuple[int, Item]
"""A row and what settles its place in the draw."""


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
    pools = pools_of(task, wanted, wanted.count)
    if wanted.draw == "balanced":
        rounds = chain.from_iterable(zip_longest(*pools.values()))
        chosen = list(islice(_distinct(each for each in rounds if each is not None), wanted.count))
    else:
        chosen = first_of(chain.from_iterable(pools.values()), wanted.count)
    if len(chosen) < wanted.count:
        raise TaskError(
            f"examples: {wanted.file} has {len(chosen):,} texts with gold, and {wanted.count:,} are wanted.",
            "Add rows, or lower count.",
        )
    mixed = first_of(chosen, wanted.count)  # not label by label
    return tuple(as_example(item, task) for _, item in mixed)


def alike(text: str) -> str:
    """Return text so that texts are equal that differ only in case and spaces."""
    return " ".join(text.split()).casefold()


def pools_of(task: TaskSpec, wanted: Draw, most: int) -> Mapping[str, Sequence[Drawn]]:
    """Return the first rows of each label in the order of the draw, no more than `most` of each.

    Raises:
        DataError: The file can't be read as rows of the task.
        TaskError: A label that has to be shown has no row.
    """
    columns = Columns(task.data.text, None, task.data.target, task.data.gold)
    pools: dict[str, Sequence[Drawn]] = dict.fromkeys(task.labels, ())
    for block in read_rows(wanted.file, columns, task.labels.keys()):
        items = [item for item in block if item.gold and 0 < len(item.text.strip()) <= task.max_chars]
        places = ties((alike(item.text) for item in items), wanted.seed).tolist()
        new: dict[str, list[Drawn]] = {}
        for place, item in zip(places, items, strict=True):
            new.setdefault(item.gold or "", []).append((place, item))
        for label, pool in new.items():
            pools[label] = first_of([*pools[label], *pool], most)
    lacking = [label for label, pool in pools.items() if not pool]
    if lacking and wanted.draw != "random" and wanted.count >= len(pools):
        raise TaskError(
            f"examples: {wanted.file} has no row with gold '{lacking[0]}'.", "Add one, or draw: random."
        )
    return pools


def first_of(pool: Iterable[Drawn], count: int) -> list[Drawn]:
    """Return the first of a pool in the order of the draw, each text once."""
    return sorted(_distinct(pool), key=itemgetter(0))[:count]


def _distinct(pool: Iterable[Drawn]) -> Iterator[Drawn]:
    seen = set[int]()
    for each in pool:
        if each[0] not in seen:
            seen.add(each[0])
            yield each


def as_example(item: Item, task: TaskSpec) -> Example:
    """Return a row as an example, with the columns that any instruction of the task may name."""
    said = [task.instruction, *(str(spec.options.get("instruction", "")) for spec in task.chain)]
    fields = {name: value for name, value in item.fields.items() if any(name in text for text in said)}
    return Example(item.text, item.gold or "", item.target, fields)
