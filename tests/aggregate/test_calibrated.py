"""`calibrated`: routing and labelling by the posterior of the votes so far."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.aggregate import Judge, Votes, decide_by
from catena.evaluate.crossfit import CrossFit
from catena.routing import Policy, exact_shares, quotas
from catena.routing.spend import Spend
from panels import panel, sample

CHAIN = ("link0", "link1", "link2")


@pytest.fixture(scope="module")
def learned():
    """A panel with prices that differ by item, lost votes and ties; and a rule learned on its first items."""
    votes, _ = panel([0.7, 1.2, 2.0], n=400, uneven=0.6, lost=0.05, digits=1)
    return votes, CrossFit(sample(votes, np.arange(150)), 3).rule((0, 1, 2))


def decided(votes, rule, shares, spend=None, rows=None):
    """Run the rule over all items, or some; returns the decision and the labels."""
    some = sample(votes, np.arange(len(votes)) if rows is None else rows)
    table = some.votes
    policy = Policy(share=tuple(map(str, shares)), rank_by="calibrated", spend=spend)
    judge = Judge(policy, CHAIN, table.labels, rule)
    given = Votes(table.label, table.confidence, [None] * 3, table.cost_usd)
    decision = decide_by(judge, given, some.tie)
    return decision, decision.result("calibrated", given, judge)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=2), st.integers(1, 9), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_counts_are_exact(learned, first, last, n):
    """Each link receives and keeps what `quotas` says, whatever the ties and lost votes."""
    votes, rule = learned
    shares = tuple(Fraction(part, sum(first) + last) for part in (*first, last))
    decision, _ = decided(votes, rule, shares, rows=np.arange(n))
    received = decision.reached.sum(1).tolist()
    kept = np.bincount(decision.kept_by, minlength=3).tolist()
    assert list(zip(received, kept, strict=True)) == quotas(n, shares)


def test_only_bought_votes_are_looked_at(learned):
    """Other votes at links that an item did not reach change nothing."""
    votes, rule = learned
    shares = exact_shares([0.5, 0.3, 0.2], 3)
    before, labelled = decided(votes, rule, shares)
    label, sure = votes.label.copy(), votes.confidence.copy()
    label[~before.reached], sure[~before.reached] = 0, 99.0
    after, again = decided(replace(votes, label=label, confidence=sure), rule, shares)
    assert (labelled.label() == again.label()).all()
    assert (before.kept_by == after.kept_by).all()


@pytest.mark.parametrize("each", [1.2, 2.0, 5.0, 9.0])
def test_a_cap_holds(learned, each):
    """What is spent stays within 1 % of the cap, and uses it up where the chain can."""
    votes, rule = learned
    means = dict(zip(CHAIN, np.nanmean(votes.cost_usd, 1).tolist(), strict=True))
    spend = Spend(means, dict.fromkeys(CHAIN, 1.0), usd_per_item=each * means["link0"])
    decision, _ = decided(votes, rule, exact_shares([0.4, 0.3, 0.3], 3), spend)
    spent = np.nansum(np.where(decision.reached, votes.cost_usd, 0.0))
    cap = spend.usd_per_item * len(votes)
    assert spent <= 1.01 * cap
    assert spent >= 0.9 * cap or decision.reached.all()


def test_the_source_is_the_latest_link_that_named_the_label(learned):
    """And an item without any vote has no label, no confidence and no source."""
    votes, rule = learned
    gone = replace(votes, label=votes.label.copy())
    gone.label[:, 7] = -1
    decision, result = decided(gone, rule, exact_shares([0.5, 0.3, 0.2], 3))
    label, source = result.label(), result.source
    assert (label[7], source[7], np.isnan(result.confidence()[7])) == (-1, -1, True)
    rows = np.flatnonzero(label >= 0)
    assert (gone.label[source[rows], rows] == label[rows]).all()
    assert decision.reached[source[rows], rows].all()
