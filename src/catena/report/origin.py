"""What is needed to do a run again: the task, the questions, versions, prices, fingerprints. Never a key."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from catena import __version__
from catena.engine.results import LABELS_FILE, labels_digest
from catena.errors import CatenaError
from catena.ledger import Ledger
from catena.links import open_link
from catena.links.price import find_price
from catena.task import LinkSpec, TaskSpec

__all__ = ["hidden", "origin"]

SECRET = re.compile(
    r"api[-_]?key$|secret|password|passwd|authorization|bearer|(?:access|auth)[-_]?token", re.IGNORECASE
)
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
SHORTEST_KEY = 8
HIDDEN = "[hidden]"
MOST_TASK = 200_000
MOST_NAMES = 20
PACKAGES = ("numpy", "pyarrow", "genai-prices", "altair", "vl-convert-python", "torch", "transformers")


def origin(ledger: Ledger, task: TaskSpec) -> dict[str, Any]:
    """Return task, questions, versions, prices and fingerprints, with whatever may be a key hidden."""
    numbers, said = ledger.links(), ledger.said_by()
    text = yaml.safe_dump(_told(task), sort_keys=False, allow_unicode=True, width=110)
    finished, labels = ledger.get("finished"), labels_digest(ledger.folder / LABELS_FILE)
    return {
        "task": text if len(text) <= MOST_TASK else f"{text[:MOST_TASK]}\n# ... cut here",
        "source": ledger.get("source"),
        "columns": ledger.get("columns"),
        "rows": ledger.items_count(),
        "seed": task.seed,
        "made_by": ledger.get("version"),
        "versions": {"catena": __version__, "python": platform.python_version(), **_versions()},
        "questions": ledger.get("template"),
        "decision": finished,
        "labels": labels,
        "labels_as_written": None if finished is None or labels is None else ledger.get("labels") in (labels, None),
        "links": [_link(ledger, task, spec, numbers[spec.name], said) for spec in task.chain if spec.name in numbers],
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _link(
    ledger: Ledger,
    task: TaskSpec,
    spec: LinkSpec,
    known: tuple[int, bytes],
    said: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    number, fingerprint = known
    mine = said.get(number, {"model": [], "source": []})
    return {
        "link": spec.name,
        "kind": spec.kind,
        "model": ledger.model(number),
        "fingerprint": fingerprint.hex(),
        "models": mine["model"][:MOST_NAMES],
        "sources": mine["source"][:MOST_NAMES],
        "price": _price(spec),
        "options": _without_keys(dict(spec.options)),
        "question": _question(ledger, task, spec),
    }


def _price(spec: LinkSpec) -> dict[str, Any] | None:
    """Return USD per million tokens: the task's, or what the price list says today."""
    given = spec.options.get("price")
    if given == "free" or isinstance(given, Mapping):
        return {"from": "the task", "free": given == "free", **(given if isinstance(given, Mapping) else {})}
    if spec.kind not in {"openai", "anthropic"}:
        return None
    try:
        model, address = str(spec.options.get("model")), spec.options.get("base_url")
        price = find_price(None, model, address, spec.name, spec.kind)
    except CatenaError:
        return None
    return {"from": "the price list of today", "free": False, **msgspec.to_builtins(price)}


def _question(ledger: Ledger, task: TaskSpec, spec: LinkSpec) -> str | None:
    """Return what the link was asked about the first row, where it is asked in words."""
    if spec.kind == "replay" or not ledger.items_count():
        return None
    try:
        return open_link(spec, task).render(ledger.items([0])[0])
    except (
        CatenaError,
        OSError,
        ImportError,
    ):  # its files or packages are elsewhere: the task says all the same
        return None


def _told(task: TaskSpec) -> dict[str, Any]:
    """Return a task as its file says it."""
    told: dict[str, Any] = msgspec.to_builtins(task)
    told["chain"] = [
        {"name": link["name"], "kind": link["kind"], **link["options"]} for link in told["chain"]
    ]
    calibrated = told.pop("calibrated")
    if task.aggregate == "calibrated":
        told["aggregate"] = {"calibrated": calibrated}
    if not told["policy"]:
        told["policy"] = "share"
    empty = [key for key, value in told.items() if value is None or value in ([], {})]
    kept = {key: value for key, value in told.items() if key not in empty}
    kept["data"] = {key: value for key, value in kept["data"].items() if value is not None}
    cleaned: dict[str, Any] = _without_keys(kept)
    return cleaned


def _without_keys(value: Any) -> Any:
    """Return plain data without what a name says is a key, and without credentials in addresses."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if SECRET.search(str(key)) and isinstance(each, str) else _without_keys(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_keys(each) for each in value]
    return CREDENTIALS.sub(f"{HIDDEN}@", value) if isinstance(value, str) else value


def hidden(text: str, task: TaskSpec) -> str:
    """Return a text without the keys that the links of a task take from the environment, whoever wrote them there."""
    names = {str(link.options.get("api_key_env") or "") for link in task.chain} | set(KEYS)
    for name in names:
        key = os.environ.get(name, "")
        if len(key) >= SHORTEST_KEY:
            text = text.replace(key, HIDDEN)
    return text
