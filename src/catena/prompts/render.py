"""From an item to the question a model is asked: sandboxed Jinja, strict about undefined names."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from catena.errors import DataError, TaskError
from catena.prompts.examples import alike, drawn
from catena.task import TaskSpec
from catena.types import Example, Item

__all__ = ["Prompter"]

GIVEN = frozenset({"text", "labels", "question", "row", "examples", "abstain"})


CLOSING = re.compile(r"<\s*/\s*(text)", re.IGNORECASE)


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
        shown = drawn(task)
        self._labels = dict(task.labels)
        self._abstain = task.abstain
        self._data = task.data
        asked = "instruction" if instruction is None else f"{where}: instruction"
        whole = "prompt" if prompt is None else f"{where}: prompt"
        instruction = task.instruction if instruction is None else instruction
        prompt = task.prompt if prompt is None else prompt
        source = _default(with_examples=bool(shown)) if prompt is None else prompt
        self._question = _compile(instruction, asked)
        self._prompt = _compile(source, whole)
        self._used = {asked: _names(instruction, asked), whole: _names(source, whole)}
        self._examples = self._asked_about(shown, asked) if "examples" in self._used[whole] else []
        self._known = {alike(example["text"]) for example in self._examples}
        if task.abstain is not None and "abstain" not in self._used[whole] and whole == "prompt":
            raise TaskError(
                "abstain: the task's prompt does not offer it.",
                "Write {{ abstain }} in it, or leave prompt out.",
            )
        if shown and not self._examples and whole == "prompt":
            raise TaskError(
                "examples: the task's prompt does not show them.",
                "Write {% for example in examples %} ... {{ example.text | fence }} ... {{ example.label }}, or leave prompt out.",
            )

    def _asked_about(self, examples: Sequence[Example], asked: str) -> list[dict[str, Any]]:
        """Return examples for templates, each with its question where questions differ from row to row."""
        differs, found = self._used[asked] - {"labels"}, []
        for at, example in enumerate(examples):
            question = ""
            if differs:
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
            found.append(
                {
                    "text": example.text,
                    "label": example.label,
                    "target": example.target or "",
                    "question": question,
                }
            )
        return found

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
        """
        data, labels = self._data, labels or self._labels
        row = {**item.fields, data.text: item.text}
        if data.id is not None:
            row[data.id] = item.id
        if data.target is not None:
            row[data.target] = target = item.target or ""
            names = {**row, "target": target, "text": item.text, "labels": labels, "row": row}
        else:
            names = {**row, "text": item.text, "labels": labels, "row": row}
        examples = self._examples
        if examples and (own := alike(item.text)) in self._known:
            examples = [each for each in examples if alike(each["text"]) != own]
        try:
            question = self._question.render(names)
            return str(
                self._prompt.render(names, question=question, examples=examples, abstain=self._abstain)
            ).strip()
        except Exception as error:
            raise DataError(f"row {item.row + 1}: the template failed: {_said(error)}.") from error


def _said(error: Exception) -> str:
    return str(error).rstrip(".")


def fence(text: str) -> str:
    """Keep a text from closing the tag that it stands in."""
    return CLOSING.sub(r"<\\/\1", text)


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
