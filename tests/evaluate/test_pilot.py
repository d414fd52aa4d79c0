"""The pilot: who is in it."""

import numpy as np
import pytest

from catena.errors import InputError
from catena.evaluate.pilot import choose_pilot
from panels import panel, without


def test_the_same_pilot_is_found_without_the_rest():
    """Whether gold, votes or both of other items are there makes no difference."""
    votes, _ = panel([1.0, 2.0], lost=0.02)
    rows = choose_pilot(votes, "200", 5)
    rest = np.setdiff1d(np.arange(len(votes)), rows)
    bare = without(votes, rest)
    assert (choose_pilot(bare, "200", 5) == rows).all()
    no_votes = without(votes, rest)
    no_votes.gold[rest] = votes.gold[rest]
    assert (choose_pilot(no_votes, "200", 5) == rows).all()


def test_seeds_draw_different_pilots():
    """Of about the overlap that chance gives."""
    votes, _ = panel([1.0])
    both = np.intersect1d(choose_pilot(votes, "300", 0), choose_pilot(votes, "300", 1))
    assert 60 < len(both) < 140


def test_a_list_is_taken_at_its_word(tmp_path):
    """One id per line, in any order."""
    votes, _ = panel([1.0])
    file = tmp_path / "pilot.txt"
    file.write_text("\n".join(f"i{i}" for i in range(40, 10, -1)), "utf-8")
    assert choose_pilot(votes, str(file), 0).tolist() == list(range(11, 41))


def test_wrong_pilots_are_refused(tmp_path):
    """Too few, too many, unknown ids, ids without gold, no such file."""
    votes, _ = panel([1.0])
    votes.gold[3] = -1
    file = tmp_path / "pilot.txt"
    for pilot, says in (("5", "too few"), ("5000", "only 899 items have gold"), ("no.txt", "no.txt")):
        with pytest.raises(InputError, match=says):
            choose_pilot(votes, pilot, 0)
    for line, says in (("nope", "not in the vote table"), ("i3", "no gold")):
        file.write_text(line, "utf-8")
        with pytest.raises(InputError, match=says):
            choose_pilot(votes, str(file), 0)
