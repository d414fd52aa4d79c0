"""One run, one process: a lock that the operating system frees, also after kill -9."""

import os
import socket
import time
from pathlib import Path
from typing import IO

from catena.errors import BusyError, LedgerError

__all__ = ["RunLock", "here", "holder"]


class RunLock:
    """Held from construction to `release`.

    Raises:
        BusyError: Another process holds it; the message names that process.
        LedgerError: The folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            number = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(f"{self._path}: {error.strerror}.", "Choose another --out.") from error
        self._file: IO[str] | None = os.fdopen(number, "r+", encoding="utf-8")
        if not _try_for_a_moment(self._file):
            owner = _owner(self._file)
            self._file.close()
            raise BusyError(
                f"{folder}: {owner} works on this run.", "Wait for it, or stop it; then run the same command."
            )
        if not _same(self._file, self._path):
            self._file.close()
            raise BusyError(
                f"{folder}: another process has just moved this run aside.", "Run the same command again."
            )
        self._sign(self._file)

    def _sign(self, file: IO[str]) -> None:
        """Say who holds the lock."""
        try:
            file.truncate(0)
            os.write(file.fileno(), here().encode())
        except OSError as error:
            file.close()
            raise LedgerError(
                f"{self._path}: {error.strerror}.",
                "Everything committed is kept; make room and run the same command.",
            ) from error

    def release(self) -> None:
        """Let others work on the run."""
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def here() -> str:
    """Return how a lock names this process."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def holder(folder: Path) -> str | None:
    """Return which process works on a run, None where none does."""
    try:
        with (folder / "lock").open("r+", encoding="utf-8") as file:
            return None if _try_lock(file) else _owner(file)
    except OSError:
        return None


def _same(file: IO[str], path: Path) -> bool:
    """Tell whether the open file is still the one at its path: another process may have moved the folder."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _owner(file: IO[str]) -> str:
    """Return who holds the lock; it may have taken it this very moment and not have written its name yet."""
    for _ in range(20):
        file.seek(0)
        if owner := file.read().strip():
            return owner
        time.sleep(0.01)
    return "another process"


def _try_for_a_moment(file: IO[str]) -> bool:
    """Take the lock, also from one who only looks whether somebody has it."""
    for _ in range(10):
        if _try_lock(file):
            return True
        time.sleep(0.02)
    return _try_lock(file)


def _try_lock(file: IO[str]) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:  # pragma: no cover - Windows
        import msvcrt  # noqa: PLC0415

        lock, mode = msvcrt.locking, msvcrt.LK_NBLCK  # type: ignore[attr-defined, unused-ignore]
        try:
            file.seek(1 << 20)
            lock(file.fileno(), mode, 1)
            file.seek(0)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
