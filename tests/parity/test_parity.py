"""The same labels as the authors' implementation, wherever that one has no defect (see `make_fixtures`)."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from parity_tables import digest, recorded, synthetic

from catena.evaluate.simulate import Simulator

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text("utf-8"))
SYNTHETIC = REFERENCE["synthetic"]
RECORDED = REFERENCE["recorded"]
ORDERS_AT_LEAST = 50


def answer(simulator: Simulator, order: list[str]) -> dict[str, list[object]]:
    """Return our answer for one order, in input order."""
    decision = simulator.decide(order)
    label = simulator.votes.chain(order).label
    names = np.array(simulator.votes.labels, dtype=object)
    return {
        "kept_by": decision.kept_by.tolist(),
        "last": names[decision.labels("last", label)].tolist(),
        "rank": names[decision.labels("rank", label)].tolist(),
        "minmax": names[decision.labels("minmax", label)].tolist(),
    }


def differing(simulator: Simulator, orders: list[dict], vectors: tuple[str, ...]) -> list[str]:
    """Return each (order, vector) where we and the reference part."""
    found = []
    for one in orders:
        ours = answer(simulator, one["order"])
        found += [f"{'>'.join(one['order'])}: {name}" for name in vectors if digest(ours[name]) != one[name]]
    return found


@pytest.mark.parametrize("part", ["synthetic", "recorded"])
def test_enough_orders_of_every_length_are_compared(part):
    """At least 50 orders, of 2, 3 and 4 links, are compared in each part."""
    lengths = [len(one["order"]) for table in REFERENCE[part] for one in table["orders"]]
    assert len(lengths) >= ORDERS_AT_LEAST
    assert set(lengths) == {2, 3, 4}


@pytest.mark.parametrize("table", SYNTHETIC, ids=lambda table: f"{table['table']['items']} items")
def test_synthetic_tables_are_decided_as_by_the_reference(table):
    """Kept sets, forward labels and the labels of both backward passes equal the reference's on distinct confidences."""
    simulator = Simulator(synthetic(**table["table"]))
    assert differing(simulator, table["orders"], ("kept_by", "last", "rank", "minmax")) == []


@pytest.mark.parametrize(
    "table",
    [table for table in SYNTHETIC if "full" in table["orders"][0]],
    ids=lambda table: f"{table['table']['items']} items",
)
def test_small_tables_are_decided_as_by_the_reference_item_by_item(table):
    """The vectors that are stored in full, where a person can follow them, are ours item by item."""
    simulator = Simulator(synthetic(**table["table"]))
    for one in table["orders"]:
        ours = answer(simulator, one["order"])
        assert {name: " ".join(map(str, ours[name])) for name in ours} == one["full"]


@pytest.mark.parametrize("table", RECORDED, ids=lambda table: table["set"])
def test_recorded_sets_are_decided_as_by_the_reference(table):
    """Forward labels and those of both backward passes on votes of real LLMs equal the reference's, ties and null labels set apart."""
    folder = os.environ.get("CATENA_RECORDED")
    if not folder:
        pytest.skip(
            "CATENA_RECORDED names no folder of recorded vote tables; they are not part of this repository"
        )
    simulator = Simulator(recorded(Path(folder) / table["set"], table["seed"]))
    assert differing(simulator, table["orders"], ("last", "rank", "minmax")) == []
