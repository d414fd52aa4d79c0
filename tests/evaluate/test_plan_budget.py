"""Budgets and targets as people write them."""

import pytest

from catena.errors import InputError
from catena.evaluate.budget import Budget, parse_budget, parse_target


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("25usd", Budget("25usd", usd=25.0)),
        ("2.5usd/1k", Budget("2.5usd/1k", usd_per_item=0.0025)),
        ("0.5x:big-one", Budget("0.5x:big-one", times=0.5, link="big-one")),
        (".5x", Budget(".5x", times=0.5)),
    ],
)
def test_four_forms(text, budget):
    """Dollars in all, dollars per thousand rows, a multiple of a link, a multiple of the best single link."""
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "5", "0usd", "-1usd", "0x", "5eur", "nanusd", "x:big", "1e3usd", "1x:"])
def test_anything_else_is_refused(text):
    """In one line that shows the forms."""
    with pytest.raises(InputError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["accuracy", "accuracy=1.5", "accuracy=0", "f1=0.5"])
def test_targets_are_shares(text):
    """A known metric and a number up to 1."""
    assert parse_target("macro_f1=.8").value == 0.8
    with pytest.raises(InputError, match="--target"):
        parse_target(text)
