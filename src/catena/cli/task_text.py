"""The words of a first task file: from guesses about a data set, or from a preset."""

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import yaml

from catena.cli.output import counted
from catena.data.guess import Guess, distinguish
from catena.errors import InputError
from catena.task import Columns, look_of, parse_task

__all__ = ["preset_text", "scalar", "task_text"]

LONGEST_KEY = 500  # YAML wants a key within 1,024 characters, or a question mark before it
LONGEST_NAME = 60

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[ .-][A-Za-z0-9_]+)*")
CHAIN = """\
# The links in order, cheap to dear. Each labels what reaches it, keeps what it is sure of and forwards the rest.
chain:
  # Compares the text with the labels' names and descriptions. Runs here, without a key or a network.
  - {name: embedding, kind: embedding}
  # Needs OPENAI_API_KEY.
  - {name: gpt-4o-mini, kind: openai, model: gpt-4o-mini}
  # A third link, for the hardest items:
  # - {name: gpt-4o, kind: openai, model: gpt-4o}
  # A server of your own, vLLM (port 8000) or Ollama (port 11434):
  # - {name: vllm, kind: openai, model: Qwen/Qwen2.5-7B-Instruct, base_url: "http://localhost:8000/v1", price: free}
  # - {name: ollama, kind: openai, model: "llama3.1:8b", base_url: "http://localhost:11434/v1", price: free}

# Who keeps what: every link an equal share of the items, its surest ones.
policy: share
# Other shares, one for each link, that sum to 1.
# policy: {share: [0.75, 0.25]}

# An item's label: that of the link that was surest among all it saw (rank) ...
aggregate: rank
# ... or that of the link that kept it, often better where a later link is much better than those before.
# aggregate: last

# Settles ties.
seed: 0
"""
WHAT = {
    "text": ("what to label", "text: COLUMN"),
    "id": ("a distinct name for each row", "id: COLUMN"),
    "target": ("what the question is about: {{ target }} in it", "target: COLUMN"),
    "gold": ("the true label where known, for scores; models never see it", "gold: COLUMN"),
}


def task_text(guess: Guess, data: Path, out: Path) -> tuple[str, list[str]]:
    """Write a task about a data set, with a comment on each key.

    Args:
        guess: What the data hold.
        data: The data file, for the commands in the comments.
        out: The task file, for the same.

    Returns:
        The YAML text, and notes about what the user must look at.
    """
    labels, notes = _labels(guess)
    name = _name(data)
    target = " with regard to {{ target }}" if guess.columns.target else ""
    lines = [
        f"# A task made by catena init from a data set of {counted(guess.rows, 'row')}. Look it over, then check it, which asks each",
        "# link a few times and says the most that a run can cost, and run it; the same command resumes:",
        f"#   catena check {_shell(out)} {_shell(data)}",
        f"#   catena run {_shell(out)} {_shell(data)} --out runs/{name}",
        f"name: {scalar(name)}",
        "",
        "# The question that is asked about every text. Write your own; {{ COLUMN }} puts in a cell of the row.",
        f'instruction: "Which label fits this text best{target}?"',
        "",
        "# What may be answered. Say in a line what each label means: the models are told.",
        *[f"# Look: {note}." for note in notes],
        "labels:",
        *[_label_line(label) for label in labels],
        "",
        "# Which columns are what.",
        "data:",
        *_column_lines(guess.columns),
        "",
        CHAIN,
    ]
    return _parsed("\n".join(lines), out), notes


def preset_text(preset: str, guess: Guess | None, out: Path) -> tuple[str, list[str]]:
    """Write one of the paper's tasks; for a data set, with its columns and its spelling of the labels.

    Raises:
        InputError: The task asks about a target and the data set has no such column.
    """
    text = (files("catena.prompts") / "presets" / f"{preset}.yaml").read_text("utf-8")
    if guess is None:
        return text, []
    task = parse_task(text, preset)
    columns, notes = guess.columns, list(guess.notes)
    if task.data.target and not columns.target:
        raise InputError(
            f"The preset {preset} asks about a target, and the data have no column 'target' or 'topic'.",
            "Add a column 'target' that says in each row what the question is about.",
        )
    given = {look_of(value): value for value in reversed(guess.labels)}
    strange = [
        value for value in guess.labels if value != given[look_of(value)] or look_of(value) not in task.labels
    ]
    if strange:
        notes.append(
            f"gold values that are none of the labels {', '.join(task.labels)}: {_some(strange)}; so there is no gold"
        )
        columns = Columns(columns.text, columns.id, columns.target)
    elif columns.gold is None:
        notes.append("no column holds the labels, so there is no gold")
    else:
        for label in task.labels:
            text = text.replace(f"\n  {label}: ", f"\n  {scalar(given.get(label, label))}: ", 1)
    if not task.data.target:
        columns = Columns(columns.text, columns.id, None, columns.gold)
    named = [(key, getattr(columns, key)) for key in WHAT if getattr(columns, key) is not None]
    line = "data: {" + ", ".join(f"{key}: {scalar(column)}" for key, column in named) + "}"
    return _parsed(re.sub(r"(?m)^data: .*$", lambda _: line, text), out), notes


def scalar(value: str) -> str:
    r"""Return a text as YAML that is read back as this text.

    >>> print(scalar("topic"), scalar("yes"), scalar("a: b"), scalar("two\nlines"))
    topic "yes" "a: b" "two\nlines"
    """
    if PLAIN.fullmatch(value) and len(value) <= LONGEST_NAME and yaml.safe_load(value) == value:
        return value
    return "".join(
        c if c.isprintable() or c == "\\" else _escape(c) for c in json.dumps(value, ensure_ascii=False)
    )


def _escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _labels(guess: Guess) -> tuple[list[str], list[str]]:
    """Return labels that a task can have, and what is to be said about them."""
    labels, alike = distinguish(guess.labels)
    notes = list(guess.notes)
    if alike:
        notes.append(
            f"the gold column also holds {_some(alike)}, empty or equal to a label but for case or spaces: make them the same"
        )
    if len(labels) < 2:
        there = "only one label" if labels else "no labels"
        notes.append(f"the data show {there}; write yours here")
        labels += [name for name in ("label-1", "label-2") if name not in map(look_of, labels)][
            : 2 - len(labels)
        ]
    return labels, notes


def _label_line(label: str) -> str:
    key = scalar(label)
    return f'  {key}: ""' if len(key) <= LONGEST_KEY else f'  ? {key}\n  : ""'


def _column_lines(columns: Columns) -> list[str]:
    found = {key: getattr(columns, key) for key in WHAT}
    lines = {
        key: f"  {key}: {scalar(column)}" if column is not None else f"  # {WHAT[key][1]}"
        for key, column in found.items()
    }
    width = min(max(map(len, lines.values())), 40)
    return [f"{line:{width}}  # {WHAT[key][0]}" for key, line in lines.items()]


def _some(values: list[str]) -> str:
    """Name a few values in one line."""
    shown = ", ".join(scalar(value[:LONGEST_NAME]) for value in values[:5])
    return shown + (f" and {len(values) - 5:,} more" if len(values) > 5 else "")


def _name(data: Path) -> str:
    return re.sub(r"[^\w-]+", "-", data.name.split(".")[0])[:LONGEST_NAME].strip("-") or "task"


def _shell(path: Path) -> str:
    """Return a path as it is written in a command, within one line."""
    return shlex.quote(str(path)) if str(path).isprintable() else "FILE"


def _parsed(text: str, out: Path) -> str:
    """Return a text that is a valid task; anything else would be a fault of ours."""
    parse_task(text, str(out))
    return text
