"""A log that was changed after a kill is noticed before SQLite drops what follows."""

import shutil
import subprocess
import sys

import pytest

from catena.errors import LedgerError
from catena.ledger import FILE, WritableLedger, wal
from catena.ledger.audit import audit
from catena.ledger.repair import repair

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from catena.ledger import WritableLedger
from catena.types import Vote
ledger = WritableLedger(Path(sys.argv[1]))
link = ledger.put_link("a", b"f" * 16, "m")
async def work():
    writer = ledger.writer(lambda _: None)
    for at in range(200):
        await writer.append(link, b"%d" % at, (at,), Vote("x", 0.5))
    await writer.close()
asyncio.run(work())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_flipped_log(tmp_path):
    """Flipped in its middle, the log stops the run; repaired, hardly a vote is lost, those after the flip included."""
    run = tmp_path / "r"
    run.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(run)], timeout=60)
    log = run / f"{FILE}-wal"
    assert not wal.is_cut(run / FILE)
    shutil.copytree(run, tmp_path / "copy")
    with WritableLedger(tmp_path / "copy") as ledger:
        assert ledger.votes_count(1) == 200
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 4
    log.write_bytes(raw)
    with pytest.raises(LedgerError, match="its log was cut"):
        WritableLedger(run)
    done = repair(run, audit(run))
    assert sum(done.after.votes.values()) >= 175
    assert done.after.well
