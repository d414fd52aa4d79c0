"""Candidates on halves of the pilot: each half keeps to the budget by itself."""

import numpy as np
import pytest

from catena.evaluate.contest import Draw, draw_of
from catena.evaluate.crossfit import CrossFit
from catena.evaluate.halves import Halves, counted
from catena.evaluate.prices import Prices
from catena.evaluate.search import Candidate, Search
from panels import panel, planner

CHAINS = [
    Candidate((0,), (1.0,)),
    Candidate((1, 2), (1.0, 0.31)),
    Candidate((0, 2, 1), (1.0, 0.5, 0.2)),
]


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["even", "uneven"])
def search(request):
    """All candidates over a pilot of 200 items."""
    votes, _ = panel([0.6, 1.2, 1.9], uneven=request.param)
    pilot = planner(votes, 200)[0].pilot
    paid = np.nan_to_num(pilot.votes.cost_usd)
    return Search(CrossFit(pilot, 3), Prices(paid, 2, 1000), pilot.tie)


def halves(search, draw):
    """Its candidates on some halves."""
    return Halves(search.fit, search._relative, search._tie, draw)


@pytest.mark.parametrize("chain", CHAINS)
def test_the_whole_is_what_a_replay_says(search, chain):
    """A half that holds all items forwards the same ones as the plan does."""
    every = np.ones((2, 200), bool)
    luck = np.random.default_rng(0).normal(size=every.shape)
    found = halves(search, Draw(every, luck[0], luck)).chain(chain.links, chain.forwarded)
    said = search.replay(chain)
    assert found.soft == pytest.approx(said.soft.mean())
    assert found.fair == pytest.approx(said.fair.mean())
    assert found.hard == pytest.approx(said.hard.mean())
    assert found.lucky == pytest.approx((luck * said.hard).mean(1))


def test_single_links_are_counted(search):
    """Their own labels, on each half and on nothing else."""
    draw = draw_of(search._tie)
    said = search.fit.alone[1]
    assert halves(search, draw).alone(1).hard == pytest.approx(
        [said.hard[half].mean() for half in draw.halves]
    )


def test_each_half_has_its_own_budget(search):
    """A cheap link first, a far better one for a third: halves that hold more than half of the forwarded items look better
    when counted as they are; on halves that forward their own items, the difference between halves is far less.
    """
    chain = Candidate((0, 2), (1.0, 0.33))
    draw = draw_of(search._tie)
    said = search.replay(chain)
    assert (
        halves(search, draw).chain(chain.links, chain.forwarded).soft.std()
        < 0.8 * counted(said, draw).soft.std()
    )
