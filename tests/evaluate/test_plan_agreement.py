"""Plans without gold: agreement with one of the links, which agrees with itself."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from catena.errors import InputError
from catena.evaluate.budget import parse_budget, parse_target
from catena.evaluate.pilot import agreeing, dearest, take
from catena.evaluate.plan import Planner, held_out
from catena.evaluate.planned import run_planned
from catena.routing import ties
from panels import panel, planner, sample

HARDER = [0.6, 1.2, 1.9]


def agreeing_with(votes, link="link2"):
    """The table with a link's votes in place of gold."""
    return replace(votes, gold=votes.chain([link]).label[0])


def test_the_dearest_link_is_known():
    """It is the one to agree with where there is no gold; its votes become the sample's gold."""
    votes, _ = panel(HARDER, prices=[1, 9, 3])
    some = sample(votes, np.arange(100))
    assert dearest(some.votes) == "link1"
    assert (agreeing(some, "link1").votes.gold == votes.label[1, :100]).all()


@pytest.mark.parametrize("full", [False, True])
def test_the_link_agrees_with_itself_at_its_price(full):
    """For its price it is the plan, surely and wholly; no plan costs more; below, the frontier rises to it."""
    votes, words = panel(HARDER)
    maker, _ = planner(
        agreeing_with(votes), 200, logprobs=words if full else None, metric="agreement", agree_with="link2"
    )
    found = maker.plan(parse_budget("1.5x:link2"))
    assert found.planned.chain == ("link2",)
    assert (found.found.accuracy, found.found.low, found.found.high) == (1, 1, 1)
    frontier = maker.frontier(None)
    assert len(frontier) >= 3
    assert all(a.usd < b.usd and a.accuracy < b.accuracy for a, b in pairwise(frontier))
    assert frontier[-1].usd == pytest.approx(9)


@pytest.mark.parametrize("full", [False, True])
def test_what_is_forwarded_to_it_takes_its_label(full):
    """Whatever the other links said, and however sure they were."""
    votes, words = panel([2.0, 2.5, 1.0])
    other = agreeing_with(votes)
    maker, rest = planner(
        other, 200, logprobs=words if full else None, metric="agreement", agree_with="link2"
    )
    plan = maker.plan(parse_budget("0.6x:link2"))
    assert plan.planned.chain[-1] == "link2"
    tie = ties(other.item_ids.tolist(), 0)
    decision, result = run_planned(plan.planned, take(other, words if full else None, rest, tie))
    last = decision.reached[-1]
    assert 0 < last.mean() < 1
    assert (result.label()[last] == votes.label[2, rest][last]).all()


def test_intervals_of_agreement_cover():
    """Of 30 plans, at least nine in ten intervals hold the agreement on the rest; budgets hold."""
    inside = 0
    for seed in range(30):
        votes = agreeing_with(panel(HARDER, seed, uneven=0.3)[0])
        maker, rest = planner(votes, 200, seed, metric="agreement", agree_with="link2")
        plan = maker.plan(parse_budget("0.6x:link2"))
        did = held_out(plan, votes, None, rest)[2]
        inside += plan.found.low <= did["accuracy"] <= plan.found.high
        assert did["cost_share"] <= 0.6 * 1.02
    assert inside >= 27


def test_a_target_of_agreement_costs_less_than_the_link():
    """The cheapest plan that is expected to agree as often as asked."""
    maker, _ = planner(agreeing_with(panel(HARDER)[0]), 200, metric="agreement", agree_with="link2")
    low, high = (maker.plan(None, parse_target(f"agreement={value}")) for value in (0.7, 0.85))
    assert low.reached
    assert high.reached
    assert low.found.usd < high.found.usd < 9


def test_gold_that_is_a_links_own_is_sensible_untold():
    """Where nobody says that gold is a link's own: it is the plan for its money, and budgets below it have plans."""
    maker, _ = planner(agreeing_with(panel(HARDER)[0]), 200)
    assert maker.plan(parse_budget("1x:link2")).planned.chain == ("link2",)
    assert maker.plan(parse_budget("0.6x:link2")).found.accuracy > 0.7


def test_items_without_a_label_are_not_learned_from():
    """Where the link to agree with failed, nothing is known; the plan still names every item of the pilot."""
    votes, _ = panel(HARDER, lost=0.1)
    some = agreeing(sample(votes, np.arange(200)), "link2")
    maker = Planner(some, 700, metric="agreement", agree_with="link2")
    assert len(maker.pilot) == votes.recorded[2, :200].sum() < 200
    assert len(maker.plan(parse_budget("0.6x")).planned.policy.pilot) == 200
    with pytest.raises(InputError, match="19 of its items"):
        Planner(agreeing(sample(votes, np.flatnonzero(votes.voted[2])[:19]), "link2"), 700)


def test_a_lone_link_agrees():
    """With nothing else to ask."""
    maker, _ = planner(agreeing_with(panel([1.0])[0], "link0"), 100, metric="agreement", agree_with="link0")
    assert maker.plan(None, parse_target("agreement=0.9")).found.accuracy == 1


def test_metrics_are_not_mixed_up():
    """Agreement with nobody, an unknown link, or a target of another kind is refused."""
    votes, _ = panel(HARDER)
    maker, _ = planner(votes, 100)
    with pytest.raises(InputError, match="--target agreement"):
        maker.plan(None, parse_target("agreement=0.9"))
    with pytest.raises(InputError, match="a link to agree with"):
        planner(votes, 100, metric="agreement")
    with pytest.raises(InputError, match="no link 'nope'"):
        planner(votes, 100, metric="agreement", agree_with="nope")
