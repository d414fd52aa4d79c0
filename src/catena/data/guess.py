"""Which column of a data set is probably what, by its name and what stands in it: guesses for a first task file."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catena.data.cells import as_text, one_line, quoted
from catena.data.faults import Faults, IdCheck
from catena.data.lines import DelimitedFile
from catena.data.rows import Source, check_columns, open_file
from catena.errors import DataError, places
from catena.task import Columns, look_of

__all__ = ["Guess", "distinguish", "guess_columns"]

HEAD_ROWS = 4096
MOST_LABELS = 200
LONGEST_LABEL = 200
MOST_IDS = 4  # candidates that are looked at in full

TEXT = (
    "text", "tweet", "message", "content", "body", "comment", "review", "post", "sentence", "full_text", "tweet_text",
    "document", "utterance", "statement", "article", "headline", "abstract", "title", "question", "description",
)  # fmt: skip
GOLD = (
    "gold", "gold_label", "true_label", "label_text", "label_name", "label", "labels", "stance", "sentiment", "leaning",
    "class", "category", "topic", "emotion", "polarity", "annotation", "ground_truth", "gold_standard", "human_label",
    "target_label", "y",
)  # fmt: skip
TARGET = ("target", "topic")


@dataclass(frozen=True)
class Guess:
    """What a data set seems to hold.

    Args:
        columns: Which columns are what.
        labels: The distinct gold values in order of first use; none without a gold column.
        rows: How many rows there are.
        notes: Lines for the user: what should be looked at.
    """

    columns: Columns
    labels: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = ()


@dataclass
class _Column:
    """What one column holds."""

    name: str
    strings: int = 0
    filled: int = 0
    characters: int = 0
    numbers: int = 0
    values: dict[str, None] = field(default_factory=dict)
    unreadable: bool = False

    def see(self, cells: Iterable[Any]) -> None:
        for cell in cells:
            try:
                text = as_text(cell)
            except (ValueError, TypeError, RecursionError):
                self.unreadable = True
                return
            if text is None:
                continue
            self.filled += 1
            self.strings += isinstance(cell, str)
            self.characters += len(text)
            self.numbers += text.lstrip("-").replace(".", "", 1).isdecimal()
            self.values[text] = None

    @property
    def text_length(self) -> float:
        """The mean length of its texts; numbers are none."""
        return self.characters / self.filled if self.strings and self.numbers < self.filled else 0.0

    def could_be_labels(self, known: Collection[str]) -> bool:
        if self.unreadable or not self.filled or len(self.values) > MOST_LABELS:
            return False
        if known:
            return bool(_shared(self.values, known))
        few = len(self.values) <= max(20, self.filled // 2)
        return few and all(len(value) <= LONGEST_LABEL for value in self.values)


def guess_columns(path: Path, labels: Collection[str] = ()) -> Guess:
    """Guess from the first 4,096 rows which column is what, then check ids and gather labels over all of them.

    Args:
        path: A file in one of `catena.data.rows.FORMATS`.
        labels: The labels where they are known: gold is then a column that holds some of them, in any case.

    Raises:
        DataError: The file can't be read, has a structural fault, no rows or no text.
    """
    source = open_file(path)
    _check_separator(source)
    head, names = _head(source)
    check_columns(source, Columns(text=names[0]))
    text = _text_column(source, head)
    gold = _gold_column(head, text, labels)
    target = None if gold and gold.lower() in TARGET else _first(head, TARGET, {text, gold})
    if target is not None and (head[target].unreadable or not head[target].filled):
        target = None
    taken = {text, gold, target}
    ids = [name for name in names if name not in taken and _names_ids(name) and _distinct(head[name])]
    ids.sort(key=lambda name: len(_words(name)))  # id before tweet_id
    rows, complete, values = _look_at_all(source, ids[:MOST_IDS], gold)
    name = next((name for name, check in complete.items() if not _repeats(source, name, check)), None)
    notes = []
    if gold is not None and (
        len(values) > MOST_LABELS or any(len(value) > LONGEST_LABEL for value in values)
    ):
        notes.append(
            f"the column {quoted(gold)} holds more than {MOST_LABELS} different or long values: not taken for gold"
        )
        gold, values = None, {}
    return Guess(Columns(text, name, target, gold), tuple(values), rows, tuple(notes))


def distinguish(values: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split gold values into those that can be labels beside each other and those that differ from them only in case, spaces or what is not seen.

    >>> distinguish(["Yes", "no", "yes", " "])
    (['Yes', 'no'], ['yes', ' '])
    """
    labels: dict[str, str] = {}
    alike = []
    for value in values:
        if (key := look_of(value)) and key not in labels:
            labels[key] = value
        else:
            alike.append(value)
    return list(labels.values()), alike


def _check_separator(source: Source) -> None:
    if not isinstance(source, DelimitedFile) or len(source.columns) > 1:
        return
    for mark, said in ((";", ";"), ("\t", "tabs"), (",", "commas")):
        if mark in source.columns[0]:
            fix = "Rename it to .csv." if mark == "," else "Save it with commas, or as .tsv."
            raise DataError(f"{one_line(source.name)} looks separated by {said}.", fix)


def _head(source: Source) -> tuple[dict[str, _Column], list[str]]:
    """Look at the first rows; returns the columns by name, and their names in the order of the input."""
    rows = 0
    columns: dict[str, _Column] = {}
    with closing(source.blocks(Faults(source.name))) as blocks:  # type: ignore[type-var]
        for block in blocks:
            names = dict.fromkeys(name for row in block for name in row)
            for name in names:
                columns.setdefault(name, _Column(name)).see(row.get(name) for row in block)
            rows += len(block)
            if rows >= HEAD_ROWS:
                break
    if not columns:
        _look_at_all(source, [], None)  # says what is wrong with the rows, where something is
        raise DataError(f"{one_line(source.name)} has no rows.", "There is nothing to label.")
    return columns, source.columns or list(columns)


def _text_column(source: Source, head: Mapping[str, _Column]) -> str:
    filled = {name: column for name, column in head.items() if column.filled and not column.unreadable}
    texts = {name: column for name, column in filled.items() if column.text_length} or filled
    named = _first(texts, TEXT, set()) or next(
        (name for name in texts if _words(name)[-1:] == ["text"]), None
    )
    if named is not None:
        return named
    if not texts:
        there = places([quoted(name) for name in head])
        raise DataError(f"{one_line(source.name)} has no column of texts. Its columns: {there}.")
    return max(texts, key=lambda name: texts[name].text_length)


def _gold_column(head: Mapping[str, _Column], text: str, known: Collection[str]) -> str | None:
    likely = {name: column for name, column in head.items() if name != text and column.could_be_labels(known)}
    named = _first(likely, GOLD, set())
    if named is not None or known:
        return named or next(iter(likely), None)
    target = _first(likely, ("target",), set())  # of numbers, it is what many call the label
    return target if target is not None and likely[target].numbers == likely[target].filled else None


def _first(columns: Iterable[str], wanted: Iterable[str], taken: Collection[str | None]) -> str | None:
    """Return the column that has the first of these names, in any case."""
    there: dict[str, str] = {}
    for name in columns:
        there.setdefault(name.strip().lower().replace("-", "_").replace(" ", "_"), name)
    return next((there[name] for name in wanted if name in there and there[name] not in taken), None)


def _words(name: str) -> list[str]:
    """Split a column's name: tweet_id, tweetId and TWEET-ID are two words.

    >>> _words("tweetId"), _words("TWEET-ID"), _words("valid")
    (['tweet', 'id'], ['tweet', 'id'], ['valid'])
    """
    spaced = "".join(
        f" {c}" if c.isupper() and not name[at - 1 : at].isupper() else c for at, c in enumerate(name)
    )
    return "".join(c if c.isalnum() else " " for c in spaced).lower().split()


def _names_ids(name: str) -> bool:
    return _words(name)[-1:] in (["id"], ["uid"], ["uuid"], ["guid"])


def _distinct(column: _Column) -> bool:
    return not column.unreadable and 0 < column.filled == len(column.values)


def _shared(values: Iterable[str], known: Iterable[str]) -> set[str]:
    return {look_of(value) for value in values} & {look_of(label) for label in known}


def _look_at_all(
    source: Source, candidates: list[str], gold: str | None
) -> tuple[int, dict[str, IdCheck], dict[str, None]]:
    """Go through all rows; returns their number, the candidates that are never missing, and the gold values."""
    faults = Faults(source.name)
    checks = {name: IdCheck() for name in candidates}
    values: dict[str, None] = {}
    rows = 0
    for block in source.blocks(faults):
        faults.refuse()
        rows += len(block)
        for name in list(checks):
            ids = [_spelled(row.get(name)) for row in block]
            checks[name].see(ids)
            if None in ids:
                del checks[name]
        if gold is not None and len(values) <= MOST_LABELS:
            values.update(dict.fromkeys(filter(None, (_spelled(row.get(gold)) for row in block))))
    faults.refuse()
    return rows, checks, values


def _repeats(source: Source, name: str, check: IdCheck) -> bool:
    def again() -> Iterator[list[str | None]]:
        for block in source.blocks(Faults(source.name)):
            yield [_spelled(row.get(name)) for row in block]

    faults = Faults(source.name)
    check.report(faults, again)
    return bool(faults.found)


def _spelled(cell: Any) -> str | None:
    try:
        return as_text(cell)
    except (ValueError, TypeError, RecursionError):
        return None
