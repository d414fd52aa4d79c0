"""Planning from a pilot: budgets that hold, figures that come true, and nothing seen that should not be."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from catena.errors import InputError
from catena.evaluate.budget import parse_budget, parse_target
from catena.evaluate.plan import held_out
from panels import panel, planner, without

HARDER = [0.6, 1.2, 1.9]


def made(votes, budget="0.5x:link2", pilot=150, seed=0, logprobs=None, **more):
    """Return a plan and what it did on the rest."""
    maker, rest = planner(votes, pilot, seed, logprobs, **more)
    plan = maker.plan(parse_budget(budget))
    return plan, held_out(plan, votes, logprobs, rest)[2], rest


def accuracy(votes, rest, link):
    """A single link's accuracy on the rest."""
    return float((votes.label[votes.links.index(link)] == votes.gold)[rest].mean())


@pytest.mark.parametrize("full", [False, True])
def test_nothing_outside_the_pilot_is_seen(full):
    """The plan is the same when gold and votes of other items are absent, or shuffled."""
    votes, logprobs = panel(HARDER, uneven=0.4, lost=0.02)
    words = logprobs if full else None
    plan, _, rest = made(votes, logprobs=words)
    mixed = np.random.default_rng(1).permutation(rest)
    shuffled = replace(
        votes, label=votes.label.copy(), gold=votes.gold.copy(), cost_usd=votes.cost_usd.copy()
    )
    shuffled.label[:, rest], shuffled.gold[rest] = votes.label[:, mixed], votes.gold[mixed]
    shuffled.cost_usd[:, rest] = 7 * votes.cost_usd[:, mixed]
    for other in (without(votes, rest), shuffled):
        again, _, _ = made(other, logprobs=words)
        assert msgspec.json.encode(again.planned) == msgspec.json.encode(plan.planned)
        assert again.found == plan.found


@pytest.mark.parametrize("uneven", [0.0, 0.5])
@pytest.mark.parametrize("budget", ["0.2x:link2", "0.5x:link2", "1x:link2", "1.4x:link2"])
def test_budgets_hold(uneven, budget):
    """For even and uneven prices, over seeds: never more than 2 % above, and used up where that buys something."""
    times = float(budget.split("x")[0])
    for seed in range(4):
        votes, _ = panel(HARDER, seed, uneven=uneven)
        plan, did, _ = made(votes, budget, seed=seed)
        assert did["cost_share"] <= 1.02 * times
        assert did["cost_share"] >= 0.95 * times or len(plan.planned.chain) == 1 or times > 1


@pytest.mark.parametrize("budget", ["4000usd", "5500usd/1k"])
def test_dollars_hold(budget):
    """In all, or per thousand rows."""
    votes, _ = panel(HARDER, uneven=0.5)
    _, did, rest = made(votes, budget)
    cap = 4000 if budget == "4000usd" else 5.5 * len(rest)
    assert 0.93 * cap <= did["cost_usd"] <= 1.02 * cap


def test_a_chain_beats_near_equal_links():
    """Links of equal skill that err apart: a chain for the price of one of them is better than each, on average."""
    gains = []
    for seed in range(5):
        votes, _ = panel([1.2] * 4, seed, shared=0.2, prices=[1, 1, 1, 1])
        _, did, rest = made(votes, "1.5x:link0", seed=seed)
        gains.append(did["accuracy"] - max(accuracy(votes, rest, link) for link in votes.links))
    assert np.mean(gains) > 0.02


@pytest.mark.parametrize("budget", ["1x:link2", "1.2x:link2", "3x:link2"])
def test_one_link_far_above_is_the_plan(budget):
    """No chain that is worse than that link alone: on average not by a tenth of a point."""
    losses = []
    for seed in range(8):
        votes, _ = panel([0.3, 0.5, 3.0], seed)
        _, did, rest = made(votes, budget, seed=seed)
        losses.append(accuracy(votes, rest, "link2") - did["accuracy"])
    assert np.mean(losses) < 0.001


def test_intervals_cover():
    """Of 40 plans for new data, at least nine in ten intervals hold the accuracy on the rest; they are not wide."""
    inside, widths = 0, []
    for seed in range(40):
        votes, _ = panel(HARDER, seed)
        plan, did, _ = made(votes, seed=seed, pilot=200)
        inside += plan.found.low <= did["accuracy"] <= plan.found.high
        widths.append(plan.found.high - plan.found.low)
    assert inside >= 36
    assert np.mean(widths) < 0.16


@pytest.mark.parametrize(
    ("skill", "more"),
    [
        ([1.0, 2.0], {}),
        ([1.5], {}),
        (np.linspace(0.5, 2, 7), {"digits": 0}),
        (HARDER, {"labels": 20}),
        (HARDER, {"lost": 0.2}),
        (HARDER, {"blind": True}),
        (HARDER, {"shared": 0.95}),
        (HARDER, {"prices": [0, 0, 1]}),
        (HARDER, {"labels": 2}),
    ],
    ids=[
        "two links",
        "one link",
        "ties",
        "many labels",
        "lost votes",
        "blind",
        "correlated",
        "free",
        "two labels",
    ],
)
def test_odd_panels_have_plans(skill, more):
    """A budget that holds, every item labelled that has a vote, a sane promise."""
    votes, logprobs = panel(skill, **more)
    last = votes.links[-1]
    for words in (None, logprobs):
        plan, did, _ = made(votes, f"1x:{last}", pilot=100, logprobs=words)
        assert did["cost_share"] <= 1.02
        assert 0 <= plan.found.low <= plan.found.accuracy <= plan.found.high <= 1
        assert did["accuracy"] > 0.9 * plan.found.low


def test_a_target_is_met_as_cheaply_as_possible():
    """A lower target costs less, and one out of reach says so."""
    votes, _ = panel(HARDER)
    maker, _ = planner(votes, 200)
    low, high = (maker.plan(None, parse_target(f"accuracy={value}")) for value in (0.5, 0.7))
    assert low.reached
    assert high.reached
    assert low.found.usd < high.found.usd
    assert maker.plan(parse_budget("0.2x:link2"), parse_target("accuracy=0.99")).reached is False


def test_a_plan_is_told_once():
    """Where the plan is on the frontier, what is said of it is the same there, whichever budgets take it."""
    votes, _ = panel([2.0, 2.1, 2.3], shared=0.3, prices=[1, 5, 50])
    for seed in range(3):
        maker, _ = planner(votes, 60, seed, links=2)
        for times in (0.15, 0.3, 0.5):  # pay for the first two links on everything, and not for the third
            budget = parse_budget(f"{times}x:link2")
            found = maker.plan(budget).found
            assert [one for one in maker.frontier(budget) if one.candidate == found.candidate] in (
                [],
                [found],
            )


def test_the_frontier_rises():
    """Each plan on it costs more and promises more than the one before."""
    votes, _ = panel(HARDER)
    maker, _ = planner(votes, 200)
    found = maker.frontier(parse_budget("0.5x:link2"))
    assert len(found) >= 3
    assert all(a.usd < b.usd and a.value < b.value for a, b in pairwise(found))


def test_macro_f1_is_a_metric():
    """A plan chosen by it has a macro-F1 that is sane."""
    votes, _ = panel(HARDER)
    maker, rest = planner(votes, 200, metric="macro_f1")
    plan = maker.plan(parse_budget("0.5x:link2"))
    did = held_out(plan, votes, None, rest)[2]
    assert abs(plan.found.macro_f1 - did["macro_f1"]) < 0.12


@pytest.mark.parametrize(
    ("budget", "says"), [("0.001x:link2", "surely pays for no link"), ("1x:nope", "no link 'nope'")]
)
def test_budgets_that_make_no_sense_are_refused(budget, says):
    """In one line that names what is wrong."""
    votes, _ = panel(HARDER)
    with pytest.raises(InputError, match=says):
        made(votes, budget)


def test_a_link_without_costs_is_refused():
    """A plan needs prices."""
    votes, _ = panel(HARDER)
    votes.cost_usd[1] = np.nan
    with pytest.raises(InputError, match="link1"):
        made(votes)
