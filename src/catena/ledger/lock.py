"""One run, one process: a lock that the operating system frees, also after kill -9."""

import os
import socket
from pathlib import Path
from typing import IO

from catena.errors import BusyError

__all__ = ["RunLock"]


class RunLock:
    """Held from construction to `release`.

    Raises:
        BusyError: Another process holds it; the message names that process.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: IO[str] | None = os.fdopen(
            os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8"
        )
        if not _try_lock(self._file):
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise BusyError(
                f"{folder}: {owner} works on this run.", "Wait for it, or stop it; then run the same command."
            )
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Let others work on the run."""
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None


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
