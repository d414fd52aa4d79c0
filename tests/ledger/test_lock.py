"""One process per run; the others are told which one it is."""

import subprocess
import sys

import pytest

from catena.errors import BusyError, LedgerError
from catena.ledger import RunLock

HOLD = """
import sys
from pathlib import Path
from catena.ledger import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_second_process_is_refused(tmp_path):
    """The second process is told the number of the first, and gets the lock once that one was killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=pipe, stdout=pipe) as child:
        try:
            assert child.stdout.readline() == b"held\n"
            with pytest.raises(BusyError, match=f"process {child.pid} on ") as error:
                RunLock(tmp_path)
            assert error.value.exit_code == 3
        finally:
            child.kill()
        child.wait()
    RunLock(tmp_path).release()


def test_released(tmp_path):
    """A released lock can be taken again, and its file is private."""
    RunLock(tmp_path).release()
    RunLock(tmp_path).release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_folder_that_is_none(tmp_path):
    """Where no lock can be made, one line says so."""
    with pytest.raises(LedgerError, match="Choose another --out"):
        RunLock(tmp_path / "missing")
