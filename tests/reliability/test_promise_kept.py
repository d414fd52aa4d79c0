"""Promises that are bought live are broken no more often than they say."""

import math
import shutil
import tempfile
from pathlib import Path

import pytest
from soak import IN_MEMORY, figure, many

from catena.evaluate.certificate import Asked
from panels import panel
from promised import certified_live, edge, written

SEEDS = many(6, 250)
DELTA = 0.1
ALIKE = {
    "two links on the edge": (lambda: edge(300), "0.9"),
    "three links": (lambda: panel([0.4, 0.9, 2.0], n=300, blind=True)[0], "0.8"),
}
BROKEN: dict[str, str] = {}


def lower_bound(missed, of, level=0.01):
    """Return the least rate at which so many or more are not rarer than the level (Clopper and Pearson, one-sided)."""
    low, high = 0.0, 1.0
    for _ in range(40 if missed else 0):
        rate = (low + high) / 2
        below = sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(missed))
        low, high = (rate, high) if 1 - below < level else (low, rate)
    return low


@pytest.mark.parametrize("name", ALIKE)
def test_promises_are_kept(name):
    """Over many draws, the runs' own labels miss the promise in no more than delta: the 99 % lower bound is not above it."""
    make, agreement = ALIKE[name]
    votes, missed, promised = make(), 0, 0
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        table = written(Path(folder) / "votes", votes)
        for seed in range(SEEDS):
            out = Path(folder) / f"r{seed}"
            asked = Asked(votes.links, votes.links[-1], agreement, DELTA, seed, None)
            document, certificate = certified_live(table, asked, out, finish=True)
            assert document["finished"]["kept"] == [link["kept"] for link in document["links"]]
            promised += certificate.cut is not None
            missed += document["finished"]["wrong"] > certificate.allowed
            shutil.rmtree(out)
    least = lower_bound(missed, SEEDS)
    BROKEN[name] = f"{name}: {missed} of {promised:,} missed, 99 % lower bound {least:.3f}"
    figure("promises on live data", f"delta {DELTA}; {'; '.join(BROKEN.values())}")
    assert promised == SEEDS
    assert least <= DELTA
