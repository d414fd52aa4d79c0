"""Label distributions of a vote table."""

import numpy as np
import pytest

from catena.data.distributions import read_logprobs
from catena.data.votes import read_votes
from catena.errors import DataError
from tables import vote, write_votes


def test_lists_stand_at_their_vote(tmp_path):
    """Any row order; null lists, null numbers and votes for unknown items leave NaN."""
    rows = [
        vote("b", "big", label_logprobs=[-1.0, None]),
        vote("x", "big", label_logprobs=[-9.0, -9.0]),
        vote("a", "small", label_logprobs=[-0.5, -2.0]),
        vote("a", "big", label_logprobs=None),
    ]
    folder = write_votes(tmp_path / "votes", rows)
    words = read_logprobs(folder, read_votes(folder))
    expected = np.full((2, 2, 2), np.nan)
    expected[0, 1, 0], expected[1, 0] = -1.0, (-0.5, -2.0)
    assert np.array_equal(words, expected.astype(np.float32), equal_nan=True)


def test_none_where_there_are_none(tmp_path):
    """Without the column, or with nulls only."""
    for more in ({}, {"label_logprobs": None}):
        folder = write_votes(tmp_path / f"votes{len(more)}", [vote("a", **more)])
        assert read_logprobs(folder, read_votes(folder)) is None


def test_a_list_of_another_length_is_refused(tmp_path):
    """It can't be told which label a number belongs to."""
    folder = write_votes(tmp_path / "votes", [vote("a", label_logprobs=[-1.0])])
    with pytest.raises(DataError, match="2 numbers"):
        read_logprobs(folder, read_votes(folder))
