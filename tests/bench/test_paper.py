"""The paper's experiment, for real: the command, the engine and a provider whose accuracy is known."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catena.errors import InputError
from catena.evaluate.simulate import Simulator
from catena.testing.provider import spawn
from tables import table_of

BENCH = Path(__file__).parents[2] / "bench" / "paper.py"
TASKS = os.environ.get("CATENA_TASKS")
LIMIT = 300
ACCURACY = {"small": 0.6, "middle": 0.7, "large": 0.8}
FILES = {
    "stance": ("semeval2016_stance.csv", "stance", ["favor", "against", "none"]),
    "ideology": ("ibc_ideology.csv", "leaning", ["liberal", "conservative", "neutral"]),
    "misinformation": ("mrf_misinformation.csv", "gold", ["misinfo", "real"]),
}


def sample(file, column):
    """Return text and gold of the rows that --limit takes."""
    with (Path(TASKS) / file).open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return [
        (rows[at * len(rows) // LIMIT]["text"], rows[at * len(rows) // LIMIT][column]) for at in range(LIMIT)
    ]


def paper(*arguments):
    """Run the command and return its report."""
    done = subprocess.run(
        [sys.executable, str(BENCH), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not TASKS, reason="CATENA_TASKS names no folder with the texts of the paper's tasks")
@pytest.mark.parametrize("name", FILES)
def test_the_experiment_reports_what_the_models_can_do_and_buys_nothing_twice(name, tmp_path):
    """Each model's accuracy is the provider's own; chains lie around it; a second run and the vote table agree."""
    file, column, labels = FILES[name]
    rows = sample(file, column)
    out, links = tmp_path / "out", tmp_path / "links.yaml"
    with spawn(labels=labels, gold=dict(rows), accuracy=ACCURACY, other=0.0) as provider:
        listed = [
            f"- {{name: {model}, kind: openai, model: {model}, base_url: '{provider.base_url}', price: free}}"
            for model in ("small", "middle")
        ]
        links.write_text("# local\n" + "\n".join(listed), "utf-8")
        large = f"name=large,kind=openai,model=large,base_url={provider.base_url},price=free,concurrency=32"
        command = (
            *("--task", name, "--limit", LIMIT, "--trials", 40, "--out", out),
            *("--links", links, "--link", large),
        )
        text = paper(*command)
        report = json.loads((out / "report.json").read_text("utf-8"))
        asked = provider.stats()["requests"]
        assert paper(*command) == text
        assert provider.stats()["requests"] == asked <= 3 * LIMIT
        for model in ACCURACY:
            said = [provider.distribution(content, model) for content, _ in rows]
            right = np.mean([max(d, key=d.get) == gold for d, (_, gold) in zip(said, rows, strict=True)])
            assert report[name]["singles"][model]["accuracy"] == pytest.approx(right)
            assert report[name]["singles"][model]["failed"] == 0

    rules, singles = report[name]["rules"], report[name]["singles"]
    mean = np.mean([single["accuracy"] for single in singles.values()])
    assert rules["random"]["accuracy"]["median"] == pytest.approx(mean, abs=0.02)
    assert rules["rank"]["accuracy"]["median"] > mean
    assert len(report[name]["orders"]) == 6

    paper("--recorded", out / name / "votes", "--trials", 40, "--out", tmp_path / "again")
    again = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))
    assert again["votes"] == report[name]


def test_random_routing_keeps_the_shares_and_falls_back_to_earlier_votes():
    """A right link that keeps 3 of 4 items before a wrong one: .75 in every draw; a failed last link loses nothing."""
    always = table_of(np.ones((2, 8)), [[0] * 8, [1] * 8], gold=[0] * 8)
    assert Simulator(always).random(["link0", "link1"], ["0.75", "0.25"])["accuracy"] == 0.75
    failed = table_of(np.ones((2, 8)), [[0] * 8, [-1] * 8], gold=[0] * 8)
    assert Simulator(failed).random(["link0", "link1"])["accuracy"] == 1.0
    assert Simulator(failed).random(["link1", "link0"])["accuracy"] == 0.5


def test_random_routing_is_the_same_for_a_seed():
    """Same seed, same figures, whatever was asked before; another seed draws others."""
    generator = np.random.Generator(np.random.PCG64(1))
    labels = (generator.random((2, 50)) < 0.5).astype(int)
    votes = table_of(np.ones((2, 50)), labels, gold=[0] * 50)
    first, chain = Simulator(votes), ["link1", "link0"]
    first.random(["link0", "link1"], trials=7)
    assert first.random(chain, trials=3) == Simulator(votes).random(chain, trials=3)
    assert first.random(chain, trials=3) != Simulator(votes, seed=1).random(chain, trials=3)


def test_random_routing_without_gold_or_trials():
    """No gold is no score; no trial is refused."""
    votes = table_of([[0.5, 0.1]])
    assert Simulator(votes).random(["link0"]) == {"accuracy": None, "macro_f1": None}
    with pytest.raises(InputError, match="at least 1 trial"):
        Simulator(votes).random(["link0"], trials=0)
