"""Chains of more than three links: planned where each further link gains, and what they promise is held."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from catena.evaluate.budget import parse_budget, parse_target
from catena.evaluate.pilot import agreeing
from catena.evaluate.plan import Planner, held_out
from catena.evaluate.reference import hopeless
from panels import panel, planner, sample, without

EQUAL = [1.2] * 5


def five(seed=0, uneven=0.0, lost=0.0):
    """Five links of equal skill and price that err apart, and their log-probabilities."""
    return panel(EQUAL, seed, shared=0.1, prices=[1] * 5, uneven=uneven, lost=lost)


def done(votes, seed=0, budget="4x:link0", words=None, **more):
    """Return a plan, and what it does on the rest."""
    maker, rest = planner(votes, 200, seed, words, **more)
    plan = maker.plan(parse_budget(budget))
    return plan, held_out(plan, votes, words, rest)[2]


def test_links_that_err_apart_make_long_chains():
    """For the same money a chain of up to five is better than one of three, by points; its interval holds that."""
    gains, inside = [], 0
    for seed in range(3):
        votes, _ = five(seed)
        (short, before), (long, did) = done(votes, seed, links=3), done(votes, seed)
        assert len(short.planned.chain) <= 3
        assert len(long.planned.chain) >= 4
        assert did["cost_share"] <= 4 * 1.02
        inside += long.found.low <= did["accuracy"] <= long.found.high
        gains.append(did["accuracy"] - before["accuracy"])
    assert np.mean(gains) > 0.03
    assert inside >= 2


@pytest.mark.parametrize("links", [1, 2, 4])
def test_chains_have_no_more_links_than_asked(links):
    """Also where more would gain."""
    votes, _ = five()
    assert len(done(votes, links=links)[0].planned.chain) == links


@pytest.mark.parametrize("full", [False, True])
def test_nothing_outside_the_pilot_is_seen_of_long_chains(full):
    """The plan is the same without gold and votes of other items, and each time."""
    votes, logprobs = five(uneven=0.3, lost=0.01)
    words = logprobs if full else None
    maker, rest = planner(votes, 200, 0, words)
    plan = maker.plan(parse_budget("3x:link0"))
    assert len(plan.planned.chain) > 3
    again = done(without(votes, rest), budget="3x:link0", words=words)[0]
    assert msgspec.json.encode(again.planned) == msgspec.json.encode(plan.planned)
    assert again.found == plan.found


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_money_is_met_where_prices_differ(metric):
    """By long chains as by short ones, whatever is chosen by."""
    votes, _ = five(uneven=0.5)
    plan, did = done(votes, budget="3x:link0", metric=metric)
    assert len(plan.planned.chain) > 3
    assert 0.93 * 3 <= did["cost_share"] <= 1.02 * 3


def test_a_target_that_takes_many_links_is_reached():
    """Three links are not enough for it, whatever they cost; without a budget all of them may be asked about everything."""
    votes, _ = five()
    maker, _ = planner(votes, 200)
    limited, _ = planner(votes, 200, links=3)
    target = parse_target(f"accuracy={limited.plan(parse_budget('3x:link0')).found.value + 0.02:.3f}")
    assert limited.plan(None, target).reached is False
    plan = maker.plan(None, target)
    assert plan.reached
    assert len(plan.planned.chain) > 3


def test_a_target_is_met_closely():
    """Along a ladder of prices whose rungs are far apart, a budget a tenth smaller would not do."""
    votes, _ = panel(np.linspace(0.5, 2.2, 6), prices=(6.0 ** np.arange(6)).tolist())
    maker, _ = planner(votes, 200)
    plan = maker.plan(None, parse_target("accuracy=0.65"))
    assert plan.reached
    less = maker.plan(parse_budget(f"{0.9 * plan.found.usd * 1000:.4f}usd/1k"))
    assert less.found.value < 0.65


def test_a_link_that_is_right_by_definition_ends_a_long_chain():
    """Whatever reaches it is right, so nothing comes behind it."""
    votes, _ = panel([1.2] * 5 + [2.2], shared=0.1, prices=[1] * 5 + [20])
    other = replace(votes, gold=votes.chain(["link5"]).label[0])
    some = agreeing(sample(votes, np.arange(200)), "link5")
    maker = Planner(some, 700, metric="agreement", agree_with="link5")
    plan = maker.plan(parse_budget("0.2x:link5"))
    assert len(plan.planned.chain) > 3
    assert plan.planned.chain[-1] == "link5"
    did = held_out(plan, other, None, np.arange(200, 900))[2]
    assert plan.found.low <= did["accuracy"] <= plan.found.high


def test_equal_links_are_not_hopeless():
    """Of twelve equal links on 100 items, hardly ever is one dropped: 66 pairs have 66 chances to look uneven. A guesser is."""
    dropped = 0
    for seed in range(30):
        votes, _ = panel([1.2] * 12, seed, n=100, prices=[1] * 12)
        dropped += bool(hopeless(votes, votes.gold))
    assert dropped <= 3
    votes, _ = panel([1.8] * 11 + [0.0], n=100, prices=[1] * 12)
    assert hopeless(votes, votes.gold) == ["link11"]
    assert hopeless(votes, votes.gold, keep={"link11"}) == []
