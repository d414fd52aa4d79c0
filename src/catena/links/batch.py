"""What links with batch endpoints promise: questions go out in files, answers come back within a day, at half price."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec

from catena.links.address import AddressOptions
from catena.links.client import Client
from catena.links.price import Price
from catena.types import Answer, Link

__all__ = [
    "BatchEndpoint",
    "BatchOptions",
    "BatchProgress",
    "Batching",
    "Limits",
    "Result",
    "Sent",
    "batching_of",
    "custom_id",
    "file_pieces",
    "half",
    "key_of",
    "lines",
    "renamed",
]

LONGEST_LINE = 64 << 20

UPLOAD_SECONDS = DOWNLOAD_SECONDS = 3600.0
CLOCKS_APART = 86_400.0
"""Seconds that our clock may be behind the provider's when batches are told apart by their age."""


class BatchOptions(AddressOptions, frozen=True, kw_only=True):
    """The options of links with `mode: batch`.

    Args:
        mode: `call` asks one by one, `batch` through the batch endpoint at half the price.
        poll: Most seconds between two looks at a batch.
        shard: Most questions in a batch; as many as the provider takes unless said.
        batches: Most batches under way at a time.
    """

    mode: Literal["call", "batch"] = "call"
    poll: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    shard: Annotated[int, msgspec.Meta(ge=1)] | None = None
    batches: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 8


class Limits(msgspec.Struct, frozen=True):
    """What one batch may hold."""

    requests: int
    bytes: int


class Sent(msgspec.Struct, frozen=True):
    """A file of questions that becomes one batch.

    Args:
        shard: Its name, 24 hex digits drawn at random when it was begun. Every custom_id in it begins with the name, so
            that a batch can be told from all others wherever one sees its metadata or its results.
        path: One request a line.
        count: How many.
        began: Seconds since 1970; no batch of it can be older.
    """

    shard: str
    path: Path
    count: int
    began: float


class BatchProgress(msgspec.Struct, frozen=True):
    """What a provider says of a batch.

    Args:
        state: `working`; `ended`: there are results, though perhaps not of all; `failed`: there are none and nothing is
            paid; `lost`: the provider does not know it, though it may have been paid.
        said: The provider's own word for it.
        done: How many requests have been worked on, as far as it tells.
        cancelled: Whether somebody has asked to cancel it.
        message: Why it failed.
    """

    state: Literal["working", "ended", "failed", "lost"]
    said: str
    done: int = 0
    cancelled: bool = False
    message: str = ""


class Result(msgspec.Struct, frozen=True):
    """One line of a batch's results.

    Args:
        custom_id: Which request it is about; None where the line can't be read.
        outcome: `answered`, with an answer; `errored`, with a failure that is final unless it is retryable; `expired`
            or `cancelled`: it was not worked on and costs nothing.
        answer: A vote or a failure; None for the other outcomes.
    """

    custom_id: str | None
    outcome: Literal["answered", "errored", "expired", "cancelled"]
    answer: Answer | None = None


class Batching(Protocol):
    """A link's batch endpoint.

    Every call may raise `CallError` (this call failed; its failure says whether trying again may help) or `LinkError`
    (the link is unusable as a whole).
    """

    limits: Limits
    poll: float
    """Most seconds between two looks at a batch."""
    most_open: int
    """Most batches under way at a time."""

    def line(self, custom_id: str, prompt: str) -> bytes:
        """Return a prompt's line of the file, without its end."""
        ...

    async def submit(self, sent: Sent) -> str:
        """Make a batch of a file, and return the provider's id of it."""
        ...

    async def find(self, sent: Sent, known: Collection[str] = ()) -> str | None:
        """Return the id of the batch that was made of a file, if there is one; may wait until that can be told.

        Args:
            sent: The file.
            known: Ids of batches that were made of others.
        """
        ...

    async def progress(self, remote: str) -> BatchProgress:
        """Say how a batch is."""
        ...

    def results(self, remote: str) -> AsyncGenerator[Result, None]:
        """Yield the results of a batch that has ended, in any order, as they come in.

        Raises:
            GoneError: The provider has deleted them.
        """
        ...

    async def cancel(self, remote: str) -> None:
        """Ask to cancel a batch; what is answered by then stays."""
        ...


class BatchEndpoint:
    """What a link's batch endpoint is made of, whoever the provider; see `Batching`.

    Args:
        client: Calls the provider.
        base_url: Up to and with `/v1`.
        options: Of the link.
        question: Returns a request's body.
        read: Makes an answer of the body of one.
    """

    most: ClassVar[Limits]
    """What the provider takes in one batch."""

    def __init__(
        self,
        client: Client,
        base_url: str,
        options: BatchOptions,
        question: Callable[[str], Mapping[str, Any]],
        read: Callable[[bytes], Answer],
    ) -> None:
        self.limits = Limits(min(options.shard or self.most.requests, self.most.requests), self.most.bytes)
        self.poll, self.most_open = options.poll, options.batches
        self._client = client
        self._base = base_url
        self._question = question
        self._read = read


def batching_of(link: Link) -> Batching | None:
    """Return a link's batch endpoint; None where it has none or asks call by call."""
    batching: Batching | None = getattr(link, "batches", None)
    return batching


def custom_id(shard: str, key: bytes) -> str:
    """Return what names a request: letters, digits and a hyphen, at most 64 of them."""
    return f"{shard}-{key.hex()}"


def key_of(shard: str, said: str | None) -> bytes | None:
    """Return the vote key that a custom_id of a shard names; None for any other text."""
    begin, hyphen, end = (said or "").partition("-")
    if begin != shard or not hyphen:
        return None
    try:
        key = bytes.fromhex(end)
    except ValueError:
        return None
    return key if custom_id(shard, key) == said else None


def half(price: Price) -> Price:
    """Return the price of a batch."""
    return Price(price.input / 2, price.output / 2, None if price.cached is None else price.cached / 2)


_line = msgspec.json.Decoder(dict[str, msgspec.Raw])
_name = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def renamed(line: bytes, old: str, new: str) -> tuple[bytes, bytes] | None:
    """Return the key and the new line of a request of the shard `old` that goes into the shard `new`; None for no such."""
    try:
        request = _line.decode(line)
        key = key_of(old, _name.decode(request["custom_id"]))
    except (msgspec.DecodeError, KeyError):
        return None
    if key is None:
        return None
    return key, _encode({**request, "custom_id": custom_id(new, key)})


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body that comes in pieces; empty ones are left out, one without an end is cut at 64 MiB."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        if b"\n" in piece:
            *whole, last = rest.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line)
            rest = bytearray(last)
        elif len(rest) > LONGEST_LINE:
            rest.clear()
    if rest.strip():
        yield bytes(rest)


def file_pieces(path: Path, size: int = 1 << 18) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece
