"""Anthropic's Message Batches: all questions in one request, answers as lines once the batch has ended.

A batch there carries no name of ours, but every custom_id in it begins with its shard's. They can be read when it has
ended: so a batch that may be the one of a shard is waited for, before it is taken or another one is made.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from catena.links.batch import (
    CLOCKS_APART,
    DOWNLOAD_SECONDS,
    UPLOAD_SECONDS,
    BatchEndpoint,
    BatchProgress,
    Limits,
    Result,
    Sent,
    file_pieces,
    key_of,
    lines,
)
from catena.links.client import GoneError, Reply
from catena.types import Failure

__all__ = ["AnthropicBatches"]

LIMITS = Limits(100_000, 256_000_000)
MOST_LOOKED_AT = 100  # of the results of a batch that may be another's
HEAD, TAIL = b'{"requests":[', b"]}"
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Counts(msgspec.Struct, gc=False):
    """How many requests are in which state; together all."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def done(self) -> int:
        """How many are no longer worked on."""
        return self.succeeded + self.errored + self.canceled + self.expired


class Batch(msgspec.Struct, gc=False):
    """A batch as the server describes it."""

    id: str
    processing_status: str
    request_counts: Counts
    created_at: str = ""
    cancel_initiated_at: str | None = None
    archived_at: str | None = None

    @property
    def created(self) -> float:
        """Seconds since 1970; without end where it is not told."""
        with contextlib.suppress(ValueError, OverflowError):
            return dt.datetime.fromisoformat(self.created_at).timestamp()
        return float("inf")


class Page(msgspec.Struct, gc=False):
    """A page of the list of batches, newest first."""

    data: list[Batch]
    has_more: bool = False
    last_id: str | None = None


class Outcome(msgspec.Struct, gc=False):
    """What became of one request."""

    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class Line(msgspec.Struct, gc=False):
    """One line of the results."""

    custom_id: str
    result: Outcome


class AnthropicBatches(BatchEndpoint):
    """A link's batches."""

    most = LIMITS

    @cached_property
    def _others(self) -> set[tuple[str, str]]:
        """Shards, and batches that are not theirs."""
        return set()

    @property
    def _url(self) -> str:
        return f"{self._base}/messages/batches"

    def line(self, custom_id: str, prompt: str) -> bytes:
        """Return a prompt's line; see `Batching`."""
        return _encode({"custom_id": custom_id, "params": self._question(prompt)})

    async def submit(self, sent: Sent) -> str:
        """Send the questions; see `Batching`."""
        # Every line ends with a newline: a comma takes its place but for the last one, so the size is known.
        size = len(HEAD) + sent.path.stat().st_size - 1 + len(TAIL)

        def add(request: Any) -> Any:
            return request.header("content-length", str(size)).body_stream(_body(sent, size))

        reply = await self._client.upload(self._url, UPLOAD_SECONDS, add)
        return self._client.decoded(reply, _batch).id

    async def find(self, sent: Sent, known: Collection[str] = ()) -> str | None:
        """Look through the batches of the right size that are not older than the shard; see `Batching`.

        Waits for those that are under way, since only results tell whose they are.
        """
        async for batch in self._list(sent):
            if batch.request_counts.processing + batch.request_counts.done != sent.count:
                continue
            if batch.archived_at or batch.id in known or (sent.shard, batch.id) in self._others:
                continue
            with contextlib.suppress(GoneError):  # what has been deleted can't be told, nor harvested
                if await self._is(batch, sent):
                    return batch.id
            self._others.add((sent.shard, batch.id))  # another shard's for ever
        return None

    async def _list(self, sent: Sent) -> AsyncIterator[Batch]:
        after: dict[str, str | int] = {}
        while True:
            page = await self._page({"limit": 100, **after})
            for batch in page.data:
                if batch.created < sent.began - CLOCKS_APART:
                    return
                yield batch
            if not page.has_more or not page.last_id:
                return
            after = {"after_id": page.last_id}

    async def _page(self, query: Mapping[str, str | int]) -> Page:
        return self._client.decoded(await self._client.get(self._url, query), _page)

    async def _is(self, batch: Batch, sent: Sent) -> bool:
        while batch.processing_status != "ended":
            await asyncio.sleep(self.poll)
            batch = await self._batch(batch.id)
        looked_at = 0
        async with contextlib.aclosing(self.results(batch.id)) as results:
            async for result in results:
                if key_of(sent.shard, result.custom_id) is not None:
                    return True
                looked_at += 1
                if looked_at == MOST_LOOKED_AT:
                    break
        return False

    async def progress(self, remote: str) -> BatchProgress:
        """Say how a batch is; see `Batching`."""
        try:
            batch = await self._batch(remote)
        except GoneError as gone:
            await self._page({"limit": 1})  # raises where it is the address that is wrong
            return BatchProgress("lost", str(gone))
        return BatchProgress(
            "ended" if batch.processing_status == "ended" else "working",
            batch.processing_status,
            batch.request_counts.done,
            batch.cancel_initiated_at is not None,
        )

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """Yield the lines of the results; see `Batching`."""
        async with self._client.download(f"{self._url}/{remote}/results", DOWNLOAD_SECONDS) as pieces:
            async for line in lines(pieces):
                yield self._result(self._client.hide(line))

    async def cancel(self, remote: str) -> None:
        """Ask to cancel a batch; see `Batching`."""
        self._client.found(await self._client.post(f"{self._url}/{remote}/cancel", b""), _batch)

    async def _batch(self, remote: str) -> Batch:
        return self._client.found(await self._client.get(f"{self._url}/{remote}"), _batch)

    def _result(self, line: bytes) -> Result:
        try:
            found = _line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Result(None, "errored")
        name, result = found.custom_id, found.result
        if result.type == "succeeded":
            return Result(name, "answered", self._read(bytes(result.message)))
        ends: dict[str, Literal["expired", "cancelled"]] = {"expired": "expired", "canceled": "cancelled"}
        if result.type in ends:
            return Result(name, ends[result.type])
        return Result(name, "errored", self._errored(bytes(result.error)))

    def _errored(self, error: bytes) -> Failure:
        try:
            kind = _error(error)["error"]["type"]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
            kind = "api_error"
        return self._client.failure(Reply(STATUSES.get(kind, 500), error, lambda _: None))


async def _body(sent: Sent, size: int) -> AsyncIterator[bytes]:
    left = size - len(HEAD) - len(TAIL)
    yield HEAD
    for piece in file_pieces(sent.path):
        kept = piece[:left].replace(b"\n", b",")
        left -= len(kept)
        yield kept
    yield TAIL


_encode = msgspec.json.Encoder().encode
_batch = msgspec.json.Decoder(Batch).decode
_page = msgspec.json.Decoder(Page).decode
_line = msgspec.json.Decoder(Line).decode
_error = msgspec.json.Decoder(dict[str, Any]).decode
