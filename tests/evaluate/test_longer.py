"""One link more: at every place, for the same money."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.evaluate.longer import lengthened, within

CHAIN, FORWARDED = (4, 0, 2), (1.0, 0.5, 0.1)
PARTS = st.lists(st.floats(0.05, 1), min_size=1, max_size=7)


def falling(parts):
    """Return forwarding that falls along a chain, the first 1."""
    return (1.0, *np.cumprod(parts).tolist())


def test_the_link_comes_at_every_place():
    """The others stay in their order, and at each place it gets as much as its neighbours, or between them."""
    found = lengthened(CHAIN, FORWARDED, 7)
    assert {links for links, _ in found} == {(7, 4, 0, 2), (4, 7, 0, 2), (4, 0, 7, 2), (4, 0, 2, 7)}
    between = [parts[2] for links, parts in found if links.index(7) == 2]
    assert between == pytest.approx([0.5, 0.05**0.5, 0.1])
    assert [parts[3] for links, parts in found if links.index(7) == 3] == pytest.approx([0.1, 0.06, 0.03])


@given(PARTS, st.integers(0, 8))
def test_forwarding_falls(parts, link):
    """Along every longer chain, from 1."""
    links = tuple(range(10, 10 + len(parts) + 1))
    for longer, forwarded in lengthened(links, falling(parts), link):
        assert len(longer) == len(forwarded) == len(links) + 1
        assert forwarded[0] == 1
        assert all(a >= b for a, b in pairwise(forwarded))


@given(PARTS, st.lists(st.floats(0, 9), min_size=8, max_size=8), st.floats(0.001, 1.5))
def test_the_budget_is_spent(parts, costs, part):
    """What the first link leaves is spent, or all are asked about everything; forwarding falls as it did."""
    forwarded, cost = falling(parts), costs[: len(parts) + 1]
    left = part * sum(cost[1:])
    found = within(forwarded, cost, left)
    spent = sum(share * each for share, each in zip(found[1:], cost[1:], strict=True))
    assert max(found) <= 1 + 1e-9
    assert all(a >= b - 1e-12 for a, b in pairwise(found))
    assert spent == pytest.approx(min(left, sum(cost[1:])), abs=1e-9)
