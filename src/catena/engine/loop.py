"""The event loop that a run works in, and how signals and errors end it."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

from catena.errors import CatenaError

__all__ = ["first_error", "run_async", "signals"]

MOST_FILES = 16_384
SELDOM = (20_000, 20, 100)
"""How often to look for cycles: a call makes hundreds of objects and hardly a cycle."""


def run_async(work: Any) -> None:
    """Run on the fastest loop there is; signals are handled afterwards as before, while a loop leaves none handled."""
    _allow_connections()
    thresholds, before = gc.get_threshold(), signal.getsignal(signal.SIGTERM)
    gc.set_threshold(*SELDOM)
    try:
        _fastest_run()(work)
    finally:
        gc.set_threshold(*thresholds)
        with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler of another kind
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl+C, SIGTERM and a terminal that closes stop the run gently, the second time at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    names = {signal.SIGINT: "Ctrl+C", signal.SIGTERM: "SIGTERM"}
    closed = getattr(signal, "SIGHUP", None)  # not on Windows
    if closed and signal.getsignal(closed) != signal.SIG_IGN:  # as nohup has it
        names[closed] = "the end of its terminal (SIGHUP)"

    def handle(number: signal.Signals) -> None:
        try:
            stop(names[number])
        except KeyboardInterrupt:
            if task:
                task.cancel()

    before = {}
    for number in names:
        with contextlib.suppress(
            NotImplementedError, RuntimeError, ValueError
        ):  # not the main thread, or Windows
            usual = signal.getsignal(number)
            loop.add_signal_handler(number, handle, number)
            before[number] = usual
    try:
        yield
    finally:
        for number, usual in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, usual)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that a user can act on, among those that stopped the stages."""
    errors: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop()
        if isinstance(error, BaseExceptionGroup):
            todo.extend(reversed(error.exceptions))
        else:
            errors.append(error)
    return next((error for error in errors if isinstance(error, CatenaError)), errors[0])


def _fastest_run() -> Callable[[Any], None]:
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:  # pragma: no cover - Windows
        return asyncio.run
    return uvloop.run


def _allow_connections() -> None:
    """Ask the system for as many open files as it grants: each call in flight needs one."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:  # pragma: no cover - Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
