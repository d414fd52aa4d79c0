"""Every policy, live: it keeps what its batch form keeps, whatever the order in which votes arrive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.aggregate import Judge, Votes, decide_by
from catena.engine.routes import Said, keeps_boards, open_routes
from catena.evaluate.crossfit import CrossFit
from catena.routing import Policy, exact_shares, ties
from catena.routing.spend import Spend, spending
from panels import panel, sample

N = 260
CHAIN = ("link0", "link1", "link2")


@pytest.fixture(scope="module", params=["labels only", "distributions"])
def learned(request):
    """Votes with lost ones, ties and uneven prices, their distributions where given, and a rule learned on the first."""
    full = request.param == "distributions"
    table, words = panel([0.7, 1.2, 2.0], n=N, uneven=0.6, lost=0.05, digits=1)
    words = words if full else None
    rule = CrossFit(sample(table, np.arange(120), 0, words), 3).rule((0, 1, 2))
    each = [None] * 3 if words is None else list(words)
    return table, Votes(table.label, table.confidence, each, np.nan_to_num(table.cost_usd)), rule


def policies(table):
    """One of each kind."""
    usd = dict(zip(CHAIN, np.nanmean(table.cost_usd, 1).tolist(), strict=True))
    weak = {"link0": (table.labels[0],), "link1": (table.labels[1], table.labels[2])}
    spend = Spend(usd, dict.fromkeys(CHAIN, 1.0), usd_per_item=2.2 * usd["link0"])
    return {
        "share": Policy(share=("0.5", "0.3", "0.2")),
        "share by posterior": Policy(share=("0.5", "0.3", "0.2"), rank_by="calibrated"),
        "threshold": Policy(threshold=(0.8, 0.4)),
        "threshold by posterior": Policy(threshold=(0.9, 0.7), rank_by="calibrated"),
        "agree": Policy(agree=2),
        "class-aware share": Policy(class_aware=weak),
        "class-aware threshold": Policy(threshold=(0.2, 0.1), class_aware=weak),
        "spend": Policy(share=("0.5", "0.3", "0.2"), rank_by="calibrated", spend=spend),
    }


NAMES = ("share", "share by posterior", "threshold", "threshold by posterior", "agree", "class-aware share",
         "class-aware threshold", "spend")  # fmt: skip


def live(judge, votes, tie, arrivals):
    """Send all items through a chain whose links answer in any order; returns the link that keeps each."""
    routes, steering = open_routes(judge, tie)
    waiting = [list(range(len(tie))), *[[] for _ in routes[1:]]]
    kept_by = np.full(len(tie), -1)

    def forward(at, row):
        kept_by[row] = -1
        waiting[at + 1].append(row)

    if steering:
        steering.begin(forward, lambda: None)
    while any(waiting):
        at = arrivals.choice([j for j, rows in enumerate(waiting) if rows])
        row = waiting[at].pop(arrivals.integers(len(waiting[at])))
        kept_by[row] = at
        words = votes.logprobs[at]
        said = None if words is None else [None if np.isnan(x) else float(x) for x in words[row]]
        sure, usd = float(votes.confidence[at, row]), float(votes.cost_usd[at, row])
        out = routes[at].take(row, Said(int(votes.label[at, row]), sure, said, usd))
        if out is not None:
            forward(at, out)
    return kept_by


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_the_streaming_form_keeps_the_same_items_in_any_order_of_arrival(learned, name, seed):
    """Links work at the same time, and answers come in any order: the result is that of the batch form."""
    table, votes, rule = learned
    judge, tie = Judge(policies(table)[name], CHAIN, table.labels, rule), ties(table.item_ids.tolist(), 3)
    expected = decide_by(judge, votes, tie).kept_by
    assert live(judge, votes, tie, np.random.default_rng(seed)).tolist() == expected.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_one_item_is_judged_as_many_are(learned, name):
    """Where an item stands is the same number, to the last bit, whether it is judged alone or with others."""
    table, votes, rule = learned
    judge = Judge(policies(table)[name], CHAIN, table.labels, rule)
    for links in (1, 2, 3):
        kinds, values = judge(votes.so_far(links, np.arange(N)))
        for row in range(N):
            kind, value = judge(votes.so_far(links, slice(row, row + 1)))
            assert (kind[0], value[0].tobytes()) == (kinds[row], values[row].tobytes())


@pytest.mark.parametrize("block", [1, 7, 64, 259, 1000])
def test_spending_in_blocks_stays_within_the_cap(learned, block):
    """Whatever the size of the blocks: what one leaves, the next one has."""
    table, votes, rule = learned
    judge = Judge(policies(table)["spend"], CHAIN, table.labels, rule)
    spend, total = judge.policy.spend, 0.0
    steps = spending(
        spend, CHAIN, exact_shares(("0.5", "0.3", "0.2"), 3), ties(table.item_ids.tolist(), 0), block
    )
    asked, sent = [set(), set(), set()], None
    while True:
        try:
            link, rows = next(steps) if sent is None else steps.send(sent)
        except StopIteration:
            break
        assert not asked[link] & set(rows.tolist())
        assert link == 0 or set(rows.tolist()) <= asked[link - 1]
        asked[link] |= set(rows.tolist())
        total += votes.cost_usd[link, rows].sum()
        sent = judge(votes.so_far(link + 1, rows))[1], votes.cost_usd[link, rows]
    cap = spend.usd_per_item * N
    assert len(asked[0]) == N
    assert total <= 1.02 * cap
    assert block < 7 or total >= 0.9 * cap


def test_only_policies_that_read_more_than_a_confidence_do_without_boards(learned):
    """What is known from before is kept as labels and confidences where that is enough."""
    table, votes, rule = learned
    full = votes.logprobs[0] is not None
    boards = {
        name: bool(keeps_boards(Judge(policy, CHAIN, table.labels, rule)))
        for name, policy in policies(table).items()
    }
    assert [name for name, keeps in boards.items() if not keeps] == [
        name for name in NAMES if name == "spend" or (full and "posterior" in name)
    ]
