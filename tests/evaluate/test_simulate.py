"""Replaying chains over recorded votes."""

import json
import math
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from catena.data.votes import read_votes
from catena.errors import DataError, InputError
from catena.evaluate.metrics import score
from catena.evaluate.simulate import Simulator
from catena.routing import exact_shares, quotas
from tables import NAN, table_of, vote, write_votes

BOTH = ["link0", "link1"]


def random_votes(items=60, links=("small", "mid", "big"), values=(0.1, 0.5, 0.9, None), seed=0):
    """Return rows with ties, failures, missing votes and missing confidences."""
    rng = np.random.default_rng(seed)
    return [
        vote(
            f"item{i}",
            link,
            (None, "against", "favor")[rng.integers(3)],
            values[rng.integers(len(values))],
            cost_usd=0.5,
        )
        for i in range(items)
        for link in links
        if rng.random() < 0.9
    ]


def test_900_items_with_three_confidence_values():
    """300/300/300 by the figures that the user sees."""
    confidence = np.random.default_rng(0).choice([0.1, 0.5, 0.9], (3, 900), p=[0.1, 0.2, 0.7])
    found = Simulator(table_of(confidence)).run(["link0", "link1", "link2"])
    assert [link["received"] for link in found["links"]] == [900, 600, 300]
    assert [link["kept"] for link in found["links"]] == [300, 300, 300]
    assert [link["forwarded"] for link in found["links"]] == [600, 300, 0]


def test_missing_votes_count_as_failed_and_as_missing():
    """Failed counts what reached the link and has no label there; missing, the part of it without any record."""
    table = table_of(
        [[NAN] * 4, [0.5] * 4],
        label=[[-1, -1, -1, 0], [0, 0, 0, 0]],
        recorded=[[False, True, False, True], [True] * 4],
    )
    first, last = Simulator(table).run(BOTH)["links"]
    assert (first["received"], first["failed"], first["missing"]) == (4, 3, 2)
    assert (last["received"], last["failed"], last["missing"]) == (2, 0, 0)


def test_only_votes_that_are_reached_cost():
    """A link costs what its received items cost, failures included."""
    table = table_of([[0.9, 0.1], [0.9, 0.1]], label=[[0, -1], [0, 0]], cost_usd=[[1, 2], [10, 20]])
    found = Simulator(table).run(BOTH)
    assert [link["cost_usd"] for link in found["links"]] == [3.0, 20.0]
    assert found["cost_usd"] == 23.0


def test_unknown_costs_are_none():
    """Without any cost on record the cost is unknown, not 0."""
    found = Simulator(table_of([[0.9, 0.1]] * 2)).run(BOTH)
    assert [link["cost_usd"] for link in found["links"]] == [None, None]
    assert found["cost_usd"] is None


def test_costs_are_the_sum_of_those_that_are_known():
    """Failures are often recorded without a cost; the others' costs still count."""
    found = Simulator(table_of([[0.9, 0.1]] * 2, cost_usd=[[1, NAN], [1, 1]])).run(BOTH)
    assert found["links"][0]["cost_usd"] == 1.0


def test_scores_are_those_of_the_labels_of_each_rule():
    """Both rules are scored over all items with gold."""
    table = table_of(
        [[0.4, 0.3, 0.2, 0.1], [0, 0, 0.1, 0.2]],
        label=[[0] * 4, [1] * 4],
        gold=[0, 0, 1, -1],
        labels=["x", "y"],
    )
    simulator = Simulator(table)
    decision = simulator.decide(BOTH, ["1/4", "3/4"])
    found = simulator.run(BOTH, ["1/4", "3/4"])["aggregates"]
    for rule in ("rank", "last", "minmax"):
        assert found[rule] == score(table.gold, decision.labels(rule, table.label), table.labels).brief()
    assert found["rank"]["accuracy"] == 1.0
    assert found["last"]["accuracy"] == pytest.approx(2 / 3)


def test_without_gold_the_scores_are_none():
    """No gold, no figures; JSON has no NaN."""
    found = Simulator(table_of([[0.9, 0.1]] * 2)).run(BOTH)
    assert found["aggregates"] == {
        rule: {"accuracy": None, "macro_f1": None} for rule in ("rank", "last", "minmax")
    }
    assert found["oracle"] == {"reached": None, "all": None}
    assert found["random"] == {"accuracy": None, "macro_f1": None}


def test_figures_are_plain_json():
    """No number of numpy's, no NaN, no Infinity, even where confidences are infinite."""
    table = table_of([[math.inf, -math.inf, NAN]] * 2, gold=[0, 1, 0])
    assert json.loads(json.dumps(Simulator(table).run(BOTH), allow_nan=False))["n"] == 3


@pytest.mark.parametrize("items", [1, 2])
def test_fewer_items_than_links(items):
    """One or two items through three links come out labelled."""
    simulator = Simulator(table_of([[0.5] * items] * 3, gold=[0] * items))
    found = simulator.run(["link0", "link1", "link2"])
    assert sum(link["kept"] for link in found["links"]) == items
    assert found["aggregates"]["rank"]["accuracy"] == 1.0


def test_all_votes_failed_everywhere():
    """Every item comes out, none of them labelled."""
    simulator = Simulator(table_of([[0.5] * 4] * 2, label=[[-1] * 4] * 2, gold=[0] * 4))
    assert simulator.decide(BOTH).labels("rank", simulator.votes.label).tolist() == [-1] * 4
    assert simulator.run(BOTH)["aggregates"]["last"]["accuracy"] == 0.0


def test_another_row_order_gives_identical_results(tmp_path):
    """The order of the rows of votes.parquet shows nowhere: not in kept sets, labels or figures."""
    votes = random_votes()
    items, gold = [f"item{i}" for i in range(60)], ["favor", "against"] * 30
    one = Simulator(read_votes(write_votes(tmp_path / "one", votes, items, gold=gold)))
    shuffled = [votes[at] for at in np.random.default_rng(1).permutation(len(votes))]
    two = Simulator(read_votes(write_votes(tmp_path / "two", shuffled, items, gold=gold)))
    for chain in (["small", "mid", "big"], ["big", "small"], ["mid"]):
        assert one.decide(chain).kept_by.tolist() == two.decide(chain).kept_by.tolist()
        assert one.decide(chain).rank.tolist() == two.decide(chain).rank.tolist()
        assert one.run(chain) == two.run(chain)


def test_another_item_order_gives_each_item_the_same_label(tmp_path):
    """Input order is only the order of the output."""
    votes, items = random_votes(), [f"item{i}" for i in range(60)]
    one = Simulator(read_votes(write_votes(tmp_path / "one", votes, items)))
    two = Simulator(read_votes(write_votes(tmp_path / "two", votes, items[::-1])))
    chain = ["small", "mid", "big"]
    assert one.decide(chain).kept_by.tolist() == two.decide(chain).kept_by.tolist()[::-1]
    assert one.run(chain) == two.run(chain)


def test_the_same_seed_gives_the_same_decision():
    """Nothing but votes and seed goes in."""
    table = table_of(np.ones((2, 50)))
    assert (
        Simulator(table, 3).decide(BOTH).kept_by.tolist() == Simulator(table, 3).decide(BOTH).kept_by.tolist()
    )


def test_another_seed_changes_ties_only():
    """Items at the threshold may change places, items above and below it may not; quotas stand."""
    confidence = [[0.9] * 10 + [0.5] * 40 + [0.1] * 10, [0.5] * 60]
    decisions = [Simulator(table_of(confidence), seed).decide(BOTH).kept_by for seed in range(5)]
    assert len({tuple(kept.tolist()) for kept in decisions}) > 1
    for kept in decisions:
        assert (kept[:10] == 0).all()
        assert (kept[50:] == 1).all()
        assert (kept == 0).sum() == 30


def test_the_seed_changes_nothing_without_ties():
    """Distinct confidences leave the seed nothing to settle."""
    table = table_of(np.random.default_rng(0).random((2, 50)))
    assert (
        Simulator(table, 1).decide(BOTH).kept_by.tolist() == Simulator(table, 2).decide(BOTH).kept_by.tolist()
    )


def test_permutations_are_all_orders_of_that_length():
    """3 links: 6 orders of 2, each as `run` gives it alone."""
    simulator = Simulator(table_of(np.random.default_rng(0).random((3, 20)), gold=[0] * 20))
    found = list(simulator.permutations(2))
    assert len({tuple(one["chain"]) for one in found}) == 6
    assert all(one == simulator.run(one["chain"]) for one in found)


@pytest.mark.parametrize("share", [None, ["0.2", "0.5", "0.3"], ["0", "0.999", "0.001"]])
@pytest.mark.parametrize("values", [(0.1, 0.5, 0.9, None), (math.inf, -math.inf, 0.3, None)])
def test_permutations_decide_as_the_engine_does(share, values, tmp_path):
    """Ties, failures, missing votes and confidences, infinities, items without gold: each order to the last digit as alone."""
    items, gold = [f"item{i}" for i in range(60)], ["favor", "against", None] * 20
    links = ("small", "mid", "big", "other")
    votes = random_votes(links=links, values=values)
    simulator = Simulator(read_votes(write_votes(tmp_path, votes, items, gold=gold)))
    found = list(simulator.permutations(3, share, 2))
    assert [tuple(one["chain"]) for one in found] == list(permutations(simulator.votes.links, 3))
    assert all(one == simulator.run(one["chain"], share, 2) for one in found)


def test_permutations_take_shares():
    """The shares go by position in the order."""
    simulator = Simulator(table_of(np.random.default_rng(0).random((3, 20))))
    assert {one["links"][0]["kept"] for one in simulator.permutations(2, [0.1, 0.9])} == {2}


@pytest.mark.parametrize("length", [0, -1, 4])
def test_permutations_of_an_impossible_length_are_refused(length):
    """None asked for, or more than there are links: an InputError that says how many there are."""
    with pytest.raises(InputError, match="3 links"):
        list(Simulator(table_of([[0.5]] * 3)).permutations(length))


def test_wrong_links_and_shares_are_refused():
    """Input errors, before anything is decided."""
    simulator = Simulator(table_of([[0.5]] * 2))
    with pytest.raises(DataError, match="unknown link"):
        simulator.run(["link9"])
    with pytest.raises(InputError, match="3 shares for 2 links"):
        simulator.run(BOTH, [0.2, 0.3, 0.5])


def test_a_table_without_votes_is_refused_or_has_no_links(tmp_path):
    """0 rows in votes.parquet: a line that says so, never a traceback."""
    columns = dict.fromkeys(("item_id", "link", "label"), pa.string()) | {"confidence": pa.float64()}
    none = pa.schema(columns).empty_table()
    with pytest.raises(InputError, match=r"0 links|no votes"):
        list(Simulator(read_votes(write_votes(tmp_path, none))).permutations(1))


def test_a_seed_of_any_size():
    """A seed is a number; none is too long."""
    assert Simulator(table_of([[0.5]] * 2), 10**70).decide(BOTH).kept_by.tolist() == [1]


def test_each_link_is_scored_on_what_it_received():
    """The surest half stays at the first link, so the second is scored on the other half."""
    table = table_of([[4, 3, 2, 1], [1, 1, 1, 1]], label=[[0, 0, 1, 1], [1, 1, 1, 0]], gold=[0, 0, 0, 0])
    first, second = Simulator(table).run(BOTH)["links"]
    assert (first["accuracy"], second["accuracy"]) == (0.5, 0.5)
    assert second["macro_f1"] == pytest.approx(2 / 3)


def test_the_oracle_bounds_by_hand():
    """Reached: links that saw the item; all: links of the chain, whether they saw it or not."""
    table = table_of([[4, 3, 2, 1], [1, 1, 1, 1]], label=[[0, 1, 1, 1], [1, 0, 0, 1]], gold=[0, 0, 0, 0])
    assert Simulator(table).run(BOTH)["oracle"] == {"reached": 0.5, "all": 0.75}


@pytest.mark.parametrize("seed", range(5))
def test_no_rule_beats_the_oracle(seed, tmp_path):
    """For any votes: every rule's accuracy is at most the bound, and that at most the bound without costs."""
    items = [f"item{i}" for i in range(60)]
    gold = ["favor", "against"] * 30
    found = Simulator(read_votes(write_votes(tmp_path, random_votes(seed=seed), items, gold=gold))).run(
        ["small", "mid", "big"]
    )
    best = max(each["accuracy"] for each in found["aggregates"].values())
    assert best <= found["oracle"]["reached"] <= found["oracle"]["all"]


@pytest.mark.parametrize("share", [None, ["0.2", "0.5", "0.3"], ["0", "0.999", "0.001"]])
def test_random_routing_is_what_drawing_item_by_item_gives(share, tmp_path):
    """Failed votes included: the same figures as routing every item in every trial."""
    items, gold = [f"item{i}" for i in range(60)], ["favor", "against"] * 30
    table = read_votes(write_votes(tmp_path, random_votes(), items, gold=gold))
    chain, trials = ["small", "mid", "big"], 7
    votes = table.chain(chain)
    keeps = [kept for _, kept in quotas(60, exact_shares(share, 3))]
    scores = []
    for trial in range(trials):
        generator = np.random.Generator(np.random.PCG64([3, 0, trial]))
        keeper = generator.permutation(np.repeat(np.arange(3, dtype=np.int8), keeps))
        label = [
            next((votes.label[j, i] for j in range(keeper[i], -1, -1) if votes.label[j, i] >= 0), -1)
            for i in range(60)
        ]
        scores.append(score(votes.gold, np.array(label, np.int16), votes.labels))
    found = Simulator(table, 3).random(chain, share, trials)
    assert found["accuracy"] == pytest.approx(np.mean([each.accuracy for each in scores]))
    assert found["macro_f1"] == pytest.approx(np.mean([each.macro_f1 for each in scores]))
