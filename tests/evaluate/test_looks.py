"""How many items are drawn, and when it is looked at them."""

from fractions import Fraction

import pytest

from catena.evaluate.looks import draws_worth, looks_at

NINE = Fraction(9, 10)


@pytest.mark.parametrize("early", [1, 2, 3])
@pytest.mark.parametrize("items", [10, 600, 20_000])
def test_looks_share_what_is_worth_drawing(items, early):
    """They rise to all that is drawn; a part of it fits the path where there are several links before the last."""
    looks = looks_at(items, NINE, early, None, own=True)
    assert looks.most == draws_worth(items, NINE)
    assert list(looks.ends) == sorted(looks.ends)
    assert looks.fit == (looks.most // 8 if early > 1 else 0)
    assert looks.first == looks.fit + looks.ends[0] <= looks.most
    assert sum(looks.parts) == pytest.approx(1)


def test_a_reference_that_costs_no_call_is_drawn_as_often_as_is_said():
    """As gold: but not more items than there are. Of the last link, no more than are worth their calls."""
    assert looks_at(600, NINE, 1, 400, own=False).most == 400
    assert looks_at(600, NINE, 1, 4000, own=False).most == 600
    assert looks_at(600, NINE, 1, 4000, own=True).most == draws_worth(600, NINE)
    assert looks_at(600, NINE, 1, 20, own=True).most == 20
