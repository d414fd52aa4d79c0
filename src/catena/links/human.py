"""A person as a link: items that reach it wait on the run's desk until somebody has labelled them on the page."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from catena.data.cells import as_text
from catena.errors import TaskError
from catena.ledger.marks import Mark
from catena.links.identity import fingerprint
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Failure, Item, Usage, Vote

__all__ = ["HumanLink", "open_link"]

ON_THE_PAGE = Failure("missing", "people label on the page of catena serve, not in a call")
NOBODY = Failure("missing", "no person has labelled it")
FILES = (".md", ".txt")
MOST_GUIDELINES = 1 << 20


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `kind: human`.

    Args:
        guidelines: What people are told: a text, or a .md or .txt file with it.
        blind: Whether people don't see what earlier links said.
        overlap: The share of items that several people label; drawn by a hash of the item.
        annotators: How many people label such an item.
        show: The columns that people see beside the text; all of them unless said.
        price: USD that a label of one person costs, or `free`.
    """

    guidelines: str = ""
    blind: bool = False
    overlap: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    annotators: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    show: list[str] | None = None
    price: Annotated[float, msgspec.Meta(ge=0)] | Literal["free"] | None = None


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "HumanLink":
    """Build the link; see `registry.open_link`."""
    settings = convert(dict(spec.options), Settings, where)
    if settings.overlap and settings.annotators == 1:
        raise TaskError(f"{where}: overlap: one annotator does not overlap.", "Write annotators: 2, or more.")
    return HumanLink(spec.name, settings, task, where)


class HumanLink:
    """People who label on the page. A vote belongs to its item alone.

    The engine does not call this link: it puts items on the desk and takes in what people say (`vote`).

    Attributes:
        blind: Whether people don't see what earlier links said.
        price: USD for a label of one person; None where that is not known.
    """

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.blind = settings.blind
        self.price = 0.0 if settings.price == "free" else settings.price
        self.capabilities = Capabilities("people", per_item=True, model="people", most_failed=1.0)
        several = settings.annotators or (2 if settings.overlap else 1)
        self._several = several
        self._overlap = (1.0 if several > 1 else 0.0) if settings.overlap is None else settings.overlap
        self._labels = (*task.labels, *([task.abstain] if task.abstain else []))
        self._abstain = task.abstain
        self._question = task.instruction
        self._guidelines = _read(settings.guidelines, where)
        self._show = None if settings.show is None else sorted(settings.show)
        self._prompter = Prompter(task, where, prompt="{{ question }}")
        said = {} if task.abstain is None else {"abstain": task.abstain}
        self.fingerprint = fingerprint(name, "human", task, show=self._show, **said)

    @property
    def desk_settings(self) -> dict[str, Any]:
        """What the page has to know; see `ledger.desk.Queue`."""
        return {
            "labels": self._labels,
            "question": self._question,
            "guidelines": self._guidelines,
            "blind": self.blind,
            "show": self._show,
        }

    def needs(self, key: bytes) -> int:
        """Return how many people shall label the item of a vote's key."""
        drawn = int.from_bytes(key[:8], "big") < self._overlap * 2.0**64
        return self._several if drawn else 1

    def render(self, item: Item) -> str:
        """Return what people see of an item, as JSON: its id, text, target, other columns, and the question."""
        fields = {
            name: as_text(value)
            for name, value in sorted(item.fields.items())
            if self._show is None or name in self._show
        }
        seen = {"id": item.id, "text": item.text, "target": item.target, "fields": fields}
        return json.dumps(seen | {"question": self._prompter(item)})

    def id_of(self, prompt: str) -> str:
        """Return the id of the item that a question is about."""
        return str(json.loads(prompt)["id"])

    def most(self, prompt: str) -> Usage | None:  # noqa: ARG002 - the same for all
        """Return what the label of all annotators of an item costs."""
        return self._used(self._several)

    def ready(self) -> None:
        """There is nothing to be missing; see `types.Link`."""

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Say that people can't be called; see `types.Link`."""
        return [ON_THE_PAGE] * len(prompts)

    async def close(self) -> None:
        """There is nothing to free."""

    def vote(self, marks: Sequence[Mark]) -> Answer:
        """Return the vote that people's marks come to: the label that most of them gave.

        Where several labels have as many, the one that was given first. The confidence is the share of people who gave
        it, and the text says who said what and when, as JSON.

        Args:
            marks: Earliest first; labels that the task no longer has don't count.
        """
        marks = [mark for mark in marks if mark.label in self._labels]
        if not marks:
            return NOBODY
        (label, most), *_ = Counter(
            mark.label for mark in marks
        ).most_common()  # in the order of the first one
        assert label is not None
        said = json.dumps([_said(mark) for mark in marks], ensure_ascii=False)
        used = msgspec.structs.replace(
            self._used(len(marks)), latency_ms=1000 * sum(m.seconds for m in marks)
        )
        who = ", ".join(mark.annotator for mark in marks)
        if label == self._abstain:
            return Failure("abstained", f"answered '{label}'", text=said, usage=used, model=who)
        return Vote(label, most / len(marks), "people", text=said, usage=used, model=who)

    def _used(self, people: int) -> Usage:
        return Usage(cost_usd=None if self.price is None else people * self.price, calls=people)


def _said(mark: Mark) -> dict[str, str]:
    """Return what a person said, for the record."""
    at = datetime.fromtimestamp(mark.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"who": mark.annotator, "label": mark.label or "", "at": at}
    if mark.note:
        said["note"] = mark.note
    return said if mark.how == "page" else said | {"from": mark.how}


def _read(guidelines: str, where: str) -> str:
    """Return the guidelines, from their file where the text names one."""
    if "\n" in guidelines or not guidelines.endswith(FILES):
        return guidelines
    try:
        text = Path(guidelines).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TaskError(
            f"{where}: guidelines: {guidelines}: {reason}.",
            "Write the text itself, or name a file that is there.",
        ) from error
    if len(text) > MOST_GUIDELINES:
        raise TaskError(f"{where}: guidelines: {guidelines} has {len(text):,} characters.", "Shorten it.")
    return text
