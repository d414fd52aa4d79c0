"""A full disk stops a run in one line, loses nothing that was committed, and the same command finishes the run."""

import contextlib
import random
import resource
import signal
import subprocess
import sys
from collections import Counter

import pytest
from soak import figure, many

from catena.testing.provider import spawn
from chains import CATENA, chain_text, finish, label_bytes, openai, rows_of, start, texts, votes_in

ROWS = 300
SIZES = many(5, 50)
LABELS = ["favor", "against", "none"]
STOPPED = Counter()
ROOM = 64 << 20


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
    stops_or_ends(code, err, size)
    goes_on(arguments, out, labels)
    STOPPED["a limit on files"] += code == 3
    figure("full disk", said(step + 1, "a limit on files"))


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is of Unix")
def test_not_a_byte(work, tmp_path):
    """Where not even the lock can be written, that is said in one line too."""
    arguments, labels, _ = work
    code, err = limited([*arguments, tmp_path / "r"], 0)
    assert code == 3
    stops_or_ends(code, err, 0)
    goes_on(arguments, tmp_path / "r", labels)


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, and what sets its size in bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(size, *more):
        options = ",".join([*more, f"size={size}"])
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "catena-test", str(folder)],
            capture_output=True,
            text=True,
        )

    try:
        made = resize(ROOM)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder, lambda size: resize(size, "remount").check_returncode()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("step", range(many(3, 50)))
def test_full_file_system(work, disk, step):
    """The same where the whole file system is full, and not only a file too large; the run goes on when there is room."""
    arguments, labels, whole = work
    folder, resize = disk
    size = random.Random(step).randrange(4096, 8 * whole)
    resize(size)
    code, _, err = finish(start(*arguments, folder / "r"))
    stops_or_ends(code, err, size)
    if code == 3:
        fill(folder)
        again, _, err = finish(start(*arguments, folder / "r"))
        assert again == 3
        stops_or_ends(again, err, size)
    resize(ROOM)
    goes_on(arguments, folder / "r", labels)
    STOPPED["a file system"] += code == 3
    figure("full file system", said(step + 1, "a file system"))


def fill(folder):
    """Leave not a byte of room."""
    with contextlib.suppress(OSError), (folder / "other").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


def said(sizes, of):
    """Return the figure."""
    return (
        f"{sizes} sizes of {of}, {STOPPED[of]} too small: one line each, 0 committed votes lost, all resumed"
    )


def stops_or_ends(code, err, size):
    """See that a run ended well, or stopped in one line."""
    assert code in {0, 3}, (size, code, err)
    assert code != -signal.SIGXFSZ
    assert "Traceback" not in err
    assert "internal error" not in err
    if code == 3:
        assert len([line for line in err.splitlines() if line.startswith("catena: ")]) == 1, err


def goes_on(arguments, out, labels):
    """See that the same command, with room, finishes the run, and that what was committed stays."""
    before = votes_in(out) if (out / "ledger.sqlite").exists() else {}
    code, _, err = finish(start(*arguments, out))
    assert code == 0, err
    after = votes_in(out)
    assert all(after[name] >= count for name, count in before.items())
    assert label_bytes(out) == labels
