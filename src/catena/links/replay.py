"""Recorded votes as a link: what was said once is said again, exactly."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from catena.data.votes import read_columns
from catena.errors import TaskError, places
from catena.links.identity import fingerprint
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import REASONS, Answer, Capabilities, Failure, Item, Usage, Vote

__all__ = ["ReplayLink", "open_link"]

MISSING = Failure("missing", "there is no recorded vote for this item")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `kind: replay`.

    Args:
        votes: Folder of a vote table.
        link: The link in it whose votes to replay; this link's own name unless said.
    """

    votes: str
    link: str | None = None


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "ReplayLink":
    """Build the link; see `registry.open_link`."""
    settings = convert(dict(spec.options), Settings, where)
    return ReplayLink(spec.name, settings, task, where)


class ReplayLink:
    """One link of a vote table. Votes belong to items by their id."""

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self._link = settings.link or name
        self.capabilities = Capabilities(
            "recorded", batch=1024, per_item=True, model=f"recorded {self._link}"
        )
        self._folder = Path(settings.votes)
        self._labels = tuple(task.labels)
        self._where = where
        self._votes: dict[str, Answer] | None = None
        self.fingerprint = fingerprint(name, "replay", task, votes=self._digest(), link=self._link)

    def _digest(self) -> str:
        """Return what changes when the recorded votes do, wherever the folder stands."""
        try:
            with (self._folder / "votes.parquet").open("rb") as file:
                return hashlib.file_digest(file, "blake2b").hexdigest()
        except OSError as error:
            raise TaskError(
                f"{self._where}: votes: {self._folder} is not a vote table: {error.strerror}.",
                "It needs a file votes.parquet.",
            ) from error

    def render(self, item: Item) -> str:
        """Return the item's id: recorded votes are about items, not about texts."""
        return item.id

    def most(self, prompt: str) -> Usage | None:
        """Return what was recorded, once the votes are loaded; nothing is bought now."""
        return self._votes.get(prompt, MISSING).usage if self._votes else Usage(cost_usd=0.0)

    def ready(self) -> None:
        """Load the votes; see `types.Link`."""
        if self._votes is None:
            self._votes = self._load()

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Look the votes up; see `types.Link`."""
        self.ready()
        assert self._votes is not None
        return [self._votes.get(prompt, MISSING) for prompt in prompts]

    async def close(self) -> None:
        """Forget the votes."""
        self._votes = None

    def _load(self) -> dict[str, Answer]:
        path = self._folder / "votes.parquet"
        table = read_columns(
            path, needed=["item_id", "link", "label", "confidence"], optional=list(_OPTIONAL)
        )
        rows = [row for batch in table.to_batches() for row in batch.to_pylist() if row["link"] == self._link]
        votes = {row["item_id"]: self._answer(row) for row in rows}
        if len(votes) < len(rows):
            twice = [item for item, count in Counter(row["item_id"] for row in rows).items() if count > 1]
            raise TaskError(f"{self._where}: {path} has more than one vote for: {places(twice)}.")
        if not votes:
            raise TaskError(
                f"{self._where}: {path} has no votes of a link '{self._link}'.",
                "Name one that it has: link: NAME",
            )
        return votes

    def _answer(self, row: dict[str, Any]) -> Answer:
        usage = Usage(
            int(_number(row, "prompt_tokens") or 0),
            int(_number(row, "completion_tokens") or 0),
            _number(row, "cost_usd"),
            _number(row, "latency_ms") or 0.0,
        )
        label = None if row.get("label") is None else str(row["label"])
        if label not in self._labels:
            error = row.get("error") or (
                f"recorded {label!r}, which is no label" if label else "a failure was recorded"
            )
            reason, _, message = error.partition(": ")
            known = reason in REASONS and message
            said = " ".join((message if known else error).split())
            return Failure(reason if known else "no_label", said, usage=usage)
        confidence = row.get("confidence")
        if confidence is not None and math.isnan(confidence):
            confidence = None
        logprobs, lower, upper = (_list(row, name) for name in _LISTS)
        return Vote(
            label,
            confidence,
            row.get("confidence_source") or ("recorded" if confidence is not None else "none"),
            logprobs,
            usage=usage,
            model=self._link,
            lower=lower,
            upper=upper,
        )


def _list(row: Mapping[str, Any], name: str) -> tuple[Any, ...] | None:
    """Return a cell's list."""
    values = row.get(name)
    return None if values is None else tuple(values)


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a cell's number, None where it is missing or not finite."""
    value: float | None = row.get(name)
    return None if value is None or not math.isfinite(value) else value


_LISTS = ("label_logprobs", "label_lower", "label_upper")
_OPTIONAL = (
    *_LISTS, "cost_usd", "prompt_tokens", "completion_tokens", "latency_ms",
    "confidence_source", "error",
)  # fmt: skip
