"""Agreement of people: on what several of them have labelled, and on nothing else."""

import pytest

from catena.evaluate.people import people_agreement
from catena.ledger.desk import Desk
from catena.ledger.marks import Mark

LABELS = ("yes", "no")


def desk_with(folder, said):
    """Return a desk on which people said these labels, by item; a dash is none."""
    desk = Desk(folder)
    queue = desk.begin("people", {"labels": LABELS})
    desk.put(queue, [(b"k%d" % at, at, f"i{at}", 2) for at in range(len(said[0]))])
    names = {"y": "yes", "n": "no"}
    marks = [
        (at + 1, Mark(f"p{who}", names[letter], at=1.0))
        for who, letters in enumerate(said)
        for at, letter in enumerate(letters)
        if letter != "-"
    ]
    desk.answer_all(marks)
    return desk, queue


def test_two_people(tmp_path):
    """Cohen's kappa by hand: 3 of 4 alike, 1/2 by chance; what one of them labelled alone says nothing."""
    desk, queue = desk_with(tmp_path, ["yynny-", "yynyn-", "-----y"][:2])
    found = people_agreement(desk, queue, LABELS)
    assert found["items"] == 5
    ((pair),) = found["pairs"]
    assert (pair["people"], pair["items"]) == (["p0", "p1"], 5)
    assert pair["kappa"] == pytest.approx((3 / 5 - 13 / 25) / (1 - 13 / 25))
    assert found["alpha"] == pytest.approx(1 - (4 / 10) / (2 * 6 * 4 / (10 * 9)))
    desk.close()


def test_nobody_twice(tmp_path):
    """Without an item that two have labelled there is no agreement."""
    desk, queue = desk_with(tmp_path, ["yn--", "--yn"])
    assert people_agreement(desk, queue, LABELS) == {"items": 0, "alpha": None, "pairs": []}
    desk.close()
