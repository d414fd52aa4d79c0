"""A full disk stops a run in one line, loses nothing that was committed, and the same command finishes the run."""

import os
import random
import resource
import signal
import subprocess
import sys

import pytest

from catena.testing.provider import spawn
from chains import CATENA, chain_text, finish, label_bytes, openai, rows_of, start, texts, votes_in

ROWS = 300
SIZES = 50 if os.environ.get("CATENA_SOAK") else 5
LABELS = ["favor", "against", "none"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The arguments of a run over two links, its unbroken labels, and how large its ledger gets."""
    folder = tmp_path_factory.mktemp("work")
    with spawn(labels=LABELS) as provider:
        links = [openai(provider, name) for name in ("small", "big")]
        (folder / "task.yaml").write_text(chain_text(*links, data={"id": "id"}))
        rows_of(texts(ROWS)).to_csv(folder / "rows.csv", index=False)
        arguments = ["run", folder / "task.yaml", folder / "rows.csv", "--out"]
        code, _, err = finish(start(*arguments, folder / "unbroken"))
        assert code == 0, err
        yield arguments, label_bytes(folder / "unbroken"), (folder / "unbroken/ledger.sqlite").stat().st_size


def limited(arguments, size):
    """Run catena where no file may grow beyond a size."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = [str(CATENA), *map(str, arguments)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is of Unix")
@pytest.mark.parametrize("step", range(SIZES))
def test_full_disk(work, tmp_path, step):
    """At any size of the disk: exit code 3 and one line, or a finished run; what was committed stays, the labels are right."""
    arguments, labels, whole = work
    out = tmp_path / "r"
    size = random.Random(step).randrange(1024, 4 * whole)
    code, err = limited([*arguments, out], size)
    assert code in {0, 3}, (size, code, err)
    assert code != -signal.SIGXFSZ
    assert "Traceback" not in err
    assert "internal error" not in err
    if code == 3:
        assert len([line for line in err.splitlines() if line.startswith("catena: ")]) == 1, err
    before = votes_in(out) if (out / "ledger.sqlite").exists() else {}
    code, _, err = finish(start(*arguments, out))
    assert code == 0, (size, err)
    after = votes_in(out)
    assert all(after[name] >= count for name, count in before.items())
    assert label_bytes(out) == labels
