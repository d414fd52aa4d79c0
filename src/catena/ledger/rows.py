"""Answers as ledger rows and back; every row carries a digest of itself."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from catena.confidence.block import calibrated
from catena.types import Answer, Failure, Usage, Vote

__all__ = [
    "INSERT_VOTE",
    "VOTE_COLUMNS",
    "Broken",
    "answer_from",
    "checksum",
    "counted",
    "digest",
    "vote_digest",
    "vote_row",
]

VOTE_COLUMNS = (
    "link, key, label, confidence, source, logprobs, text, calls, prompt_tokens, completion_tokens, cost_usd, "
    "latency_ms, model, reason, message, bounds"
)
INSERT_VOTE = f"INSERT OR REPLACE INTO votes ({VOTE_COLUMNS}, digest) VALUES ({', '.join('?' * 17)})"  # noqa: S608


class Broken(Exception):  # noqa: N818 - caught within this room
    """A row is not what was stored. Says which."""


_pack = msgspec.msgpack.Encoder().encode
_NONE = float("nan")


def digest(values: Sequence[Any]) -> bytes:
    """Return the checksum of a row's values, 8 bytes."""
    return blake2b(_pack(values), digest_size=8).digest()


def vote_digest(values: Sequence[Any]) -> bytes:
    """Return the checksum of a vote's columns; without bounds, which older ledgers don't have, as they have it."""
    return digest(values if values[-1] is not None else values[:-1])


def checksum(values: Sequence[Any]) -> int:
    """Return the checksum of a short row, 32 bits: it is met once for each item at each link, and must cost little."""
    return zlib.crc32(_pack(values))


def vote_row(link: int, key: bytes, answer: Answer) -> tuple[Any, ...]:
    """Return the columns of a vote or failure, its digest last."""
    usage = answer.usage
    used = (
        usage.calls,
        usage.prompt_tokens,
        usage.completion_tokens,
        _float(usage.cost_usd),
        float(usage.latency_ms),
        answer.model,
    )
    values: tuple[Any, ...]
    if isinstance(answer, Vote):
        logprobs = _pack_floats(answer.logprobs)
        values = (
            link,
            key,
            answer.label,
            _float(answer.confidence),
            answer.source,
            logprobs,
            answer.text,
            *used,
            None,
            None,
            _pack_floats([*answer.lower, *answer.upper]) if answer.lower and answer.upper else None,
        )
    else:
        values = (
            link,
            key,
            None,
            None,
            "none",
            None,
            answer.text,
            *used,
            answer.reason,
            answer.message,
            None,
        )
    return (*values, vote_digest(values))


def answer_from(row: Sequence[Any]) -> Answer:
    """Return the vote or failure of a row of `VOTE_COLUMNS`."""
    (
        _,
        _,
        label,
        confidence,
        source,
        logprobs,
        text,
        calls,
        prompt,
        completion,
        cost,
        latency,
        model,
        reason,
        message,
        bounds,
    ) = row
    usage = Usage(prompt, completion, cost, latency, calls)
    if label is None:
        return Failure(reason, message, text=text, usage=usage, model=model)
    lower, upper = _halves(bounds)
    return Vote(
        label, confidence, source, _unpack_floats(logprobs), text, usage, model, lower=lower, upper=upper
    )


def counted(row: Sequence[Any], mean: Mapping[str, float]) -> tuple[Any, ...]:
    """Return a row of `VOTE_COLUMNS` as it counts where its link's label distributions are divided by a mean one."""
    answer = answer_from(row)
    if not isinstance(answer, Vote):
        return tuple(row)
    return vote_row(row[0], row[1], calibrated(answer, mean))[:-1]


def _halves(bounds: bytes | None) -> tuple[Any, Any]:
    """Return the lower and the upper bounds, which are packed one after the other."""
    values = _unpack_floats(bounds)
    return (None, None) if values is None else (values[: len(values) // 2], values[len(values) // 2 :])


def _float(value: float | None) -> float | None:
    """Return what SQLite gives back for a number: NaN is null there, whole numbers are floats."""
    return None if value is None or value != value else float(value)  # noqa: PLR0124 - NaN


def _pack_floats(values: Sequence[float | None] | None) -> bytes | None:
    if values is None:
        return None
    return struct.pack(f"<{len(values)}d", *[_NONE if value is None else value for value in values])


def _unpack_floats(packed: bytes | None) -> tuple[float | None, ...] | None:
    if packed is None:
        return None
    values = struct.unpack(f"<{len(packed) // 8}d", packed)
    return tuple(None if value != value else value for value in values)  # noqa: PLR0124 - NaN
