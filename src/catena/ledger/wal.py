"""SQLite's log beside the ledger: where it was cut or overwritten, SQLite drops the rest of it without a word."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["is_cut", "pages"]

MAGIC = (0x377F0682, 0x377F0683)
PAGE_SIZES = [1 << bit for bit in range(9, 17)]
HEADER = struct.Struct(">IIIIIIII")  # magic, version, page size, checkpoint, salt 1, salt 2, checksum 1 and 2
FRAME = struct.Struct(">IIIIII")  # page, pages after a commit (else 0), salt 1, salt 2, checksum 1 and 2


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def is_cut(path: Path) -> bool:
    """Tell whether the log of a ledger, that nobody writes now, holds committed pages that SQLite will not read."""
    try:
        with _log(path).open("rb") as file:
            return _is_cut(file)
    except FileNotFoundError:
        return False


def _is_cut(file: IO[bytes]) -> bool:
    size = os.fstat(file.fileno()).st_size
    if size <= HEADER.size + FRAME.size:
        return False
    raw = file.read(HEADER.size)
    magic, _, page, _, *salt, one, two = HEADER.unpack(raw)
    if magic not in MAGIC or page not in PAGE_SIZES:
        return True
    order = "<" if magic == MAGIC[0] else ">"
    if _checksum(raw[: HEADER.size - 8], order, 0, 0) != (one, two):
        return True
    frames = range(HEADER.size, size - FRAME.size - page + 1, FRAME.size + page)
    last = None
    for at in frames:
        _, commit, *its_salt, _, _ = FRAME.unpack(os.pread(file.fileno(), FRAME.size, at))
        if commit and its_salt == salt:
            last = at
    for at in frames if last is not None else ():
        frame = os.pread(file.fileno(), FRAME.size + page, at)
        one, two = _checksum(frame[:8], order, one, two)
        one, two = _checksum(frame[FRAME.size :], order, one, two)
        if list(FRAME.unpack_from(frame)[2:]) != [*salt, one, two]:
            return True
        if at == last:
            break
    return False


def _checksum(raw: bytes, order: str, one: int, two: int) -> tuple[int, int]:
    """Go on with the sum that SQLite keeps over its log."""
    words = struct.unpack(f"{order}{len(raw) // 4}I", raw)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def pages(path: Path) -> Iterator[bytes]:
    """Yield every page in a ledger's log, the newest first, whatever its checksum says."""
    log = _log(path)
    if not log.exists():
        return
    raw = log.read_bytes()
    page = HEADER.unpack(raw[: HEADER.size])[2] if len(raw) >= HEADER.size else 0
    if page not in PAGE_SIZES:
        page = 4096
    starts = range(HEADER.size + FRAME.size, len(raw) - page + 1, FRAME.size + page)
    for start in reversed(starts):
        yield raw[start : start + page]
