"""The little of HTTP/1.1 that the fake provider speaks, as bytes in and bytes out."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec

__all__ = ["MalformedError", "Request", "response", "take"]

MOST_HEAD = 1 << 16
LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
LINES[529] = "HTTP/1.1 529 Overloaded\r\n"


class MalformedError(ValueError):
    """What came is not HTTP."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    search: str = ""

    @property
    def last(self) -> bool:
        """Whether the client wants the connection closed after the answer."""
        return self.headers.get("connection", "").lower() == "close"

    @property
    def query(self) -> dict[str, str]:
        """What stands after the question mark, by name."""
        return dict(parse_qsl(self.search))


def take(buffer: bytearray) -> Request | None:
    """Cut one whole request off the front of the buffer; None while more bytes are needed."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MOST_HEAD:
            raise MalformedError("The head is too long.")
        return None
    try:
        first, *lines = buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = int(headers.get("content-length", 0))
        found = chunks(buffer, end + 4) if chunked else plain(buffer, end + 4, length)
    except ValueError as error:
        raise MalformedError(str(error)) from error
    if found is None:
        return None
    body, stop = found
    del buffer[:stop]
    path, _, search = path.partition("?")
    return Request(method, path, headers, body, search)


def plain(buffer: bytearray, start: int, length: int) -> tuple[bytes, int] | None:
    stop = start + length
    return (bytes(buffer[start:stop]), stop) if len(buffer) >= stop else None


def chunks(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """Join the chunks of a body; trailers are dropped."""
    body = bytearray()
    while (line := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:line].split(b";")[0], 16)
        start = line + 2
        if size == 0:
            return trailers(bytes(body), buffer, start)
        if len(buffer) < start + size + 2:
            return None
        body += buffer[start : start + size]
        start += size + 2
    return None


def trailers(body: bytes, buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    while (line := buffer.find(b"\r\n", start)) >= 0:
        if line == start:
            return body, line + 2
        start = line + 2
    return None


def response(
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
    last: bool = False,
) -> bytes:
    """Write an answer with a JSON body.

    Args:
        status: The HTTP status.
        body: The body.
        headers: More headers.
        length: The Content-Length to claim, where it is not the body's.
        last: Whether to announce that the connection closes.
    """
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    close = "connection: close\r\n" if last else ""
    size = len(body) if length is None else length
    head = f"{LINES[status]}content-type: application/json\r\ncontent-length: {size}\r\n{more}{close}\r\n"
    return head.encode("latin-1") + body
