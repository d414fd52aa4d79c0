"""One HTTP connection pool with one key: what links that call a provider share. The key is in no message."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from catena.errors import LinkError
from catena.links.address import AddressOptions, Secrets
from catena.links.limits import Header, retry_after
from catena.links.proxies import is_loopback, proxy_of
from catena.links.refusal import one_line, status_failure
from catena.types import Failure, Usage

__all__ = ["CallError", "Client", "GoneError", "Reply", "since"]

T = TypeVar("T")

MOST_ERROR_BYTES = 4 << 20
MOST_ANSWER_BYTES = (
    32 << 20
)  # thousands of times what an answer has: what is longer is none, and memory is not
MOST_CONNECTIONS = 512

WAYS: Mapping[int, str] = {
    401: "Check the key in {}.",
    402: "Check the account's balance.",
    403: "Check what the key may use.",
    404: "Check model and base_url, which mostly ends in /v1.",
    407: "It is a proxy's answer: check the name and password in HTTP_PROXY or HTTPS_PROXY.",
}
GONE = frozenset({404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Reply(msgspec.Struct, frozen=True, gc=False):
    """An answer as it came: its status, its body, and what gives its headers."""

    status: int
    body: bytes
    header: Header


class CallError(Exception):
    """A call that failed, and how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class GoneError(CallError):
    """The provider does not know what was asked for, or no longer."""


class Client:
    """Calls one provider. Connects when it is first used.

    Args:
        where: Begins every message, for example `link 'mini'`.
        variable: The environment variable that holds the key; None where the server takes none.
        headers: Returns the headers that carry a key, which may be empty.
        address: What else goes to the server with every call.
        timeout: Seconds for one call, from connecting to the last byte.
        connections: How many calls there are at a time, as far as is known; that may be raised while they are made.
    """

    def __init__(
        self,
        where: str,
        variable: str | None,
        headers: Callable[[str], dict[str, str]],
        address: AddressOptions,
        timeout: float,
        connections: int | None = None,
    ) -> None:
        self.variable = variable
        self._secrets = Secrets(where)
        self.hide = self._secrets.hide
        self._where = where
        self._headers = headers
        self._address = address
        self._timeout = timeout
        self._connections = max(connections or 0, MOST_CONNECTIONS)
        self._client: Any = None
        self._query: dict[str, str] = {}
        self._way = ""

    def ready(self) -> None:
        """See that the keys are there; see `types.Link`."""
        if self.variable is not None:
            self._secrets.key(self.variable)
        for text in (*self._address.headers.values(), *self._address.query.values()):
            self._secrets.value(text)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def post(self, url: str, body: bytes) -> Reply | Failure:
        """Send JSON and return the answer, or why there is none, with the milliseconds that it took."""
        request = (self._client or self._connect(url)).post(url)
        if self._query:
            request = request.query(self._query)
        return await self.send(request.body_bytes(body))

    async def get(self, url: str, query: Mapping[str, str | int] | None = None) -> Reply | Failure:
        """Get a page; as `post`."""
        client = self._client or self._connect(url)
        return await self.send(client.get(url).query({**self._query, **(query or {})}))

    async def upload(self, url: str, seconds: float, add: Callable[[Any], Any]) -> Reply | Failure:
        """Send a large body, which `add` puts into the request, within so many seconds; as `post`."""
        request = (self._client or self._connect(url)).post(url).query(self._query)
        return await self.send(add(request.timeout(timedelta(seconds=seconds))), seconds)

    async def send(self, request: Any, seconds: float | None = None) -> Reply | Failure:
        """Send a request that is built but for its sending; as `post`."""
        start = time.perf_counter()
        try:
            async with request.build_streamed() as response:
                body = self.hide(await _whole(response.body_reader))
                return Reply(response.status, body, response.get_header)
        except _TooLongError as error:
            said = Failure("bad_body", str(error), retryable=True, charged=True)
            return msgspec.structs.replace(said, usage=Usage(latency_ms=since(start)))
        except Exception as error:  # noqa: BLE001 - whatever the client raises is about this call
            failure = transport_failure(error, seconds or self._timeout, self._way)
            message = self.hide(failure.message.encode()).decode()
            return msgspec.structs.replace(failure, message=message, usage=Usage(latency_ms=since(start)))

    @asynccontextmanager
    async def download(self, url: str, seconds: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the pieces of a large body as they come.

        Raises:
            CallError: It did not come, or not to its end; a GoneError where it is not there.
            LinkError: The status says that the link is unusable as a whole.
        """
        client = self._client or self._connect(url)
        request = client.get(url).query(self._query).timeout(timedelta(seconds=seconds))
        request = request.streamed_read_buffer_limit(0).build_streamed()  # each piece as it comes
        try:
            async with request as response:
                if response.status == 200:
                    yield _pieces(response.body_reader)
                    return
                said = self.hide(bytes(await response.bytes()))
        except Exception as error:
            from pyreqwest.exceptions import PyreqwestError  # noqa: PLC0415 - as below

            if not isinstance(error, PyreqwestError | TimeoutError):
                raise
            raise CallError(transport_failure(error, seconds, self._way)) from error
        raise self._error(Reply(response.status, said, response.get_header))

    def _error(self, reply: Reply) -> CallError:
        """Return the error of something that was looked up, which may be gone."""
        return GoneError(self.failure(reply)) if reply.status in GONE else CallError(self.refused(reply))

    def _connect(self, url: str) -> Any:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - only needed once there is something to ask
        from pyreqwest.exceptions import BuilderError  # noqa: PLC0415 - likewise

        self.ready()
        key = "" if self.variable is None else self._secrets.key(self.variable)
        more = {name.lower(): self._secrets.value(text) for name, text in self._address.headers.items()}
        self._query = {name: self._secrets.value(text) for name, text in self._address.query.items()}
        builder = (
            ClientBuilder()
            .timeout(timedelta(seconds=self._timeout))
            .max_connections(self._connections)
            .follow_redirects(False)
            .default_headers({"content-type": "application/json", **self._headers(key), **more})
        )
        here = is_loopback(url)
        if here:  # a proxy elsewhere can't reach it
            builder = builder.no_proxy()
        proxy = "" if here else proxy_of(url)
        self._way = f" to {urlsplit(url).netloc}" + (f" (through the proxy in {proxy})" if proxy else "")
        try:
            self._client = builder.build()
        except BuilderError as error:
            raise LinkError(
                f"{self._where}: no connection can be made: {_innermost(error)}.",
                "If certificates are missing, install the system's (ca-certificates), or name a file of them in SSL_CERT_FILE.",
            ) from error
        return self._client

    def refused(self, reply: Reply) -> Failure:
        """Return the failure that a status other than 200 says.

        Raises:
            LinkError: It concerns the whole link.
        """
        if reply.status in REDIRECTS:
            to = one_line(self.hide((reply.header("location") or "").encode()).decode()) or "elsewhere"
            raise LinkError(
                f"{self._where}: HTTP {reply.status}: the server redirects to {to}, and no redirect is followed.",
                "If that is the right place, write its address as base_url.",
            )
        failure = self.failure(reply)
        if (reply.status in WAYS and failure.reason != "filtered") or failure.reason == "refused_key":
            bad_key = "key" in failure.message.lower() and reply.status not in WAYS
            way = WAYS.get(401 if bad_key else reply.status, "Check the account.").format(self.variable)
            if reply.status == 401 and self.variable is None:
                way = "The server wants a key: name the variable that holds it, api_key_env: NAME."
            raise LinkError(f"{self._where}: {failure.message.rstrip('.')}.", way)
        return failure

    def failure(self, reply: Reply) -> Failure:
        """Return the failure that a status other than 200 says of the one call."""
        said = reply.body[:MOST_ERROR_BYTES].decode(errors="replace")
        return status_failure(reply.status, said, retry_after(reply.header))

    def decoded(self, reply: Reply | Failure, decode: Callable[[bytes], T]) -> T:
        """Return what an answer's body says.

        Raises:
            CallError: There is no answer, or it is not what was asked for.
            LinkError: The link is unusable as a whole.
        """
        if isinstance(reply, Failure):
            raise CallError(reply)
        if reply.status not in {200, 201}:
            raise CallError(self.refused(reply))
        try:
            return decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = " ".join(reply.body[:80].decode(errors="replace").split())
            message = f"not what was asked for ({error}): {said!r}"
            raise CallError(Failure("bad_body", message, retryable=True, charged=True)) from error

    def found(self, reply: Reply | Failure, decode: Callable[[bytes], T]) -> T:
        """Return what an answer's body says of something that may be gone; as `decoded`.

        Raises:
            GoneError: The provider does not know it.
        """
        if isinstance(reply, Reply) and reply.status in GONE:
            raise self._error(reply)
        return self.decoded(reply, decode)


class _TooLongError(Exception):
    """A body that no answer has."""


async def _whole(reader: Any) -> bytes:
    """Return a body.

    Raises:
        _TooLongError: It has no end in sight.
    """
    pieces: list[bytes] = []
    length = 0
    async for piece in _pieces(reader):
        pieces.append(piece)
        length += len(piece)
        if length > MOST_ANSWER_BYTES:
            raise _TooLongError(f"not a chat completion: more than {MOST_ANSWER_BYTES >> 20} MB")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _pieces(reader: Any) -> AsyncIterator[bytes]:
    while (piece := await reader.read_chunk()) is not None:
        yield bytes(piece)


def transport_failure(error: Exception, timeout: float, way: str = "") -> Failure:
    """Return the failure of a call that got no answer.

    Args:
        error: What the client raised.
        timeout: Seconds that the call had.
        way: Where to it went, and through which proxy, for the message.
    """
    if isinstance(error, TimeoutError):
        return Failure("timeout", f"no answer within {timeout:g} s", retryable=True, charged=True)
    from pyreqwest.exceptions import ConnectError  # noqa: PLC0415 - only needed once something was asked

    asked = not isinstance(error, ConnectError)
    said = f"the connection{way} failed: {_innermost(error)}"
    if "UnknownIssuer" in said:  # of a house with certificates of its own
        said += "; name the file of its authority's certificate in SSL_CERT_FILE"
    return Failure("transport", said, retryable=True, charged=asked)


def since(start: float) -> float:
    """Return the milliseconds since a point of `time.perf_counter`."""
    return (time.perf_counter() - start) * 1000


def _innermost(error: Exception) -> str:
    causes = getattr(error, "details", {}).get("causes") or [{"message": str(error)}]
    return str(causes[-1]["message"])
