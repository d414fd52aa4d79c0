"""OpenAI's Batch API: a file of questions is uploaded, becomes a batch, and ends as a file of answers and one of errors."""

from collections.abc import AsyncGenerator, Collection, Mapping
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
    lines,
)
from catena.links.client import GoneError, Reply
from catena.types import Failure

__all__ = ["OpenAIBatches"]

LIMITS = Limits(50_000, 200_000_000)
ENDPOINT = "/v1/chat/completions"
NAME = "catena_shard"
ENDED = frozenset({"completed", "expired", "cancelled"})
NOT_DONE: dict[str, Literal["expired", "cancelled"]] = {
    "batch_expired": "expired",
    "batch_cancelled": "cancelled",
}


class File(msgspec.Struct, gc=False):
    """An uploaded file."""

    id: str


class Counts(msgspec.Struct, gc=False):
    """How many requests have been worked on."""

    completed: int = 0
    failed: int = 0


class Fault(msgspec.Struct, gc=False):
    """What is wrong with a file, or with one request."""

    code: str | int | None = None
    message: str | None = None
    line: int | None = None


class Faults(msgspec.Struct, gc=False):
    """What is wrong with a file."""

    data: list[Fault] | None = None


class Batch(msgspec.Struct, gc=False):
    """A batch as the server describes it."""

    id: str
    status: str
    created_at: float = 0.0
    metadata: dict[str, Any] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Counts | None = None
    errors: Faults | None = None


class Page(msgspec.Struct, gc=False):
    """A page of the list of batches, newest first."""

    data: list[Batch]
    has_more: bool = False


class Response(msgspec.Struct, gc=False):
    """The answer to one request."""

    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class Line(msgspec.Struct, gc=False):
    """One line of a file of answers or errors."""

    custom_id: str
    response: Response | None = None
    error: Fault | None = None


class OpenAIBatches(BatchEndpoint):
    """A link's batches."""

    most = LIMITS

    @cached_property
    def _files(self) -> dict[str, str]:
        """The files of shards that are not batches yet."""
        return {}

    def line(self, custom_id: str, prompt: str) -> bytes:
        """Return a prompt's line; see `Batching`."""
        body = self._question(prompt)
        return _encode({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body})

    async def submit(self, sent: Sent) -> str:
        """Upload the file unless that is done, and make its batch; see `Batching`."""
        if sent.shard not in self._files:
            self._files[sent.shard] = await self._upload(sent)
        request = {
            "input_file_id": self._files[sent.shard],
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {NAME: sent.shard},
        }
        reply = await self._client.post(f"{self._base}/batches", _encode(request))
        batch = self._client.decoded(reply, _batch)
        del self._files[sent.shard]
        return batch.id

    async def _upload(self, sent: Sent) -> str:
        from pyreqwest.multipart import FormBuilder, PartBuilder  # noqa: PLC0415 - only needed here

        part = (
            (await PartBuilder.from_file(sent.path))
            .file_name(f"{sent.shard}.jsonl")
            .mime("application/jsonl")
        )
        form = FormBuilder().text("purpose", "batch").part("file", part)
        url = f"{self._base}/files"
        reply = await self._client.upload(url, UPLOAD_SECONDS, lambda request: request.multipart(form))
        return self._client.decoded(reply, _file).id

    async def find(self, sent: Sent, known: Collection[str] = ()) -> str | None:  # noqa: ARG002 - metadata tell
        """Look for the shard's name among the batches that are not older than it; see `Batching`."""
        after: dict[str, str | int] = {}
        while True:
            page = await self._page({"limit": 100, **after})
            for batch in page.data:
                if (batch.metadata or {}).get(NAME) == sent.shard:
                    return batch.id
            if not page.has_more or not page.data or page.data[-1].created_at < sent.began - CLOCKS_APART:
                return None
            after = {"after": page.data[-1].id}

    async def _page(self, query: Mapping[str, str | int]) -> Page:
        return self._client.decoded(await self._client.get(f"{self._base}/batches", query), _page)

    async def progress(self, remote: str) -> BatchProgress:
        """Say how a batch is; see `Batching`."""
        try:
            batch = await self._batch(remote)
        except GoneError as gone:
            await self._page({"limit": 1})  # raises where it is the address that is wrong
            return BatchProgress("lost", str(gone))
        counts = batch.request_counts or Counts()
        return BatchProgress(
            "failed" if batch.status == "failed" else "ended" if batch.status in ENDED else "working",
            batch.status,
            counts.completed + counts.failed,
            batch.status in {"cancelling", "cancelled"},
            _complaint(batch),
        )

    async def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """Yield the lines of both files; see `Batching`."""
        batch = await self._batch(remote)
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            url = f"{self._base}/files/{file}/content"
            async with self._client.download(url, DOWNLOAD_SECONDS) as pieces:
                async for line in lines(pieces):
                    yield self._result(self._client.hide(line))

    async def cancel(self, remote: str) -> None:
        """Ask to cancel a batch; see `Batching`."""
        self._client.found(await self._client.post(f"{self._base}/batches/{remote}/cancel", b""), _batch)

    async def _batch(self, remote: str) -> Batch:
        return self._client.found(await self._client.get(f"{self._base}/batches/{remote}"), _batch)

    def _result(self, line: bytes) -> Result:
        try:
            found = _line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Result(None, "errored")
        error, response = found.error, found.response
        if response is None or error is not None:
            code, message = (str(error.code or ""), error.message or "") if error else ("", "")
            if code in NOT_DONE:
                return Result(found.custom_id, NOT_DONE[code])
            said = " ".join(f"{code} {message}".split())[:200]
            return Result(
                found.custom_id, "errored", Failure("server", f"in a batch: {said}", retryable=True)
            )
        body = bytes(response.body)
        if response.status_code != 200:
            reply = Reply(response.status_code, body, lambda _: None)
            return Result(found.custom_id, "errored", self._client.failure(reply))
        return Result(found.custom_id, "answered", self._read(body))


def _complaint(batch: Batch) -> str:
    found = (batch.errors and batch.errors.data) or []
    said = [
        f"{f'line {fault.line}: ' if fault.line else ''}{fault.message or fault.code}" for fault in found[:3]
    ]
    return "; ".join(" ".join(each.split())[:200] for each in said)


_encode = msgspec.json.Encoder().encode
_file = msgspec.json.Decoder(File).decode
_batch = msgspec.json.Decoder(Batch).decode
_page = msgspec.json.Decoder(Page).decode
_line = msgspec.json.Decoder(Line).decode
