"""Replay links say again what was recorded, about the same items."""

import asyncio
import math

import pytest

from catena.errors import TaskError
from catena.types import Failure, Item, Vote
from chains import open_alone
from tables import vote, write_votes


def replay(folder, **options):
    """Return a replay link `small`."""
    return open_alone(
        {"name": "small", "kind": "replay", "votes": str(folder)} | options, labels=["against", "favor"]
    )


def ask(link, *ids):
    """Return the answers about these items."""
    return asyncio.run(link.ask([link.render(Item(0, id_, "text")) for id_ in ids]))


def test_votes(tmp_path):
    """A recorded vote comes back with label, confidence, log-probabilities and cost; an unrecorded one is missing."""
    folder = write_votes(tmp_path / "v", [vote("a", label_logprobs=[-2.0, None], cost_usd=0.25)])
    found, missing = ask(replay(folder), "a", "b")
    assert (found.label, found.confidence, found.logprobs, found.usage.cost_usd) == (
        "favor",
        0.5,
        (-2.0, None),
        0.25,
    )
    assert (missing.reason, missing.usage.calls) == ("missing", 0)


def test_failures(tmp_path):
    """Null labels and texts that are no label are failures, also with a confidence, with the recorded reason."""
    votes = [
        vote("a", label=None, error="timeout: no answer"),
        vote("b", label="maybe", error=None),
        vote("c", label=None, error=None),
    ]
    a, b, c = ask(replay(write_votes(tmp_path / "v", votes, list("abc"))), *"abc")
    assert (a.reason, a.message) == ("timeout", "no answer")
    assert "'maybe'" in b.message
    assert all(isinstance(answer, Failure) and not answer.retryable for answer in (a, b, c))


def test_nan_is_no_confidence(tmp_path):
    """NaN is no confidence."""
    (found,) = ask(replay(write_votes(tmp_path / "v", [vote("a", confidence=math.nan)])), "a")
    assert isinstance(found, Vote)
    assert (found.confidence, found.source) == (None, "none")


def test_fingerprint_follows_the_votes(tmp_path):
    """Other votes are another fingerprint; another place of the same votes is not."""
    one = write_votes(tmp_path / "one", [vote("a")])
    same = write_votes(tmp_path / "same", [vote("a")])
    other = write_votes(tmp_path / "other", [vote("a", confidence=0.6)])
    assert replay(one).fingerprint == replay(same).fingerprint != replay(other).fingerprint


def test_no_such_votes(tmp_path):
    """A folder without votes, and a link that was not recorded, are named."""
    with pytest.raises(TaskError, match="is not a vote table"):
        replay(tmp_path)
    with pytest.raises(TaskError, match="no votes of a link 'big'"):
        ask(replay(write_votes(tmp_path / "v", [vote("a")]), link="big"), "a")
