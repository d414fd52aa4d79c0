"""The server of the page: one socket, one process, until Ctrl+C."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from catena.errors import InputError
from catena.ledger import FILE
from catena.web.app import create_app
from catena.web.indexer import Indexer
from catena.web.security import Keys, is_loopback

__all__ = ["DEFAULT_PORT", "Connection", "serve"]

DEFAULT_PORT = 8710
BACKLOG = 128
MOST_HEADER_BYTES = 1 << 14
ASK_SECONDS = 10.0
"""How long a connection may take to ask for something: whoever opens many and says nothing keeps others out no longer."""


def serve(
    folder: Path,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    everyone: bool = False,
) -> None:
    """Serve the page on a run until Ctrl+C or SIGTERM.

    Args:
        folder: The run's folder.
        say: Called with the address to open when the page is there, and with a new one whenever that has been used.
        host: What to bind to; the page is for this machine alone unless it is said.
        port: None for the usual one, or another one where that is taken; 0 for any.
        everyone: Whether no token is needed.

    Raises:
        InputError: There is no run, the address can't be bound, or nobody's permission would be asked off this machine.
    """
    if not (folder / FILE).exists() and not (folder / "lock").exists():
        raise InputError(f"{folder} holds no run.", f"Start one with: catena run TASK DATA --out {folder}")
    if everyone and not is_loopback(host):
        raise InputError(
            f"--host {host} is reached from other machines, so the page needs its token.",
            "Leave out --no-token.",
        )
    with contextlib.closing(_bind(host, port)) as listening:
        bound = listening.getsockname()[1]
        address = f"http://{_shown_host(host)}:{bound}/"

        def tell() -> None:
            say(address if everyone else f"{address}open?token={keys.token}")

        keys = Keys(f"catena-{bound}", everyone=everyone, used=tell)
        indexer = Indexer(folder)
        config = uvicorn.Config(
            create_app(folder, keys, indexer, host), log_config=None, log_level="error", access_log=False, server_header=False, proxy_headers=False,
            lifespan="off", http=Connection, ws="none", timeout_keep_alive=5, timeout_graceful_shutdown=1, limit_concurrency=64,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )  # fmt: skip
        server = _Server(config, tell)
        indexer.start()
        try:
            asyncio.run(server.until_stopped(listening))
        finally:
            indexer.stop()


class Connection(H11Protocol):
    """Is closed where it takes long to ask for something, the first time or again."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest, where this is not yet a request."""
        super().data_received(data)
        if self._late is None and self._is_idle():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _is_idle(self) -> bool:
        return not self.cycle or self.cycle.response_complete

    def _wait(self) -> None:
        self._late = self.loop.call_later(ASK_SECONDS, self._end)

    def _end(self) -> None:
        self._late = None
        if self._is_idle():
            self.transport.close()


class _Server(uvicorn.Server):
    """Says when it is there, and ends on Ctrl+C and SIGTERM as a command that has done its work."""

    def __init__(self, config: uvicorn.Config, there: Callable[[], None]) -> None:
        super().__init__(config)
        self._there = there

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._there()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `until_stopped`."""
        yield

    async def until_stopped(self, listening: socket.socket) -> None:
        """Serve until a signal comes."""
        loop, before = asyncio.get_running_loop(), {}
        for number in (signal.SIGINT, signal.SIGTERM):
            usual = signal.getsignal(number)
            with contextlib.suppress(
                NotImplementedError, RuntimeError, ValueError
            ):  # Windows, or not the main thread
                loop.add_signal_handler(number, self._stop)
                before[number] = usual
        try:
            await self.serve(sockets=[listening])
        finally:
            for number, usual in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, usual)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _bind(host: str, port: int | None) -> socket.socket:
    for wanted in (DEFAULT_PORT, 0) if port is None else (port,):
        try:
            kind, _, _, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
            listening = socket.socket(kind, socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen(BACKLOG)
            except OSError:
                listening.close()
                raise
        except (OSError, OverflowError) as error:
            if port is None and wanted:
                continue
            said = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{host}, port {wanted}: {said}.", "Choose another --host or --port.") from error
        return listening
    raise AssertionError("the last port is any")


def _shown_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - asked for by the user
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
