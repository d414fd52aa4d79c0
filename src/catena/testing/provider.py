"""A fake provider: an OpenAI-compatible server on loopback with known answers, faults and its own ledger of calls.

It also speaks Anthropic's Messages API, and both batch protocols.

In this process: `with FakeProvider(labels=["favor", "against"]) as provider: provider.base_url`.
As a process of its own: `with spawn(labels=[...], ledger="calls.jsonl") as provider:`, or
`python -m catena.testing.provider --labels favor,against --ledger calls.jsonl --latency 0.1`,
which prints its base URL when it is ready and ends on SIGTERM. The settings are those of `Settings`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import msgspec

from catena.errors import CatenaError, InputError
from catena.testing.answers import Annotator, Answer, Reply, call_key
from catena.testing.calls import Call, answered, batches, calls, too_early
from catena.testing.desk import MODELLED, Desk, annotator
from catena.testing.faults import FAULTS
from catena.testing.server import Connection
from catena.testing.settings import Settings, from_text, settle
from catena.testing.tokens import tokenise

__all__ = [
    "FAULTS",
    "Annotator",
    "Call",
    "FakeProvider",
    "Reply",
    "Settings",
    "SpawnedProvider",
    "answered",
    "batches",
    "call_key",
    "calls",
    "main",
    "spawn",
    "tokenise",
    "too_early",
]

HOST = "127.0.0.1"
BACKLOG = 4096


class Handle:
    """What a test holds of a running provider.

    Args:
        settings: Those it was started with.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.annotator = annotator(settings)
        self.port = 0

    @property
    def base_url(self) -> str:
        """The address that an OpenAI client takes."""
        return f"http://{HOST}:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        """Return the counts of `GET /stats`; the ledger is on disk after it."""
        return self._ask("GET", "/stats")

    def control(self, **changes: Any) -> None:
        """Change settings now, for example `control(down=True)` or `control(latency=0.2, faults={"500": 1})`."""
        self._ask("POST", "/control", changes)
        self.settings = settle(changes, self.settings)
        if changes.keys() & MODELLED:
            self.annotator = annotator(self.settings)

    def distribution(
        self, prompt: str | Sequence[Mapping[str, Any]], model: str = "fake"
    ) -> dict[str, float]:
        """Return the true probability of each label (see `Annotator.distribution`)."""
        return self.annotator.distribution(prompt, model)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        connection = HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Connection": "close"}
            )
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise InputError(found["error"]["message"])
        return found


class FakeProvider(Handle):
    """The provider in a thread of this process, from `with` to its end.

    Args:
        answer: Says what it answers; by default an `Annotator` made from the settings.
        settings: See `Settings`.
    """

    def __init__(self, answer: Answer | None = None, **settings: Any) -> None:
        super().__init__(settle(settings))
        self.desk = Desk(self.settings, answer, self.annotator)
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    def calls(self) -> list[Call]:
        """Return all calls so far."""
        self.stats()
        return self.desk.ledger.calls()

    def __enter__(self) -> Self:
        ready = threading.Event()

        def started(port: int, stop: Callable[[], None]) -> None:
            loop = asyncio.get_running_loop()
            self.port, self._stop = port, partial(loop.call_soon_threadsafe, stop)
            ready.set()

        def work() -> None:
            try:
                run(serve(self.desk, started))
            except OSError:
                if self.port:
                    raise
            finally:
                ready.set()

        self._thread = threading.Thread(target=work, name="fake provider", daemon=True)
        self._thread.start()
        ready.wait()
        if not self.port:
            raise CatenaError(f"The fake provider can't listen on port {self.settings.port}.")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join()


class SpawnedProvider(Handle):
    """The provider as a child process (see `spawn`)."""

    def __init__(self, settings: Settings, process: "subprocess.Popen[bytes]", port: int) -> None:
        super().__init__(settings)
        self.process, self.port = process, port

    def calls(self) -> list[Call]:
        """Return all calls so far; it has to have been spawned with a ledger."""
        if self.settings.ledger is None:
            raise InputError("This provider was spawned without a ledger.")
        if self.process.poll() is None:
            self.stats()
        return calls(self.settings.ledger)


@contextlib.contextmanager
def spawn(**settings: Any) -> Iterator[SpawnedProvider]:
    """Run the provider as a child process and end it, its ledger written, with the block.

    Args:
        settings: See `Settings`.
    """
    chosen = settle(settings)
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "catena.testing.provider", "--settings", "-"]
    environment = {**os.environ, "PYTHONPATH": path}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as child:  # noqa: S603  # our own
        try:
            yield SpawnedProvider(chosen, child, introduce(child, chosen))
        finally:
            child.terminate()
            try:
                child.wait(10)
            finally:
                child.kill()


def introduce(child: "subprocess.Popen[bytes]", settings: Settings) -> int:
    """Tell the child its settings and return its port once it listens."""
    if child.stdin is None or child.stdout is None:
        raise CatenaError("The fake provider needs pipes.")
    child.stdin.write(msgspec.json.encode(settings))
    child.stdin.close()
    line = child.stdout.readline().decode()
    if not line:
        raise CatenaError("The fake provider did not start.", "Its standard error says why.")
    return int(line.rsplit(":", 1)[1].split("/")[0])


async def serve(desk: Desk, started: Callable[[int, Callable[[], None]], None]) -> None:
    """Serve until stopped, then close every connection and the ledger.

    Args:
        desk: What answers.
        started: Gets the port and the function that stops the server, once it listens.
    """
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    try:
        server = await loop.create_server(lambda: Connection(desk), HOST, desk.settings.port, backlog=BACKLOG)
        started(server.sockets[0].getsockname()[1], done.set)
        await done.wait()
        server.close()
        for connection in list(desk.connections):
            connection.drop("down")
        await asyncio.sleep(0)  # lets the sockets close
    finally:
        desk.close()


def run(work: Any) -> None:
    """Run a coroutine on uvloop where there is one."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work)


def parser() -> argparse.ArgumentParser:
    """Make one flag per setting."""
    made = argparse.ArgumentParser(
        prog="catena.testing.provider", description="A fake OpenAI-compatible provider."
    )
    made.add_argument(
        "--settings", default="{}", help="all settings as JSON text, - reads it from stdin; flags go on top"
    )
    for field in msgspec.structs.fields(Settings):
        flag = f"--{field.name.replace('_', '-')}"
        if field.type is bool:
            made.add_argument(flag, nargs="?", const="true")
        else:
            made.add_argument(flag)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print the base URL when ready."""
    given = vars(parser().parse_args(arguments))

    def started(port: int, stop: Callable[[], None]) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop)
        print(f"http://{HOST}:{port}/v1", flush=True)  # noqa: T201

    try:
        text = given.pop("settings")
        base = settle(msgspec.json.decode(sys.stdin.buffer.read() if text == "-" else text))
        flags = {name: from_text(name, text) for name, text in given.items() if text is not None}
        settings = settle(flags, base)
        desk = Desk(msgspec.structs.replace(settings, ledger=settings.ledger or os.devnull))
        run(serve(desk, started))
    except (InputError, OSError, msgspec.MsgspecError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
