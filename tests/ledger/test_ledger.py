"""The ledger gives back what was put in, to whoever may read it, and refuses what it does not know."""

import asyncio
import signal
import sqlite3
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.errors import CatenaError, LedgerError
from catena.ledger import FILE, Ledger, WritableLedger
from catena.ledger.rows import VOTE_COLUMNS, answer_from, vote_digest, vote_row
from catena.ledger.schema import VERSION
from catena.types import Failure, Item, Usage, Vote

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBER = st.floats(allow_nan=False)
USAGE = st.builds(
    Usage, st.integers(0, 10**9), st.integers(0, 10**9), st.none() | NUMBER, NUMBER, st.integers(0, 99)
)
VOTES = st.builds(
    Vote, TEXT, st.none() | st.floats() | st.integers(-9, 9), TEXT,
    st.none() | st.lists(st.none() | NUMBER, max_size=5).map(tuple), TEXT, USAGE, TEXT,
)  # fmt: skip
BOUNDED = st.builds(
    lambda vote, bounds: msgspec.structs.replace(
        vote, lower=tuple(low for low, _ in bounds), upper=tuple(high for _, high in bounds)
    ),
    VOTES,
    st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5),
)
FAILURES = st.builds(Failure, TEXT, TEXT, text=TEXT, usage=USAGE, model=TEXT)


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger that may be written."""
    opened = WritableLedger(tmp_path)
    yield opened
    opened.close()


def items(*texts, **more):
    """Return one block of items."""
    return [[Item(at, f"i{at}", text, **more) for at, text in enumerate(texts)]]


def store(ledger, link, answers):
    """Append answers, one row each."""

    async def work():
        writer = ledger.writer(lambda _: None)
        for row, answer in enumerate(answers):
            await writer.append(link, b"key%d" % row, (row,), answer)
        await writer.close()

    asyncio.run(work())


def stored(answer):
    """Return an answer as SQLite keeps it, and its digest."""
    db = sqlite3.connect(":memory:")
    try:
        db.execute(f"CREATE TABLE votes ({VOTE_COLUMNS.replace('confidence', 'confidence REAL')}, digest)")
        db.execute(f"INSERT INTO votes VALUES ({', '.join('?' * 17)})", vote_row(1, b"k", answer))
        *values, checksum = db.execute("SELECT * FROM votes").fetchone()
    finally:
        db.close()
    return values, checksum


@given(VOTES | BOUNDED | FAILURES)
def test_round_trip(answer):
    """A vote or failure with any text and any numbers is read back as it was; NaN as no confidence."""
    values, _ = stored(answer)
    if isinstance(answer, Vote) and answer.confidence is not None and np.isnan(answer.confidence):
        answer = msgspec.structs.replace(answer, confidence=None)
    assert answer_from(values) == answer


@given(VOTES | BOUNDED | FAILURES)
def test_digest_of_what_is_stored(answer):
    """The digest of a row is that of the values SQLite gives back, so that a check can compare them."""
    values, checksum = stored(answer)
    assert vote_digest(values) == checksum


def test_decided(ledger):
    """`decided` has the label index and confidence of each answered row, -1 and NaN for a failure, False for none."""
    link = ledger.put_link("a", b"f" * 16, "m")
    store(ledger, link, [Vote("y", 0.5), Failure("no_label", "x"), Vote("x", None), Vote("stranger", 1.0)])
    asked, label, confidence = ledger.decided(link, ("x", "y"), 5)
    assert asked.tolist() == [True, True, True, True, False]
    assert label.tolist() == [1, -1, 0, -1, -1]
    np.testing.assert_array_equal(confidence, [0.5, np.nan, np.nan, 1.0, np.nan])


def test_compare_items(ledger):
    """Rows are told apart by id: added, removed, edited and moved ones are counted."""
    ledger.replace_items(items("a", "b", "c", "d"))
    given_ = [[Item(0, "i1", "b"), Item(1, "i0", "a"), Item(2, "i2", "C"), Item(3, "new", "e")]]
    changes = ledger.compare_items(given_)
    assert (changes.added, changes.removed, changes.edited, changes.moved) == (1, 1, 1, 2)
    assert str(changes) == "1 added, 1 removed, 1 edited, 2 moved"


def test_gold_may_change(ledger):
    """Rows that differ in gold only are no change; they are counted, and comparing changes nothing."""
    ledger.replace_items(items("a", "b"), finished="yes")
    changes = ledger.compare_items(items("a", "b", gold="x"))
    assert not changes
    assert changes.gold == 2
    assert list(ledger.gold()) == [None, None]
    assert ledger.get("finished") == "yes"


def test_other_link_settings_keep_votes(ledger):
    """A link with a new fingerprint forgets which votes its rows used, and loses none of them."""
    link = ledger.put_link("a", b"f" * 16, "m")
    store(ledger, link, [Vote("x", 0.5)])
    assert ledger.put_link("a", b"g" * 16, "m") == link
    assert (ledger.asked_count(link), ledger.votes_count(link)) == ((0, 0), 1)


def test_newer_version_is_refused(tmp_path):
    """A ledger of a newer Catena is left alone."""
    WritableLedger(tmp_path).close()
    db = sqlite3.connect(tmp_path / FILE)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(LedgerError, match=f"version {VERSION + 1}.*Upgrade"):
        Ledger(tmp_path)


@pytest.mark.parametrize("opened", [WritableLedger, Ledger])
def test_foreign_files_are_refused(tmp_path, opened):
    """An SQLite file of another program, and a file that is none, are refused in one line."""
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(LedgerError, match="is not a Catena ledger"):
        opened(tmp_path)
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to be looked at" * 99)
    with pytest.raises(LedgerError, match="not a database") as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


def test_no_run(tmp_path):
    """A folder without a ledger is no run, and reading makes none."""
    with pytest.raises(CatenaError, match="holds no run"):
        Ledger(tmp_path)
    assert not list(tmp_path.iterdir())


def test_read_while_written(ledger, tmp_path):
    """A second, read-only connection sees what is committed while the first one goes on."""
    ledger.replace_items(items("a"))
    reader = Ledger(tmp_path)
    link = ledger.put_link("a", b"f" * 16, "m")
    store(ledger, link, [Vote("x", 0.5)])
    assert reader.votes_count(link) == 1
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM votes")
    reader.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from catena.ledger import WritableLedger
from catena.types import Vote
ledger = WritableLedger(Path(sys.argv[1]))
link = ledger.put_link("a", b"f" * 16, "m")
async def work():
    writer = ledger.writer(lambda group: group and os.kill(os.getpid(), signal.SIGKILL))
    await writer.append(link, b"k", (0,), Vote("x", 0.5))
    await asyncio.sleep(30)
asyncio.run(work())
"""


def test_read_after_kill(tmp_path):
    """After kill -9 the committed vote, still in the WAL, is read by a read-only connection; all files are private."""
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / f"{FILE}-wal").stat().st_size
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}
    reader = Ledger(tmp_path)
    assert reader.votes_count(reader.links()["a"][0]) == 1
    reader.close()
