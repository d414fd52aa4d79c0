"""The points of time that a ledger notes beside its votes."""

import sqlite3

import pytest

from catena.ledger.clock import FACT, MOST, Clock
from catena.ledger.schema import create


@pytest.fixture
def ledger():
    """An empty ledger's tables, and a way to store a vote and another to read what was noted."""
    connection = sqlite3.connect(":memory:", isolation_level=None)  # thousands of commits
    create(connection)

    class Small:
        votes = 0

        def vote(self):
            self.votes += 1
            connection.execute(
                "INSERT INTO votes (link, key, source, text, calls, prompt_tokens, completion_tokens, latency_ms, model, "
                "digest) VALUES (1, ?, '', '', 1, 0, 0, 0, '', x'00')",
                (self.votes.to_bytes(8),),
            )

        def noted(self):
            import json

            return json.loads(
                connection.execute("SELECT value FROM meta WHERE key = ?", (FACT,)).fetchone()[0]
            )

    small = Small()
    small.connection = connection
    yield small
    connection.close()


def run(ledger, clock, times, begins):
    """Store a vote at each of these times, by a process that began at one."""
    clock[0] = begins
    noting = Clock(lambda: clock[0])
    for at in times:
        ledger.vote()
        clock[0] = at
        noting.tick(ledger.connection)


def test_a_pause_between_two_processes_is_one(ledger):
    """The second one notes when it began, with as many votes as there were."""
    clock = [0.0]
    run(ledger, clock, [101.0, 102.0], begins=100.0)
    run(ledger, clock, [901.0], begins=900.0)
    assert ledger.noted()["points"] == [[0, 100.0], [1, 101.0], [2, 102.0], [2, 900.0], [3, 901.0]]


def test_however_long_it_takes_there_are_not_more_points(ledger):
    """Ever more seldom; the first and the latest stay, and the order too."""
    clock = [0.0]
    run(ledger, clock, [float(at) for at in range(1, 3000)], begins=0.0)
    points = ledger.noted()["points"]
    assert MOST / 3 < len(points) <= MOST
    assert points[0] == [0, 0.0]
    assert points[-1][1] >= 2999 - 2 * ledger.noted()["every"]
    assert points == sorted(points)


def test_what_is_damaged_is_begun_anew(ledger):
    """No label depends on it, so it stops nobody."""
    clock = [0.0]
    run(ledger, clock, [1.0, 2.0], begins=0.0)
    ledger.connection.execute("UPDATE meta SET value = 'x' WHERE key = ?", (FACT,))
    run(ledger, clock, [9.0], begins=8.0)
    assert ledger.noted()["points"] == [[0, 8.0], [3, 9.0]]
