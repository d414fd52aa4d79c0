"""Flipped bits and cut files: a damaged ledger never gives a wrong label, and its whole votes are saved."""

import contextlib
import json
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from soak import figure, many

from catena.cli.main import main
from catena.engine.run import Run
from catena.errors import CatenaError, LedgerError
from catena.ledger import FILE, Ledger
from catena.ledger.audit import audit
from catena.ledger.repair import repair
from catena.ledger.rows import VOTE_COLUMNS, vote_row
from catena.ledger.schema import TABLES
from catena.testing.provider import spawn
from catena.types import Usage, Vote
from chains import chain_task, execute, label_bytes, openai, rows_of, texts

ROWS = 150
DAMAGES = many(24, 1_000)
LABELS = ["favor", "against", "none"]
ENDED = Counter()


@pytest.fixture(scope="module")
def provider():
    """A provider in a process of its own."""
    with spawn(labels=LABELS) as running:
        yield running


@pytest.fixture(scope="module")
def whole(provider, tmp_path_factory):
    """A finished run: its task, its rows, its folder."""
    out = tmp_path_factory.mktemp("whole") / "r"
    task = chain_task(openai(provider, "small"), openai(provider, "big"), data={"id": "id"})
    rows = rows_of(texts(ROWS))
    execute(task, rows, out)
    return task, rows, out


def stored(folder):
    """Return all votes of a ledger, by link and key."""
    db = sqlite3.connect(folder / FILE)
    try:
        return {row[:2]: row for row in db.execute(f"SELECT {VOTE_COLUMNS} FROM votes")}
    finally:
        db.close()


def damage(draw, path):
    """Flip a bit, overwrite some bytes or cut the file; return how, and which bytes are no longer what they were."""
    raw = bytearray(path.read_bytes())
    size = len(raw)
    at, how = draw.randrange(len(raw)), draw.choice(["flip", "flip", "flip", "overwrite", "cut"])
    if how == "cut":
        del raw[at:]
    elif how == "flip":
        raw[at] ^= 1 << draw.randrange(8)
    else:
        raw[at : at + 300] = draw.randbytes(len(raw[at : at + 300]))
    path.write_bytes(raw)
    return how, range(at, {"cut": size, "flip": at + 1, "overwrite": at + 300}[how])


def votes_elsewhere(folder, spoiled):
    """Return how many votes of a whole ledger are in pages that have none of the spoiled bytes."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        found = db.execute("SELECT pageno, ncell FROM dbstat WHERE name = 'votes' AND pagetype = 'leaf'")
        return sum(
            votes
            for page, votes in found
            if page * size <= spoiled.start or (page - 1) * size >= spoiled.stop
        )


@pytest.mark.parametrize("seed", range(DAMAGES))
def test_damage_is_detected_or_harmless(whole, tmp_path, seed):
    """After random damage a new decision gives the right labels or stops; repaired, it gives them with every whole vote."""
    task, rows, out = whole
    run = tmp_path / "r"
    shutil.copytree(out, run)
    what = damage(random.Random(seed), run / FILE)
    (run / "labels.parquet").unlink()
    before = stored(out)
    stopped = outcome(lambda: Run(task, rows, run).execute())
    assert isinstance(stopped, LedgerError | None), (what, stopped)
    assert "\n" not in str(stopped), what
    if stopped is None:
        assert label_bytes(run) == label_bytes(out), what
    ENDED["detected" if stopped else "harmless"] += 1
    found = audit(run)
    if not found.well:
        elsewhere = votes_elsewhere(out, what[1])
        if outcome(lambda: repair(run, found)):
            assert not elsewhere, what
            ENDED["beyond repair"] += 1
        else:
            kept = stored(run)
            assert all(before[key] == row for key, row in kept.items()), what
            assert len(kept) >= elsewhere, what
            ENDED["repaired"] += 1
            Run(task, rows, run).execute()
            assert label_bytes(run) == label_bytes(out), what
            assert audit(run).well, what
    said = ", ".join(f"{count:,} {how}" for how, count in sorted(ENDED.items()))
    figure(
        "ledger damage",
        f"{seed + 1:,} damages ({said}): 0 wrong labels, every vote of an unharmed page saved",
    )


def outcome(work):
    """Return the error that work ends with, None for none."""
    try:
        work()
    except CatenaError as error:
        return error
    return None


def change(folder, sql, *values):
    """Change a ledger behind its back."""
    db = sqlite3.connect(folder / FILE)
    with db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE votes SET label = 'none' WHERE vote = 3",
        "UPDATE votes SET confidence = 9 WHERE vote = 3",
        "UPDATE asked SET key = (SELECT key FROM votes WHERE vote = 9) WHERE row = 3",
        "UPDATE items SET id = 'x' WHERE row = 3",
        "DELETE FROM asked WHERE row = 3",
        "DELETE FROM votes WHERE vote = 3",
        "DELETE FROM items WHERE row = 149",
    ],
)
def test_a_changed_row_is_refused(whole, tmp_path, sql):
    """A row that says something else than was stored, or is gone, stops an export in one line that names the way on."""
    run = tmp_path / "r"
    shutil.copytree(whole[2], run)
    change(run, sql)
    assert main(["results", str(run), "--out", str(tmp_path / "x.csv")]) == 3
    assert not (tmp_path / "x.csv").exists()


def test_check_and_repair(whole, provider, tmp_path, capsys):
    """`check --ledger` says what is damaged and exits 1; `--repair` keeps the rest; the run buys the lost vote alone."""
    task, rows, out = whole
    run = tmp_path / "r"
    shutil.copytree(out, run)
    assert main(["check", "--ledger", str(run)]) == 0
    change(run, "UPDATE votes SET label = 'none' WHERE vote = 3")
    with pytest.raises(LedgerError, match="--repair"), Ledger(run) as ledger:
        ledger.decided(1, LABELS, ROWS)
    capsys.readouterr()
    assert main(["check", "--ledger", str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["damaged"]["votes"] == 1
    assert main(["check", "--ledger", str(run), "--repair", "--json"]) == 0
    repaired = json.loads(capsys.readouterr().out)["repaired"]
    assert (repaired["lost"], Path(repaired["aside"]).exists()) == (1, True)
    calls = provider.stats()["answered"]
    Run(task, rows, run).execute()
    assert provider.stats()["answered"] == calls + 1
    assert label_bytes(run) == label_bytes(out)


@pytest.mark.parametrize(
    "spoiled", [b"CREATE TABLE \xa0otes", b"CREATE \nABLE votes", b"CREATE TABLE votes ,"]
)
def test_a_table_that_sqlite_can_t_make_out(whole, tmp_path, capsys, spoiled):
    """Where what SQLite knows of a table is damaged, each command says so in one line, and a repair loses no vote."""
    task, rows, out = whole
    run = tmp_path / "r"
    shutil.copytree(out, run)
    raw = (run / FILE).read_bytes()
    whole_one = b"CREATE TABLE votes ("[: len(spoiled)]
    assert raw.count(whole_one) == 1
    (run / FILE).write_bytes(raw.replace(whole_one, spoiled))
    for line in (["status", str(run)], ["results", str(run), "--out", str(tmp_path / "x.csv")]):
        assert main(line) == 3
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert "is damaged" in said
    stopped = outcome(lambda: Run(task, rows, run).execute())
    assert isinstance(stopped, LedgerError)
    assert "\n" not in str(stopped)
    repair(run, audit(run))
    assert stored(run) == stored(out)
    Run(task, rows, run).execute()
    assert label_bytes(run) == label_bytes(out)


def test_header_destroyed(whole, tmp_path):
    """Without its first hundred bytes SQLite opens no file; every vote is found in its pages."""
    task, rows, out = whole
    run = tmp_path / "r"
    shutil.copytree(out, run)
    raw = bytearray((run / FILE).read_bytes())
    raw[:100] = bytes(100)
    (run / FILE).write_bytes(raw)
    repair(run, audit(run))
    assert stored(run) == stored(out)
    Run(task, rows, run).execute()
    assert label_bytes(run) == label_bytes(out)


@pytest.mark.parametrize(
    "line",
    [
        ["check"],
        ["check", "--repair"],
        ["check", "task.yaml", "--ledger", "r"],
        ["check", "--ledger", "none"],
    ],
)
def test_wrong_usage(line, tmp_path, monkeypatch):
    """A mixture of the two forms of the command, and a folder that is no run, are wrong usage."""
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2


def test_version_1(tmp_path):
    """A ledger of version 1 is brought up to date when it is opened, and its votes are unharmed."""
    vote = Vote("favor", 0.5, "label_logprobs", (-0.1, None), "favor", Usage(9, 1, 0.5, 3.0), "m")
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript(TABLES + "PRAGMA application_id = 0x43617465; PRAGMA user_version = 1;")
    with db:
        db.execute("INSERT INTO links VALUES (1, 'small', ?, 'm', 2.5)", (b"f" * 16,))
        *values, bounds, digest = vote_row(1, b"k" * 16, vote)
        assert bounds is None
        db.execute(f"INSERT INTO votes VALUES (1, {', '.join('?' * 16)})", (*values, digest))
        db.execute("INSERT INTO asked VALUES (1, 0, ?)", (b"k" * 16,))
        db.execute("INSERT INTO items VALUES (0, 'i0', 'text', NULL, NULL, '{}', ?)", (b"d" * 8,))
        db.execute("INSERT INTO meta VALUES ('columns', '[]')")
    db.close()
    with Ledger(tmp_path) as ledger:
        assert list(ledger.answers(1)) == [(0, "i0", vote, True)]
        assert ledger.spent(1) == {
            "calls": 1, "prompt_tokens": 9, "completion_tokens": 1, "cost_usd": 0.5, "seconds": 2.5,
        }  # fmt: skip
        assert (ledger.asked_count(1), ledger.votes_count(1), ledger.get("columns")) == ((1, 0), 1, [])
    assert audit(tmp_path).well
