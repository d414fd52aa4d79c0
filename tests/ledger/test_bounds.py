"""Bounds of the labels' probabilities: stored with each vote, kept by migrations and repairs, given on in vote tables."""

import math
import sqlite3

import pyarrow.parquet as pq
import pytest

from catena.data.votes import read_votes
from catena.ledger import FILE, Ledger
from catena.ledger.audit import audit
from catena.ledger.export import export_votes
from catena.ledger.file import connect
from catena.ledger.repair import repair
from catena.ledger.rows import VOTE_COLUMNS, answer_from, digest
from catena.testing.provider import FakeProvider
from chains import answers_in, chain_task, execute, openai, rows_of, texts

LABELS = ("pro-war", "pro-peace", "neutral")
ROWS = 40


@pytest.fixture
def run(tmp_path):
    """A finished run whose links list five alternatives, so that bounds and estimates differ."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, top_logprobs=5), labels=LABELS, data={"id": "id"})
        execute(task, rows_of(texts(ROWS)), tmp_path / "r")
    return tmp_path / "r"


def test_the_margin_that_routes_is_the_least(run):
    """A vote's confidence is the log of its label's lower bound less that of the largest other upper bound."""
    votes = answers_in(run, "small").values()
    for vote in votes:
        best = LABELS.index(vote.label)
        rivals = [high for at, high in enumerate(vote.upper) if at != best]
        least = math.log(vote.lower[best]) - math.log(max(rivals)) if vote.lower[best] else 0.0
        assert vote.confidence == pytest.approx(max(least, 0.0))
        for low, logprob, high in zip(vote.lower, vote.logprobs, vote.upper, strict=True):
            assert low <= (0.0 if logprob is None else math.exp(logprob)) + 1e-12
            assert (0.0 if logprob is None else math.exp(logprob)) <= high + 1e-12
    assert any(high > low for vote in votes for low, high in zip(vote.lower, vote.upper, strict=True))


def test_a_vote_table_has_them_and_a_replay_says_them_again(run, tmp_path):
    """`label_lower` and `label_upper` are exported; a replay link's votes have them; readers of votes need neither."""
    with Ledger(run) as ledger:
        columns = chain_task({"name": "a", "kind": "replay", "votes": "x"}, data={"id": "id"}).data
        export_votes(ledger, ["small"], LABELS, columns, tmp_path / "votes")
    rows = pq.read_table(tmp_path / "votes" / "votes.parquet").to_pylist()
    votes = answers_in(run, "small")
    assert [tuple(row["label_lower"]) for row in rows] == [vote.lower for vote in votes.values()]
    assert [tuple(row["label_upper"]) for row in rows] == [vote.upper for vote in votes.values()]
    assert read_votes(tmp_path / "votes").confidence[0].tolist() == [row["confidence"] for row in rows]
    replay = {"name": "small", "kind": "replay", "votes": str(tmp_path / "votes")}
    execute(chain_task(replay, labels=LABELS, data={"id": "id"}), rows_of(texts(ROWS)), tmp_path / "again")
    again = answers_in(tmp_path / "again", "small")
    assert {row: (vote.lower, vote.upper) for row, vote in again.items()} == {
        row: (vote.lower, vote.upper) for row, vote in votes.items()
    }


def test_an_older_ledger_keeps_its_votes(run):
    """Votes of a ledger that knew no bounds are whole after the migration, and have none."""
    before = answers_in(run, "small")
    with sqlite3.connect(run / FILE) as connection:
        names = "label, confidence, source, logprobs, text, calls, prompt_tokens, completion_tokens, cost_usd"
        names = f"link, key, {names}, latency_ms, model, reason, message"
        for vote, *values in connection.execute(f"SELECT vote, {names} FROM votes").fetchall():
            connection.execute("UPDATE votes SET digest = ? WHERE vote = ?", (digest(values), vote))
        connection.execute("ALTER TABLE votes DROP COLUMN bounds")
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    after = answers_in(run, "small")
    assert [vote.logprobs for vote in after.values()] == [vote.logprobs for vote in before.values()]
    assert {(vote.lower, vote.upper) for vote in after.values()} == {(None, None)}
    assert audit(run).well


@pytest.mark.parametrize("damage", ["NULL", "zeroblob(48)"])
def test_a_bound_that_was_changed_is_damage(run, damage):
    """Bounds are under the vote's checksum, absent ones too."""
    connection = connect(run / FILE, "rw")
    connection.execute(f"UPDATE votes SET bounds = {damage} WHERE vote = 3")
    connection.close()
    assert audit(run).damaged["votes"] == 1


def test_a_repair_from_raw_pages_keeps_them(run):
    """Where SQLite can't reach the votes, those in the raw pages come back with their bounds."""
    before = {(vote.lower, vote.upper) for vote in answers_in(run, "small").values()}
    connection = connect(run / FILE, "rw")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'votes'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with (run / FILE).open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 100)
    found = audit(run)
    assert not found.well
    repair(run, found)
    connection = connect(run / FILE, "ro")
    stored = [answer_from(row) for row in connection.execute(f"SELECT {VOTE_COLUMNS} FROM votes")]
    connection.close()
    assert {(vote.lower, vote.upper) for vote in stored} == before
