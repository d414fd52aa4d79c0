"""The fake provider's HTTP server: one asyncio protocol per connection, all of them around one desk."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from catena.testing.batches import HELD, is_batch_path
from catena.testing.desk import MESSAGES, Desk, Open
from catena.testing.faults import error_body
from catena.testing.wire import MalformedError, Request, response, take

__all__ = ["Connection"]

NO_LINGER = struct.pack("ii", 1, 0)  # closing then sends RST
NATIVE = ("/tokenize", "/v1/systemone")
CALLS = ("/v1/chat/completions", MESSAGES)
RESET_SECONDS = 0.005  # lets the first half of the body arrive before the reset
GARBAGE = b"<html><body>502 Bad Gateway</body></html>"


class Connection(asyncio.Protocol):
    """One client's connection; its requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.buffer = bytearray()
        self.call: Open | None = None
        self.over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection, so that it can be closed."""
        self.transport = transport  # type: ignore[assignment]  # a TCP server's is a Transport
        self.desk.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Close the call that was open."""
        self.leave()

    def leave(self) -> None:
        """Leave the books: an open call ends without an answer."""
        self.desk.connections.discard(self)
        self.over = True
        if self.call is not None:
            if self.call.timer is not None:
                self.call.timer.cancel()
            self.desk.finish(self.call)
            self.call = None

    def data_received(self, data: bytes) -> None:
        """Take what came, and serve the requests that are whole."""
        self.buffer += data
        self.advance()

    def advance(self) -> None:
        """Serve whole requests until one has to wait."""
        while self.call is None and not self.over:
            try:
                request = take(self.buffer)
            except MalformedError as error:
                self.send(response(*error_body("400", str(error)), last=True), last=True)
                return
            if request is None:
                return
            self.serve(request)

    def serve(self, request: Request) -> None:
        """Answer one request, or open its call."""
        desk = self.desk
        pages = {
            "/v1/models": ("GET", desk.models),
            "/stats": ("GET", desk.stats),
            "/control": ("POST", None),
        }
        method, page = pages.get(request.path, ("POST", None))
        if request.path in CALLS and request.method == "POST":
            self.open(request)
        elif is_batch_path(request.path):
            self.batch(request)
        elif request.path in NATIVE and request.method == "POST":
            name = request.path.rpartition("/")[2]
            self.send(response(*desk.page(name, request.body), last=request.last), request.last)
        elif request.path not in (*pages, *CALLS):
            self.send(
                response(*error_body("404", f"There is no {request.path}."), last=request.last), request.last
            )
        elif request.method != method:
            self.send(response(405, b"{}", {"allow": method}, last=request.last), request.last)
        elif page is None:
            self.send(response(*desk.control(request.body, self), last=request.last), request.last)
        elif desk.settings.down and request.path != "/stats":
            self.drop("down")
        else:
            self.send(response(200, page(), last=request.last), request.last)

    def batch(self, request: Request) -> None:
        """Answer a request to a batch endpoint, half of it, or not at all."""
        desk = self.desk
        if desk.settings.down:
            self.drop("down")
            return
        status, body = page = desk.batches.serve(request)
        desk.note()
        if page is HELD:
            return
        whole = response(status, body, last=request.last)
        if desk.settings.hold == "half" and request.path.endswith(("/content", "/results")):
            desk.batches.held += 1
            self.transport.write(whole[: len(whole) - len(body) // 2])
            return
        self.send(whole, request.last)

    def send(self, data: bytes, last: bool) -> None:
        """Write a whole answer."""
        self.transport.write(data)
        if last:
            self.over = True
            self.transport.close()

    def drop(self, fault: str) -> None:
        """Close at once, without an answer."""
        if self.call is not None:
            self.call.fault = fault
        self.leave()
        self.transport.abort()

    def open(self, request: Request) -> None:
        """Take a chat request: answer it now, later or never."""
        call = self.call = self.desk.open(request)
        if call.fault == "down":
            self.drop("down")
        elif call.fault == "timeout":
            return
        elif delay := self.desk.delay(call):
            self.later(delay, self.resume)
        else:
            self.answer(call)

    def later(self, delay: float, step: Callable[..., None], *given: Any) -> None:
        """Do a step of the open call later, unless the client leaves before."""
        if self.call is not None:
            self.call.timer = asyncio.get_running_loop().call_later(delay, step, *given)

    def resume(self) -> None:
        """Answer the call that waited, and go on with what came meanwhile."""
        if self.call is not None:
            self.answer(self.call)
        self.advance()

    def answer(self, call: Open) -> None:
        """Send the call's answer in the way its fault asks for."""
        try:
            status, body, headers = self.desk.prepare(call)
        except Exception as error:  # noqa: BLE001  # the plug-in's own
            call.fault = "500"
            status, body = error_body("500", repr(error))
            headers = {}
        if call.fault == "drip":
            self.transport.write(response(status, b"", headers, length=len(body), last=call.last))
            self.later(0, self.trickle, call, body)
            return
        whole = response(status, body, headers, last=call.last)
        half = len(whole) - len(body) // 2
        if call.fault == "garbage":
            self.send(response(status, GARBAGE, headers, last=call.last), call.last)
        elif call.fault == "empty_body":
            self.send(response(status, b"", headers, last=call.last), call.last)
        elif call.fault == "truncated":
            self.send(whole[:half], last=True)
        elif call.fault == "reset":
            self.transport.write(whole[:half])
            self.over = True
            asyncio.get_running_loop().call_later(RESET_SECONDS, self.reset)
        else:
            self.send(whole, call.last)
        self.close(call, status)

    def close(self, call: Open, status: int) -> None:
        """Enter the answer into the books; the connection is free for the next request."""
        self.call = None
        self.desk.finish(call, status)

    def reset(self) -> None:
        """Close with RST."""
        if (sock := self.transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    def trickle(self, call: Open, body: bytes, sent: int = 0) -> None:
        """Send one byte, and the others later."""
        self.transport.write(body[sent : sent + 1])
        if sent + 1 < len(body):
            self.later(self.desk.settings.drip, self.trickle, call, body, sent + 1)
            return
        self.close(call, 200)
        self.send(b"", call.last)
        self.advance()
