"""The benchmark of class shares, on the recorded sets."""

import os
from pathlib import Path

import pytest

from catena.data.votes import read_votes


@pytest.mark.parametrize("name", ["arena", "mmlu", "emotion"])
def test_intervals_hold_the_truth_on_votes_of_real_models(name):
    """95 % intervals from 100 rows with gold hold it in at least 90 of 100 draws; good labels make them narrower."""
    folder = os.environ.get("CATENA_RECORDED")
    if not folder:
        pytest.skip(
            "CATENA_RECORDED names no folder of recorded vote tables; they are not part of this repository"
        )
    import estimate

    votes = read_votes(Path(folder) / name)
    for whose, label in estimate.labellings(votes).items():
        _, least, width, alone = estimate.measure(votes, label, 100, 100)
        assert least >= 0.9, whose
        if "best" in whose:
            assert width < 0.9 * alone
        assert width < 1.02 * alone
