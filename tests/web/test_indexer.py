"""The index follows the run: while it works, when it ends, when its rows change, and when somebody removes the file."""

import contextlib
import stat
import time

import pytest

from catena.engine.run import Run
from catena.ledger import Ledger, WritableLedger
from catena.testing.provider import FakeProvider
from catena.web import indexer
from catena.web.filters import Filters
from catena.web.finder import find, options
from catena.web.index import INDEX_FILE, make_index, open_index
from catena.web.indexer import Indexer
from chains import LABELS, chain_task, execute, labels_of, openai, rows_of, texts
from steered import Steered

ID = {"id": "id"}


@contextlib.contextmanager
def opened(out):
    """Open ledger and index of a run."""
    with Ledger(out) as ledger, contextlib.closing(open_index(out)) as index:
        yield ledger, index


def counted(out):
    """Return how many items of each status, label and link the index has, each counted one by one too."""
    with opened(out) as (ledger, index):
        n = index.execute("SELECT count(*) FROM rows").fetchone()[0]
        sums = dict(index.execute("SELECT cell, count(*) FROM rows GROUP BY cell"))
        assert {cell: n for cell, n in index.execute("SELECT cell, n FROM cells") if n} == sums
        assert n == ledger.items_count()
        return options(index)


def tally(rows, column):
    """Count the values of a column of labels."""
    found = {}
    for row in rows:
        if row[column] is not None:
            found[row[column]] = found.get(row[column], 0) + 1
    return found


@pytest.fixture
def provider():
    """A provider whose two models differ."""
    with FakeProvider(labels=list(LABELS), latency=0.005, sharpness=2.0) as running:
        yield running


def chain(provider, **keys):
    """Return a task of two links."""
    return chain_task(*[openai(provider, name, concurrency=8) for name in ("small", "big")], data=ID, **keys)


def test_a_finished_run_stands_as_it_was_exported(tmp_path, provider):
    """Label, link and status of every item are those of labels.parquet; the file is its owner's alone."""
    rows = execute(chain(provider), rows_of([*texts(200), "", "  "]), tmp_path / "r")
    Indexer(tmp_path / "r").once()
    choices = counted(tmp_path / "r")
    for column in ("label", "link", "status"):
        assert choices[column] == tally(rows, column)
    assert choices["failure"]["empty"] == 2
    for path in (tmp_path / "r").glob(f"{INDEX_FILE}*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_run_at_work_is_followed(tmp_path, provider, monkeypatch):
    """What the links have said so far is there within seconds, and what is exported once it has finished."""
    monkeypatch.setattr(indexer, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(indexer, "BLOCK", 64)
    monkeypatch.setattr("catena.engine.helm.EVERY_SECONDS", 0.02)
    out = tmp_path / "r"
    run = Steered(chain(provider), rows_of(texts(600)), out)
    made = Indexer(out)
    try:
        run.seen(lambda seen: seen.links[0].answered > 100)
        made.start()
        run.ask(paused=True)
        seen = run.seen(lambda seen: not any(link.in_flight for link in seen.links))
        answered = seen.links[0].answered
        until(lambda: 600 - counted_now(out).get("waiting", 0) == answered)
        status = counted(out)["status"]
        assert status["waiting"] == 600 - answered
        assert set(status) <= {"waiting", "provisional", "failed"}
        run.ask(paused=False)
        until(
            lambda: (
                sum(counted_now(out).get(word, 0) for word in ("provisional", "labelled", "failed"))
                > answered
            )
        )
    finally:
        assert run.end() is None
    rows = labels_of(out)
    until(lambda: counted_now(out) == tally(rows, "status"))
    made.stop()
    choices = counted(out)
    assert choices["label"] == tally(rows, "label")
    assert choices["link"] == tally(rows, "link")
    assert made.state.whole


def until(happens, seconds=30):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.02)


def counted_now(out):
    """Return how many items of each status the index has."""
    index = open_index(out)
    if index is None:
        return {}
    with contextlib.closing(index):
        return options(index)["status"]


def test_changed_rows_are_found_by_their_new_text(tmp_path, provider):
    """And no longer by the old one; rows that are gone are gone."""
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(50)), out)
    Indexer(out).once()
    rows = rows_of([f"quite another matter {at}" if at == 7 else f"text number {at}" for at in range(40)])
    Run(chain(provider), rows, out).execute(update=True)
    Indexer(out).once()
    counted(out)
    with opened(out) as (ledger, index):
        assert [row for row, _ in find(index, ledger, Filters(search="another matter"), 5).rows] == [7]
        assert not find(index, ledger, Filters(search="number 45"), 5).rows
        assert [row for row, _ in find(index, ledger, Filters(search="number 39"), 5).rows] == [39]


def test_nothing_is_done_again(tmp_path, provider, monkeypatch):
    """An index that is up to date is used as it is: a large run is there at once."""
    execute(chain(provider), rows_of(texts(50)), tmp_path / "r")
    Indexer(tmp_path / "r").once()
    monkeypatch.setattr(Indexer, "_file", None)
    monkeypatch.setattr(Indexer, "_read_block", None)
    again = Indexer(tmp_path / "r")
    again.once()
    assert again.state.whole


def test_a_removed_index_is_made_again(tmp_path, provider, monkeypatch):
    """Also while the page is there."""
    monkeypatch.setattr(indexer, "LOOK_SECONDS", 0.05)
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(50)), out)
    made = Indexer(out)
    made.start()
    until(lambda: made.state.whole and counted_now(out))
    for path in out.glob(f"{INDEX_FILE}*"):
        path.unlink()
    until(lambda: sum(counted_now(out).values()) == 50)
    made.stop()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 4000])
def test_an_odd_file_in_its_place_is_replaced(tmp_path, provider, content):
    """It holds nothing that is not in the ledger."""
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(20)), out)
    (out / INDEX_FILE).write_bytes(content)
    with contextlib.closing(make_index(out)) as index:
        assert index.execute("SELECT count(*) FROM rows").fetchone() == (0,)
    Indexer(out).once()
    assert sum(counted(out)["status"].values()) == 20


def test_labels_that_are_not_what_was_written_are_not_shown_as_final(tmp_path, provider):
    """What the links have said is shown instead, as so far."""
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(30)), out)
    (out / "labels.parquet").unlink()
    Indexer(out).once()
    assert set(counted(out)["status"]) <= {"provisional", "failed"}


def test_a_nearly_full_disk_is_left_alone(tmp_path, provider, monkeypatch):
    """Texts are not indexed while less than 512 MiB are free: a run must not stop because somebody looks at it."""
    monkeypatch.setattr(indexer, "LEAST_FREE", 1 << 60)
    monkeypatch.setattr(indexer, "LOOK_SECONDS", 0.02)
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(30)), out)
    made = Indexer(out)
    made.start()
    until(lambda: "512 MiB" in made.state.trouble)
    made.stop()
    with opened(out) as (ledger, index):
        assert index.execute("SELECT count(*) FROM shards").fetchone() == (0,)
        assert [row for row, _ in find(index, ledger, Filters(search="number 17"), 5).rows] == [17]


def test_the_ledger_is_neither_written_nor_locked(tmp_path, provider):
    """Its bytes stay, and another process may write all the time."""
    out = tmp_path / "r"
    execute(chain(provider), rows_of(texts(30)), out)
    before = {
        path.name: path.read_bytes()
        for path in out.iterdir()
        if path.name in {"ledger.sqlite", "labels.parquet"}
    }
    with WritableLedger(out) as writing:
        writing._db.execute("BEGIN IMMEDIATE")
        Indexer(out).once()
        writing._db.execute("ROLLBACK")
    assert {name: (out / name).read_bytes() for name in before} == before
