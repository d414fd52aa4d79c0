"""Two processes that begin one run at the same moment: one works, the other says who does."""

import re

import pytest
from soak import figure, many

from catena.testing.provider import spawn
from chains import chain_text, finish, label_bytes, openai, rows_of, start, texts, votes_in

RACES = many(3, 50)
LABELS = ["favor", "against", "none"]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """The files of a run, as arguments; its provider answers slowly enough for a race."""
    folder = tmp_path_factory.mktemp("work")
    with spawn(labels=LABELS, latency=0.3) as provider:
        (folder / "task.yaml").write_text(chain_text(openai(provider, concurrency=4), data={"id": "id"}))
        rows_of(texts(40)).to_csv(folder / "rows.csv", index=False)
        yield ["run", folder / "task.yaml", folder / "rows.csv", "--out"]


def race(arguments, out, *more):
    """Start two processes at once; return the winner's and the loser's (pid, exit code, stderr)."""
    both = [start(*arguments, out, *more) for _ in range(2)]
    ended = [(process.pid, *finish(process)[::2]) for process in both]
    return sorted(ended, key=lambda each: each[1])


@pytest.mark.parametrize("number", range(RACES))
def test_one_wins(arguments, tmp_path, number):
    """Exactly one finishes the run; the other ends with exit code 3 and names the winner."""
    (winner, code, err), (_, other, said) = race(arguments, tmp_path / "r")
    assert (code, other) == (0, 3), (err, said)
    assert re.search(rf"process {winner} on \S+ works on this run", said), said
    assert sum(votes_in(tmp_path / "r").values()) == 40
    figure("start races", f"{number + 1} races: exactly one won each, the other named the winner")


@pytest.mark.parametrize("number", range(max(1, RACES // 3)))
def test_fresh(arguments, tmp_path, number):
    """Across the moment of --fresh no vote is lost: what was there is aside, and who finishes has all labels."""
    out = tmp_path / "r"
    assert finish(start(*arguments, out))[0] == 0
    before = label_bytes(out)
    ended = race(arguments, out, "--fresh")
    assert ended[0][1] == 0, ended
    assert ended[1][1] in {0, 3}, ended
    assert label_bytes(out) == before
    assert sum(votes_in(tmp_path / "r.old-1").values()) == 40


def test_freed_by_a_kill(arguments, tmp_path):
    """After kill -9 the run can be gone on with at once."""
    process = start(*arguments, tmp_path / "r")
    while not (tmp_path / "r" / "ledger.sqlite").exists() and process.poll() is None:
        pass
    process.kill()
    finish(process)
    code, _, err = finish(start(*arguments, tmp_path / "r"))
    assert code == 0, err
