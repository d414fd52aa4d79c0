"""The task file: what to ask, about which columns, of which links, and how to decide. Validated, key by key."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from catena.aggregate import Calibrated, Judge
from catena.errors import InputError, TaskError
from catena.routing import Policy
from catena.types import Example
from catena.yaml_text import read_yaml

__all__ = ["BudgetSpec", "Columns", "Draw", "LinkSpec", "TaskSpec", "convert", "load_task", "parse_task"]

T = TypeVar("T")

POLICIES = "Write policy: share, agree, {share: [0.8, 0.2]}, {threshold: [0.9]} or {agree: 2}."

WORDS = (
    (r"`array` of length >= 1\b", "a list with at least one entry"),
    (r"`str` of length >= 1\b", "text that is not empty"),
    (r"of length <= (\d+)", r"of at most \1 characters"),
    (r"\barray\b", "a list"),
    (r"\bobject\b", "a mapping"),
    (r"\bstr\b", "text"),
    (r"\bint\b", "a whole number"),
    (r"\bfloat\b", "a number"),
    (r"\bbool\b", "true or false"),
    (r"\bnull\b", "nothing"),
    (r" \| ", " or "),
    (r"`", ""),
)
"""msgspec's words, and ours."""

Schedule = Literal["pipelined", "sequential"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\s,/\\]+\Z")]


INVISIBLE = dict.fromkeys((
    0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF,
))  # fmt: skip
"""Characters that nobody sees: soft hyphen, zero-width space, marks of direction. Joiners shape what is seen, so not those."""


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which columns of the data are what.

    Args:
        text: The text to label.
        id: A distinct name for every row; without it rows are numbered from 1.
        target: What the question is about, `{{ target }}` in templates.
        gold: The true label where known; an empty cell means unknown.
    """

    text: str = "text"
    id: str | None = None
    target: str | None = None
    gold: str | None = None


class BudgetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a whole run may use, earlier parts and retries included.

    Args:
        usd: US dollars.
        tokens: Tokens of prompts and answers.
        calls: Calls.
    """

    usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    calls: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which rows of a file become examples. The task's columns are meant, `gold` among them.

    Args:
        file: The file (`from` in task files); it may be the data file.
        count: How many examples.
        draw: `balanced`: the labels have equally many, rare ones too; `random`: any rows with gold; `nearest`: for each
            row the most similar ones, as many of each label.
        seed: Which ones. Not the task's: that may change without another question being asked.
        model: What says how similar texts are, with `nearest`; as `model` of links of `kind: embedding`.
    """

    file: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="from")
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    draw: Literal["balanced", "random", "nearest"] = "balanced"
    seed: int = 0
    model: Annotated[str, msgspec.Meta(min_length=1)] = "all-MiniLM-L6-v2"


class LinkSpec(msgspec.Struct, frozen=True):
    """One entry of `chain`: the options are checked by the link's own kind."""

    name: str
    kind: str
    options: Mapping[str, Any] = {}


class TaskSpec(msgspec.Struct, frozen=True):
    """A whole task, validated.

    Args:
        name: What to call it.
        instruction: The question; a template over the row's columns.
        labels: Descriptions (may be empty) by label, in order.
        data: Which columns are what.
        chain: The links in order, usually cheap to dear.
        policy: Which link keeps an item; equal shares (the paper's) unless said.
        aggregate: `rank` (the paper's), `last`, `minmax` or `calibrated`.
        calibrated: What the aggregate `calibrated` has learned; also what `rank_by: calibrated` ranks by.
        seed: Settles ties.
        prompt: Template of the whole question, where the default one does not do.
        system: System message, where there is one.
        max_chars: A longer text is a failed row, without a call.
        budget: What the run may use; None for no cap.
        abstain: What models may answer instead of a label; None where they must name one.
        examples: What models are shown beside each question, or where it is drawn from.
        schedule: `pipelined`: all links work at the same time; `sequential`: one after another, each freed before the
            next is loaded. The labels are the same.
    """

    name: str
    instruction: str
    labels: Mapping[str, str]
    data: Columns
    chain: tuple[LinkSpec, ...]
    policy: Policy = Policy()
    aggregate: Literal["rank", "last", "minmax", "calibrated"] = "rank"
    calibrated: Calibrated | None = None
    seed: int = 0
    prompt: str | None = None
    system: str | None = None
    max_chars: int = 200_000
    budget: BudgetSpec | None = None
    abstain: str | None = None
    examples: tuple[Example, ...] | Draw = ()
    schedule: Schedule = "pipelined"

    def judge(self) -> Judge:
        """Return the policy with what it ranks by.

        Raises:
            InputError: They don't fit each other.
        """
        names = [link.name for link in self.chain]
        return Judge(self.policy, names, list(self.labels), self.calibrated)


class _Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An aggregate with what it has learned."""

    calibrated: Calibrated


class _Link(msgspec.Struct, frozen=True):
    name: Name
    kind: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instruction: Annotated[str, msgspec.Meta(min_length=1)]
    labels: list[str] | dict[str, str | None]
    chain: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    name: Name = "task"
    data: Columns = Columns()
    policy: Literal["share", "agree"] | dict[str, Any] = "share"
    aggregate: Literal["rank", "last", "minmax"] | dict[str, Any] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)] = 0
    prompt: str | None = None
    system: str | None = None
    max_chars: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = 200_000
    budget: BudgetSpec | None = None
    abstain: str | None = None
    examples: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)] | dict[str, Any] | None = None
    schedule: Schedule = "pipelined"


def load_task(path: Path) -> TaskSpec:
    """Read and validate a task file.

    Raises:
        TaskError: The file can't be read or a key is wrong; the message names the file, the key and the fix.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TaskError(
            f"{path}: can't read the task file: {reason}.", "Write one with: catena init DATA"
        ) from error
    return parse_task(text, str(path))


def parse_task(text: str, where: str = "task") -> TaskSpec:
    """Validate a task given as YAML text; `where` begins every message.

    Raises:
        TaskError: A key is wrong.
    """
    given = convert(read_yaml(text, where), _File, where)
    labels = _labels(given.labels, where)
    _check_abstain(given.abstain, labels, where)
    chain = _chain(given.chain, where)
    policy = _policy(given.policy, chain, labels, where)
    usual = "last" if chain[-1].kind == "human" else policy.usual_aggregate  # people have the last word
    aggregate, calibrated = _aggregate(given.aggregate or usual, where)
    return TaskSpec(
        name=given.name,
        instruction=given.instruction,
        labels=labels,
        data=given.data,
        chain=chain,
        policy=policy,
        aggregate=aggregate,
        calibrated=calibrated,
        seed=given.seed,
        prompt=given.prompt,
        system=given.system,
        max_chars=given.max_chars,
        budget=given.budget,
        abstain=given.abstain,
        examples=_examples(given.examples, labels, given.data, where),
        schedule=given.schedule,
    )


def convert(value: Any, to: type[T], where: str, *, strict: bool = True) -> T:
    """Convert plain data to a struct; an unknown or wrong key is a TaskError that names it and the nearest known one.

    Args:
        value: Plain data, as from YAML.
        to: A msgspec struct type.
        where: Begins the message, for example `task.yaml: chain[0]`.
        strict: Whether a number that is written as text is none.
    """
    try:
        return msgspec.convert(value, to, strict=strict)
    except msgspec.ValidationError as error:
        raise TaskError(f"{where}: {_explain(str(error))}", _nearest(str(error), to)) from error


def _explain(message: str) -> str:
    """Turn msgspec's wording into ours: the key first."""
    what, _, path = message.partition(" - at `")
    if path.startswith("key` in"):
        what = "Every key must be text: put it in quotes"
    path = re.sub(r"^(key` in `)?\$\.?", "", path.rstrip("`"))
    unknown = re.match(r"Object contains unknown field `(.*)`", what)
    missing = re.match(r"Object missing required field `(.+)`", what)
    inside = f"{path}: " if path else ""
    if unknown:
        return f"{inside}unknown key '{unknown[1]}'."
    if missing:
        return f"{inside}the key '{missing[1]}' is missing."
    if "regex" in what:
        what = "a name can't contain spaces, commas or slashes"
    if "enum value" in what:
        what = what.replace("Invalid enum value", "unknown choice")
    for pattern, ours in WORDS:
        what = re.sub(pattern, ours, what)
    return f"{inside}{what[0].lower()}{what[1:].rstrip('.')}."


def _nearest(message: str, to: type) -> str:
    if "$.aggregate" in message:
        return "Write aggregate: rank, or aggregate: last. catena plan makes {calibrated: ...}."
    if "$.policy" in message and "key` in" not in message:
        return POLICIES
    if "Expected `str`, got `" in message and "got `object`" not in message and "got `array`" not in message:
        return "Put it in quotes."
    unknown = re.search(r"unknown field `(.*?)`", message)
    if not unknown:
        return ""
    if to in (Policy, _Learned):
        return "catena plan ... --task FILE writes it." if "$." in message else POLICIES
    inner = Columns if "$.data" in message else BudgetSpec if "$.budget" in message else to
    known = [field.encode_name for field in msgspec.structs.fields(inner)]
    near = difflib.get_close_matches(unknown[1], known, 1)
    return f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(known)}."


def _labels(given: list[str] | dict[str, str | None], where: str) -> dict[str, str]:
    labels = dict.fromkeys(given, "") if isinstance(given, list) else {k: v or "" for k, v in given.items()}
    if len(labels) < len(given):
        twice = next(label for label, times in Counter(given).items() if times > 1)
        raise TaskError(f"{where}: labels: '{twice}' is there twice.", "Keep one of them.")
    if len(labels) < 2:
        raise TaskError(f"{where}: labels: at least two different labels are needed.")
    alike: dict[str, str] = {}
    for label in labels:
        folded = unicodedata.normalize("NFC", label.translate(INVISIBLE)).strip().casefold()
        if not folded:
            raise TaskError(f"{where}: labels: a label is empty.")
        if folded in alike:
            raise TaskError(
                f"{where}: labels: '{alike[folded]}' and '{label}' differ only in case, spaces or what is not seen.",
                "An answer could not tell them apart; rename one.",
            )
        alike[folded] = label
    return labels


def _check_abstain(word: str | None, labels: Mapping[str, str], where: str) -> None:
    if word is None:
        return
    if not word.strip():
        raise TaskError(f"{where}: abstain: it is empty.", "Write a word, such as unclear, or leave it out.")
    try:
        _labels([*labels, word], where)
    except TaskError as error:
        raise TaskError(
            f"{where}: abstain: '{word}' is a label, or as good as one.", "Write another word."
        ) from error


def _chain(given: list[dict[str, Any]], where: str) -> tuple[LinkSpec, ...]:
    links: list[LinkSpec] = []
    for at, entry in enumerate(given):
        place = f"{where}: chain[{at}]"
        link = convert(entry, _Link, place)
        if link.name in {other.name for other in links}:
            raise TaskError(
                f"{place}: the name '{link.name}' is taken.", "Every link needs a name of its own."
            )
        links.append(
            LinkSpec(link.name, link.kind, {k: v for k, v in entry.items() if k not in {"name", "kind"}})
        )
    return tuple(links)


def _examples(
    given: list[dict[str, Any]] | dict[str, Any] | None, labels: Mapping[str, str], data: Columns, where: str
) -> tuple[Example, ...] | Draw:
    if given is None:
        return ()
    if isinstance(given, dict):
        draw = convert(given, Draw, f"{where}: examples", strict=False)
        if data.gold is None:
            raise TaskError(
                f"{where}: examples: their labels are in no column.", "Name it: data: {gold: COLUMN}."
            )
        if draw.draw == "balanced" and draw.count < len(labels):
            raise TaskError(
                f"{where}: examples: {draw.count} can't show each of {len(labels)} labels.",
                "Raise count, or draw: random.",
            )
        return draw
    examples = [convert(each, Example, f"{where}: examples[{at}]") for at, each in enumerate(given)]
    for at, example in enumerate(examples):
        if example.label not in labels:
            raise TaskError(
                f"{where}: examples[{at}]: '{example.label}' is no label.", f"Labels: {', '.join(labels)}."
            )
        if not example.text.strip():
            raise TaskError(f"{where}: examples[{at}]: its text is empty.")
    return tuple(examples)


def _policy(
    given: str | dict[str, Any], chain: Sequence[LinkSpec], labels: Mapping[str, str], where: str
) -> Policy:
    if isinstance(given, str):
        given = {"agree": 2} if given == "agree" else {}
    policy = convert(given, Policy, f"{where}: policy")
    if policy.share is not None:
        policy = msgspec.structs.replace(policy, share=tuple(map(str, policy.share)))
    try:
        policy.check([link.name for link in chain], list(labels))
    except InputError as error:
        raise TaskError(f"{where}: {error.message}", error.hint) from error
    return policy


def _aggregate(given: Any, where: str) -> tuple[Any, Calibrated | None]:
    if isinstance(given, str):
        return given, None
    return "calibrated", convert(given, _Learned, f"{where}: aggregate").calibrated
