"""From an item to the question a model is asked: sandboxed Jinja, strict about undefined names."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from catena.errors import CatenaError, DataError, TaskError
from catena.prompts.examples import alike, drawn
from catena.prompts.nearest import Neighbours, neighbours_of
from catena.task import Draw, TaskSpec
from catena.types import Example, Item

__all__ = ["Prompter"]

GIVEN = frozenset({"text", "labels", "question", "row", "examples", "abstain"})


MADE_UP = ("\ue000", "\ue001")
"""Texts that no template holds and that begin differently."""
TURNS = re.compile(
    r"<(?=[|\uff5c][^<>\n]{1,40}[|\uff5c]>)|<(?=/?(?:s|bos|eos|start_of_turn|end_of_turn)>)|\[(?=/?INST\])"
)
"""Names of the tokens that end a turn, of ChatML, Llama, Mistral, Gemma and DeepSeek: servers read them in a text, too."""


class Prompter:
    """Renders a task's question for an item.

    Templates see `text`, `target`, `labels` (descriptions by label), `question` (the rendered instruction), every
    column but gold by its name, `row` (those columns, for names that are no identifiers), `abstain`, and `examples`,
    each with `text`, `label`, `target` and `question`: the instruction about it, empty where that is the same for every
    row. A row is never shown an example with its own text. What stands in a row is data: it is never a template itself.

    Args:
        task: The task.
        where: Names the link, for messages about its own templates.
        instruction: The link's own, in the place of the task's.
        prompt: Likewise.

    Raises:
        TaskError: A template has a syntax error or uses a name that is no column.
    """

    def __init__(
        self, task: TaskSpec, where: str = "", instruction: str | None = None, prompt: str | None = None
    ) -> None:
        self._task = task
        self._near: Neighbours | None = None
        chosen = isinstance(task.examples, Draw) and task.examples.draw == "nearest"  # for each row
        shown = () if chosen else drawn(task)
        self._labels = dict(task.labels)
        self._abstain = task.abstain
        self._data = task.data
        asked = "instruction" if instruction is None else f"{where}: instruction"
        whole = "prompt" if prompt is None else f"{where}: prompt"
        instruction = task.instruction if instruction is None else instruction
        prompt = task.prompt if prompt is None else prompt
        source = _default(with_examples=chosen or bool(shown)) if prompt is None else prompt
        self._question = _compile(instruction, asked)
        self._prompt = _compile(source, whole)
        self._used = {asked: _names(instruction, asked), whole: _names(source, whole)}
        self._asked = asked
        shows = "examples" in self._used[whole]
        self._chooses = chosen and shows
        self._examples = [self._told(at, each) for at, each in enumerate(shown)] if shows else []
        self._known = {alike(example["text"]) for example in self._examples}
        self._chosen: dict[int, dict[str, Any]] = {}
        if task.abstain is not None and "abstain" not in self._used[whole] and whole == "prompt":
            raise TaskError(
                "abstain: the task's prompt does not offer it.",
                "Write {{ abstain }} in it, or leave prompt out.",
            )
        if (shown or chosen) and not shows and whole == "prompt":
            raise TaskError(
                "examples: the task's prompt does not show them.",
                "Write {% for example in examples %} ... {{ example.text | fence }} ... {{ example.label }}, or leave prompt out.",
            )

    def _told(self, at: int, example: Example) -> dict[str, Any]:
        """Return an example for templates, with its question where questions differ from row to row."""
        question = ""
        if self._used[self._asked] - {"labels"}:
            data = self._data
            row = {**example.fields, data.text: example.text}
            named = {} if example.target is None else {"target": example.target}
            if named and data.target is not None:
                row[data.target] = example.target
            names = {**row, **named, "text": example.text, "labels": self._labels, "row": row}
            try:
                question = self._question.render(names)
            except Exception as error:
                raise TaskError(
                    f"examples[{at}]: the instruction fails on it: {_said(error)}.",
                    "Give it target, or fields: {column: value}.",
                ) from error
        told = {"text": example.text, "label": example.label}
        return {**told, "target": example.target or "", "question": question}

    def _shown(self, item: Item) -> Sequence[Mapping[str, Any]]:
        """Return the examples that stand beside a row: never one with its own text."""
        if self._chooses:
            self._near = near = self._near or neighbours_of(self._task)
            assert near is not None
            for at in (places := near.near(item)):
                if at not in self._chosen:
                    self._chosen[at] = self._told(at, near.examples[at])
            return [self._chosen[at] for at in places]
        if self._examples and (own := alike(item.text)) in self._known:
            return [each for each in self._examples if alike(each["text"]) != own]
        return self._examples

    @property
    def keys(self) -> tuple[str, ...]:
        """Where its templates stand in the task, for messages."""
        return tuple(self._used)

    @property
    def names(self) -> frozenset[str]:
        """Columns that the templates use."""
        return frozenset(set().union(*self._used.values()) - GIVEN)

    def check(self, columns: list[str]) -> None:
        """Refuse templates that use a name that is no column.

        Raises:
            TaskError: Names the unknown names and the columns there are.
        """
        given = GIVEN | {"target"} if self._data.target else GIVEN
        for key, used in self._used.items():
            names = used - given
            if self._data.gold in names:
                raise TaskError(
                    f"{key}: the template uses {self._data.gold}, which is the gold column: a question can't tell its answer."
                )
            if unknown := sorted(names - set(columns)):
                near = get_close_matches(unknown[0], [*columns, *given], 1)
                raise TaskError(
                    f"{key}: the template uses {', '.join(unknown)}, which is no column.",
                    (f"Did you mean '{near[0]}'? " if near else "") + f"Columns: {', '.join(columns)}.",
                )

    def __call__(self, item: Item, labels: Mapping[str, str] | None = None) -> str:
        """Render the question about an item.

        Args:
            item: The item.
            labels: What `labels` is in the templates, where it is not the task's own: another order of them.

        Raises:
            DataError: The template fails on this row.
            CatenaError: Its examples can't be chosen.
        """
        try:
            return self._whole(item, labels or self._labels, self._shown(item))
        except CatenaError:
            raise
        except Exception as error:
            raise DataError(f"row {item.row + 1}: the template failed: {_said(error)}.") from error

    @cached_property
    def static(self) -> str:
        """What the question about every row begins with, up to the end of a line, as far as two made-up rows tell.

        Empty where they can't be rendered. A row's question may begin otherwise, where a template looks at its columns.
        """
        differs = bool(self._used[self._asked] - {"labels"})
        rendered = []
        for made_up in MADE_UP:
            item = Item(0, made_up, made_up, dict.fromkeys(self.names, made_up), made_up)
            told = {"text": made_up, "label": made_up, "target": "", "question": made_up if differs else ""}
            shown = [told] if self._chooses else self._examples
            try:
                rendered.append(self._whole(item, self._labels, shown))
            except Exception:  # noqa: BLE001 - a template may ask anything of a row
                return ""
        end = next((at for at, (one, other) in enumerate(zip(*rendered, strict=False)) if one != other), 0)
        return rendered[0][: rendered[0].rfind("\n", 0, end) + 1]

    def _whole(self, item: Item, labels: Mapping[str, str], shown: Sequence[Mapping[str, Any]]) -> str:
        data = self._data
        row = {**item.fields, data.text: item.text}
        if data.id is not None:
            row[data.id] = item.id
        if data.target is not None:
            row[data.target] = target = item.target or ""
            names = {**row, "target": target, "text": item.text, "labels": labels, "row": row}
        else:
            names = {**row, "text": item.text, "labels": labels, "row": row}
        question = self._question.render(names)
        return str(
            self._prompt.render(names, question=question, examples=shown, abstain=self._abstain)
        ).strip()


def _said(error: Exception) -> str:
    return str(error).rstrip(".")


def fence(text: str, tag: str = "text") -> str:
    """Keep a text from closing the tag that it stands in, and from ending its turn."""
    if "<" not in text and "[" not in text:
        return text
    return TURNS.sub(r"\g<0>\\", _closing(tag).sub(r"<\\/\1", text))


@lru_cache
def _closing(tag: str) -> re.Pattern[str]:
    return re.compile(rf"<\s*/\s*({re.escape(tag)})", re.IGNORECASE)


@lru_cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
    )
    environment.filters["fence"] = fence
    return environment


def _default(*, with_examples: bool) -> str:
    name = "examples.jinja" if with_examples else "label.jinja"
    return (files("catena.prompts") / name).read_text("utf-8")


def _compile(source: str, key: str) -> Any:
    try:
        template = _environment().from_string(source)
    except TemplateError as error:
        raise TaskError(f"{key}: not a valid template: {_said(error)}.") from error
    template.globals = dict(template.globals)  # one look-up for each name instead of a chain of them
    return template


def _names(source: str, key: str) -> set[str]:
    try:
        return meta.find_undeclared_variables(_environment().parse(source))
    except TemplateError as error:
        raise TaskError(f"{key}: not a valid template: {_said(error)}.") from error
