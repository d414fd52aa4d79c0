"""Certified chains: the promise is kept for every set of items, and nothing is seen that should not be."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from catena.errors import DataError
from catena.evaluate.certify import Certifier, least_escalated
from catena.evaluate.looks import drawn_order, draws_worth
from panels import panel
from tables import table_of

NAN = float("nan")


def certifier(votes, reference=None):
    """Return a certifier whose reference is the last link, or gold."""
    if reference is None:
        return Certifier(votes, votes.label[-1], votes.recorded[-1], own=True)
    return Certifier(votes, votes.gold, votes.gold >= 0, own=False)


def draws(votes, many):
    """Return orders of drawing."""
    return [np.random.default_rng(seed).permutation(len(votes)) for seed in range(many)]


def missed(chain, found):
    """Tell whether more labels are wrong than the promise allows."""
    wrong = chain.wrong(np.arange(len(chain)))[found.kept_by, np.arange(len(chain))].sum()
    return bool(found.cut >= 0 and wrong > found.allowed)


def edge(n=400, wrong=0.1):
    """Return two links of which the first's confidence says nothing and whose wrong labels are one too many."""
    rng = np.random.default_rng(0)
    label = np.zeros((2, n), int)
    label[0, rng.permutation(n)[: int(wrong * n) + 1]] = 1
    return table_of(rng.random((2, n)), label)


@pytest.mark.parametrize("delta", [0.05, 0.1, 0.3])
def test_false_promises_are_rare_on_the_edge(delta):
    """Where the loosest cut is bad by one item and all cuts are as risky, at most delta of 2,000 draws pass it."""
    votes = edge()
    chain = certifier(votes)
    rate = np.mean(
        [missed(chain, chain.certify(Fraction(9, 10), delta, order)) for order in draws(votes, 2000)]
    )
    assert 0.2 * delta < rate < delta + 2.4 * np.sqrt(delta * (1 - delta) / 2000)


@pytest.mark.parametrize("reference", [None, "gold"])
@pytest.mark.parametrize("skill", [[0.6, 2.2], [0.5, 1.0, 2.0], [0.3, 0.6, 1.2, 2.0]], ids=len)
@pytest.mark.parametrize(
    "odd", [{}, {"lost": 0.1}, {"digits": 0}, {"blind": True}], ids=lambda odd: next(iter(odd), "plain")
)
def test_promises_are_kept(skill, reference, odd):
    """Chains of two to four links, whatever their votes are like: at most delta of the draws, within its error."""
    votes, _ = panel(skill, n=300, **odd)
    if reference or "lost" in odd:
        votes = replace(votes, recorded=np.ones_like(votes.recorded))  # lost votes are failures here
    chain = certifier(votes, reference)
    share = Fraction(9, 10) if reference is None else Fraction(6, 10)
    rate = np.mean([missed(chain, chain.certify(share, 0.1, order)) for order in draws(votes, 150)])
    assert rate <= 0.1 + 2.4 * np.sqrt(0.09 / 150)


def test_only_drawn_items_are_looked_at():
    """The same is found where the reference's votes and gold of all other items are absent, or others."""
    votes, _ = panel([0.6, 1.2, 2.0], n=500)
    order = draws(votes, 1)[0]
    found = certifier(votes).certify(Fraction(9, 10), 0.1, order)
    drawn = np.concatenate([found.fit, found.sample])
    rest = np.setdiff1d(order, drawn)
    absent = replace(
        votes, label=votes.label.copy(), recorded=votes.recorded.copy(), confidence=votes.confidence.copy()
    )
    absent.label[-1, rest], absent.recorded[-1, rest], absent.confidence[-1, rest] = -1, False, NAN
    absent.gold[rest] = -1
    again = certifier(absent).certify(Fraction(9, 10), 0.1, order)
    assert (again.cut, again.tests) == (found.cut, found.tests)
    assert (again.kept_by == found.kept_by).all()
    assert len(drawn) < 0.2 * len(votes)


def test_a_drawn_item_without_a_vote_is_named():
    """What the reference was not asked about can't be taken for wrong or right."""
    votes, _ = panel([0.6, 2.0], n=200)
    votes.recorded[-1] = False
    with pytest.raises(DataError, match="drawn items without a label of the reference") as error:
        certifier(votes).certify(Fraction(9, 10), 0.1, np.arange(200))
    assert "i0, i1" in str(error.value)


def test_a_good_link_keeps_everything_for_a_few_draws():
    """A link that is nearly always right is passed at an early look."""
    label = np.zeros((2, 20_000), int)
    label[0, ::50] = 1
    votes = table_of(np.random.default_rng(0).random((2, 20_000)), label)
    found = certifier(votes).certify(Fraction(8, 10), 0.1, draws(votes, 1)[0])
    assert (found.kept_by == 0).all()
    assert len(found.sample) < 0.01 * len(votes)


def test_more_draws_keep_more():
    """On average; and never more are drawn than may be."""
    votes, _ = panel([0.9, 2.0], n=2000)
    chain, kept = certifier(votes), []
    for most in (10, 40, 160):
        found = [chain.certify(Fraction(9, 10), 0.1, order, most) for order in draws(votes, 20)]
        assert max(len(each.sample) for each in found) <= most
        kept.append(np.mean([(each.kept_by == 0).sum() for each in found]))
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize(("share", "kept"), [(1, 0), (0, 300)])
def test_all_or_nothing_needs_no_draw(share, kept):
    """If none may be wrong all items go on; if all may be wrong none does."""
    votes, _ = panel([0.6, 2.0], n=300)
    found = certifier(votes).certify(Fraction(share), 0.1, np.arange(300))
    assert len(found.sample) == 0
    assert (found.kept_by == 0).sum() == kept


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_few_items(n):
    """Fewer than would be drawn: all that is certified is true, for nothing is left to chance."""
    votes, _ = panel([0.6, 2.0], n=n)
    chain = certifier(votes)
    for order in draws(votes, 20):
        found = chain.certify(Fraction(1, 2), 1e-6, order, most=400)
        assert len(found.sample) <= n
        assert not missed(chain, found)


def test_failed_votes_are_never_kept():
    """Not even with a confidence, nor is a vote without one; with neither link voting all goes on."""
    sure = [[0.9, NAN, 0.8, 0.7], [0.5, 0.5, 0.5, 0.5]]
    votes = table_of(sure, [[-1, 0, 0, 0], [0, 0, 0, 0]])
    found = certifier(votes).certify(Fraction(0), 0.1, np.arange(4))
    assert found.kept_by.tolist() == [1, 1, 0, 0]
    nothing = table_of(np.full((2, 50), NAN), np.full((2, 50), -1))
    assert (certifier(nothing).certify(Fraction(1, 2), 0.1, np.arange(50)).kept_by == 1).all()


def test_equal_confidences_stay_together():
    """With one confidence for all, everything is kept or nothing."""
    votes = table_of(np.full((2, 300), 0.5), np.zeros((2, 300), int))
    found = certifier(votes).certify(Fraction(8, 10), 0.1, np.arange(300))
    assert found.path.kept.tolist() == [0, 300]
    assert (found.kept_by == 0).all()


def test_a_failed_reference_agrees_with_nothing():
    """An item that an earlier link keeps is wrong where the reference has no label; what goes on is not."""
    votes = table_of([[0.9, 0.9], [0.5, 0.5]], [[0, 0], [0, -1]])
    assert certifier(votes).wrong(np.arange(2)).tolist() == [[False, True], [False, False]]


def test_gold_counts_the_last_link_too():
    """A last link that is worse than the promise can't be promised at all; where it fails the earlier label counts."""
    votes = table_of(np.random.default_rng(0).random((2, 300)), np.zeros((2, 300), int), gold=[0, 1, 1] * 100)
    found = certifier(votes, "gold").certify(Fraction(9, 10), 0.1, np.arange(300))
    assert found.cut == -1
    label = replace(votes, label=np.array([[1] * 300, [-1] * 300], np.int16))
    assert certifier(label, "gold").wrong(np.arange(3)).tolist() == [[True, False, False]] * 2


def test_a_better_last_link_can_be_promised_to_meet_gold():
    """Then the promise holds, and not all goes on."""
    votes, _ = panel([1.0, 3.0], n=1000)
    chain = certifier(votes, "gold")
    found = chain.certify(Fraction(8, 10), 0.1, draws(votes, 1)[0])
    assert found.cut > 0
    assert not missed(chain, found)


def test_gold_on_more_items_promises_more():
    """With another reference than the last link, as many are drawn as are said, and more of the draws lead to a promise."""
    votes, _ = panel([1.0, 3.0], n=1000)
    chain, given = certifier(votes, "gold"), []
    for most in (20, 400):
        found = [chain.certify(Fraction(88, 100), 0.1, order, most) for order in draws(votes, 20)]
        assert max(len(each.sample) for each in found) == most
        given.append(sum(each.cut > 0 for each in found))
    assert given[0] < given[1]


def test_the_draw_is_by_the_ids():
    """The same for a seed, another for another, and other than a pilot's."""
    ids = [f"i{i}" for i in range(500)]
    first = drawn_order(ids, 0)
    assert sorted(first.tolist()) == list(range(500))
    assert (first == drawn_order(ids, 0)).all()
    assert (first != drawn_order(ids, 1)).mean() > 0.9


def test_feasibility():
    """What the two bounds say, and that they are bounds: an oracle that passes on only wrong items meets the first."""
    assert least_escalated(0.4, 0.1) == pytest.approx((0.3, 1 / 3))
    assert least_escalated(0.05, 0.1) == (0.0, 0.0)
    assert least_escalated(1.0, 1.0) == (0.0, 0.0)
    votes = edge(1000, 0.3)
    votes.confidence[0] = votes.label[0] == votes.label[1]  # perfect
    found = certifier(votes).certify(Fraction(9, 10), 0.1, draws(votes, 1)[0])
    assert (found.kept_by == 1).mean() >= least_escalated(0.301, 0.1)[0]


def test_how_much_is_worth_drawing():
    """More for more items and for less room; never more than there are; nothing where nothing may be wrong."""
    nine = Fraction(9, 10)
    assert draws_worth(500, nine) < draws_worth(5000, nine) < draws_worth(5000, Fraction(95, 100))
    assert draws_worth(3, Fraction(1, 2)) <= 3
    assert draws_worth(500, Fraction(1)) == 0
