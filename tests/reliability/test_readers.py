"""Who reads beside a run: `catena status` as often as one likes, and a reader that stays."""

import asyncio
import contextlib
import itertools
import json
import sqlite3
import subprocess
import sys
from hashlib import blake2b

from live import live
from soak import figure, many

from catena.ledger import FILE, WritableLedger
from catena.ledger.facts import note
from catena.ledger.file import WAL_BYTES
from catena.types import Vote
from chains import finish, labels_of, start

ROWS = many(1_000, 20_000)
MORE = 12_000
"""Votes whose log is larger than what may stay of it."""

READER = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
db.execute("BEGIN")
for _ in range(2):
    print(db.execute("SELECT count(*) FROM votes").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


class Reader:
    """A process that reads a run's ledger and goes on with what it saw first, until it is let go."""

    def __init__(self, out):
        pipe = subprocess.PIPE
        line = [sys.executable, "-c", READER, str(out / FILE)]
        self.process = subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True)
        self.saw = int(self.process.stdout.readline())

    def let_go(self):
        """See that it still finds what it saw first, and end it."""
        again, _ = self.process.communicate("\n\n", timeout=60)
        assert int(again) == self.saw
        assert self.process.returncode == 0


def log_bytes(out):
    """Return how large the log beside a ledger is; 0 where there is none."""
    log = out / f"{FILE}-wal"
    return log.stat().st_size if log.exists() else 0


def test_status_all_the_time(tmp_path):
    """`catena status`, asked again and again from the first moment of a fast run to its last: never an error, never fewer."""
    seen = []
    with live(tmp_path, rows=ROWS, latency=0.0) as work:
        process = work.start(tmp_path / "r")
        while process.poll() is None:
            code, out, err = finish(start("status", tmp_path / "r", "--json"))
            assert code == 0 or (code == 2 and not seen), err
            if code == 0:
                links = json.loads(out)["links"]
                seen.append([link["answered"] for link in links])
        assert finish(process)[0] == 0
        code, out, err = finish(start("status", tmp_path / "r", "--json"))
    assert (code, json.loads(out)["state"]) == (0, "finished"), err
    assert seen == sorted(seen)
    pairs = itertools.pairwise(seen)
    assert all(before <= after for pair in pairs for before, after in zip(*pair, strict=True))
    assert [link["answered"] for link in json.loads(out)["links"]] == [ROWS, ROWS // 2]
    figure(
        "status",
        f"asked {len(seen)} times while a run worked as fast as it can: 0 errors, 0 counts that fell",
    )


def test_a_reader_that_stays(tmp_path):
    """A process that holds the ledger open while a run works disturbs it in nothing, and the log goes once it has gone."""
    with live(tmp_path, rows=ROWS, latency=0.0) as work:
        process = work.start(tmp_path / "r")
        work.wait(process, 100)
        reader = Reader(tmp_path / "r")
        code, _, err = finish(process, timeout=600)
        assert code == 0, err
        grown = log_bytes(tmp_path / "r")
        reader.let_go()
        code, _, err = finish(work.start(tmp_path / "r"))
        assert code == 0, err
    assert 0 < reader.saw < ROWS + ROWS // 2
    assert grown > 0 == log_bytes(tmp_path / "r")
    assert {row["status"] for row in labels_of(tmp_path / "r")} == {"labelled"}
    each = grown / (ROWS + ROWS // 2 - reader.saw)
    figure(
        "a reader that stays",
        f"{each:,.0f} bytes of log for each vote while it reads; the log is gone with it",
    )


def test_the_log_shrinks_while_the_run_goes_on(tmp_path):
    """However large a reader has let the log grow, no more than 16 MiB of it stay once it has gone and more is written."""
    with WritableLedger(tmp_path) as ledger:
        link = ledger.put_link("a", b"f" * 16, "m")

        async def work():
            writer = ledger.writer(lambda _: None)
            numbers = itertools.count()

            async def write(count):
                for number in itertools.islice(numbers, count):
                    key = blake2b(number.to_bytes(8), digest_size=16).digest()
                    await writer.append(link, key, (number,), Vote("x", 0.5, text="x" * 200))
                await writer.do(note({}))  # returns when all of it is committed

            await write(100)
            reader = Reader(tmp_path)
            await write(MORE)
            grown = log_bytes(tmp_path)
            reader.let_go()
            await write(200)
            await write(200)
            left = log_bytes(tmp_path)
            await writer.close()
            return reader.saw, grown, left

        saw, grown, left = asyncio.run(work())
    assert saw == 100
    assert left <= WAL_BYTES < grown
    assert ledger_votes(tmp_path) == 100 + MORE + 400


def ledger_votes(out):
    """Return how many votes a ledger holds, counted one by one."""
    with contextlib.closing(sqlite3.connect(out / FILE)) as ledger:
        return ledger.execute("SELECT count(*) FROM votes").fetchone()[0]
