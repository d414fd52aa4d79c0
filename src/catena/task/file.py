"""The task file, validated key by key."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from catena.aggregate import Calibrated
from catena.errors import InputError, TaskError
from catena.routing import Policy
from catena.task.spec import BudgetSpec, Columns, Draw, Learned, LinkSpec, Schedule, TaskSpec
from catena.task.words import convert
from catena.types import Example
from catena.yaml_text import read_yaml

__all__ = ["load_task", "look_of", "parse_task"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\s,/\\]+\Z")]

INVISIBLE = dict.fromkeys((
    0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF,
))  # fmt: skip
"""Characters that nobody sees: soft hyphen, zero-width space, marks of direction. Joiners shape what is seen, so not those."""


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


def look_of(label: str) -> str:
    """Return what a label is compared by: two labels may not be equal in it."""
    return unicodedata.normalize("NFC", label.translate(INVISIBLE)).strip().casefold()


def _labels(given: list[str] | dict[str, str | None], where: str) -> dict[str, str]:
    labels = dict.fromkeys(given, "") if isinstance(given, list) else {k: v or "" for k, v in given.items()}
    if len(labels) < len(given):
        twice = next(label for label, times in Counter(given).items() if times > 1)
        raise TaskError(f"{where}: labels: '{twice}' is there twice.", "Keep one of them.")
    if len(labels) < 2:
        raise TaskError(f"{where}: labels: at least two different labels are needed.")
    alike: dict[str, str] = {}
    for label in labels:
        if not (folded := look_of(label)):
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
    return "calibrated", convert(given, Learned, f"{where}: aggregate").calibrated
