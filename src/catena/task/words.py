"""Plain data as structs; what is wrong with it is said in our words, the key first, with the nearest known one."""

import difflib
import re
from typing import Any, TypeVar

import msgspec

from catena.errors import TaskError
from catena.routing import Policy
from catena.task.spec import BudgetSpec, Columns, Learned

__all__ = ["convert"]

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
    if to in (Policy, Learned):
        return "catena plan ... --task FILE writes it." if "$." in message else POLICIES
    inner = Columns if "$.data" in message else BudgetSpec if "$.budget" in message else to
    known = [field.encode_name for field in msgspec.structs.fields(inner)]
    near = difflib.get_close_matches(unknown[1], known, 1)
    return f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(known)}."
