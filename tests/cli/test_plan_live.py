"""catena plan TASK DATA: a pilot that is asked for, a plan that runs, and nothing that is bought twice."""

import csv
import json
from collections import Counter

import pytest
import yaml

from catena.cli import main
from catena.task import load_task
from catena.testing.provider import FakeProvider
from chains import LABELS, calls, chain_text, label_bytes, openai, texts, votes_in
from tables import vote, write_votes

N, PILOT = 600, 120
ACCURACY = {"small": 0.72, "bad": 0.4, "middle": 0.82, "big": 0.93}
PRICES = {"small": 1.0, "bad": 2.0, "middle": 4.0, "big": 20.0}


@pytest.fixture(scope="module")
def gold():
    """The truth of each text."""
    return {text: LABELS[at % 3] for at, text in enumerate(texts(N))}


@pytest.fixture
def provider(gold):
    """A provider whose models differ in how often they are right."""
    with FakeProvider(labels=list(LABELS), gold=gold, accuracy=ACCURACY, sharpness=3.0) as running:
        yield running


@pytest.fixture
def here(provider, gold, tmp_path, monkeypatch):
    """A folder with a task of four candidate links and its data."""
    monkeypatch.chdir(tmp_path)
    chain = [
        openai(provider, name, price={"input": price, "output": price}) for name, price in PRICES.items()
    ]
    data = {"id": "id", "gold": "gold"}
    (tmp_path / "task.yaml").write_text(chain_text(*chain, data=data), "utf-8")
    (tmp_path / "blind.yaml").write_text(chain_text(*chain, data={"id": "id"}), "utf-8")
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "gold"])
        rows.writerows((f"i{at}", text, label) for at, (text, label) in enumerate(gold.items()))
    return tmp_path


@pytest.fixture
def plan(here, capsys):
    """Run `catena plan` and return its document."""

    def run(*options, task="task.yaml"):
        code = main(
            ["plan", task, "data.csv", "--out", "run", "--pilot", str(PILOT), *map(str, options), "--json"]
        )
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


def test_the_plan_runs_and_buys_no_vote_of_the_pilot_again(plan, here, provider, gold):
    """`catena run` with the written plan takes the pilot's votes from the ledger, and costs what was planned."""
    document = plan("--budget", "0.5x:big")
    asked = calls(provider)
    assert asked["big"] == asked["small"] == PILOT
    assert document["expected"]["cost_share"] <= 0.5
    assert main(["run", "run/plan.yaml", "data.csv", "--out", "run"]) == 0
    keys = Counter((call.model, call.key) for call in provider.calls())
    assert set(keys.values()) == {1}
    chain = document["chain"]
    assert calls(provider)[chain[0]] == N
    spent = sum(calls(provider)[name] * PRICES[name] for name in chain)
    pilot = sum(PILOT * PRICES[name] for name in chain)
    assert spent <= 0.5 * N * PRICES["big"] + pilot
    assert votes_in(here / "run")[chain[-1]] < N
    assert main(["check", "--ledger", "run"]) == 0


def test_rows_of_the_pilot_are_counted_once(plan, here, capsys):
    """What the ledger says each link has answered is its rows, pilot and run together."""
    plan("--budget", "0.5x:big")
    assert main(["run", "run/plan.yaml", "data.csv", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["status", "run", "--json"]) == 0
    links = json.loads(capsys.readouterr().out)["links"]
    assert [link["answered"] for link in links] == [votes_in(here / "run")[link["link"]] for link in links]


def test_a_replay_of_the_votes_gives_the_same_labels(plan, here, tmp_path):
    """What the run decided live, simulate decides from its votes: to the last bit."""
    plan("--budget", "0.4x:big", "--task", "chosen.yaml")
    assert main(["run", "chosen.yaml", "data.csv", "--out", "run"]) == 0
    assert main(["results", "run", "--votes", "votes"]) == 0
    task = load_task(tmp_path / "chosen.yaml")
    chain = [{"name": link.name, "kind": "replay", "votes": "votes"} for link in task.chain]
    text = (tmp_path / "chosen.yaml").read_text("utf-8")
    replayed = yaml.safe_load(text) | {"chain": chain, "labels": list(LABELS)}
    (tmp_path / "replay.yaml").write_text(yaml.safe_dump(replayed), "utf-8")
    assert main(["run", "replay.yaml", "data.csv", "--out", "again"]) == 0
    assert label_bytes(here / "run") == label_bytes(here / "again")


def test_a_hopeless_candidate_is_dropped_early(plan, provider):
    """A link that is surely worse than a cheaper one votes on a part of the pilot only."""
    document = plan("--budget", "0.5x:big")
    assert document["dropped"] == ["bad"]
    assert calls(provider)["bad"] < PILOT
    assert "bad" not in document["chain"]


def test_without_gold_the_dearest_link_counts_as_right(plan):
    """Agreement with it is what is planned for, and that is said."""
    document = plan("--budget", "0.5x:big", task="blind.yaml")
    assert document["measured_by"] == "the labels of big"
    alone = next(link for link in document["links"] if link["link"] == "big")
    assert alone["accuracy"] > 0.95


def test_a_persons_votes_can_count_as_right(plan, here, gold):
    """A vote table of somebody else's labels is matched by item id; the pilot is drawn from its items."""
    rows = [vote(f"i{at}", "ann", label, None) for at, label in enumerate(list(gold.values())[:200])]
    write_votes(here / "people", rows, [f"i{at}" for at in range(200)])
    document = plan("--budget", "0.5x:big", "--reference", "people", task="blind.yaml")
    assert document["measured_by"] == "the labels of people"
    assert abs(document["pilot"]["accuracy"] - document["expected"]["accuracy"]) < 0.2


def test_a_second_plan_buys_nothing(plan, provider):
    """Another budget is another plan from the same votes."""
    plan("--budget", "0.5x:big")
    before = calls(provider)
    plan("--budget", "0.2x:big")
    assert calls(provider) == before


def test_a_cap_on_spending_is_refused_for_batches(plan, here, provider, capsys):
    """It waits for each step's costs, and a batch waits for more questions: said at once, with the way on."""
    plan("--budget", "0.5x:big")
    before = calls(provider)
    tasked = yaml.safe_load((here / "run" / "plan.yaml").read_text("utf-8"))
    assert "spend" in tasked["policy"]
    tasked["chain"][-1]["mode"] = "batch"
    (here / "batch.yaml").write_text(yaml.safe_dump(tasked), "utf-8")
    for command in (["run", "batch.yaml", "data.csv", "--out", "other"], ["check", "batch.yaml", "data.csv"]):
        assert main(command) == 2
        assert "mode: batch can't be steered by policy.spend" in capsys.readouterr().err
    assert calls(provider) == before


def test_a_pilot_that_its_budget_ends_goes_on(here, capsys):
    """It says so without labels that are not there; with a larger budget the same command goes on."""
    small = yaml.safe_load((here / "task.yaml").read_text("utf-8")) | {"budget": {"calls": 100}}
    (here / "small.yaml").write_text(yaml.safe_dump(small), "utf-8")
    assert main(["plan", "small.yaml", "data.csv", "--out", "run"]) == 3
    said = capsys.readouterr().err
    assert "the budget is reached" in said
    assert "provisional" not in said
    assert main(["plan", "task.yaml", "data.csv", "--out", "run"]) == 0


def test_a_size_that_nobody_chose_is_what_the_reference_allows(here, capsys, gold):
    """Of 600 rows, 40 have a label of somebody's: the pilot is those."""
    rows = [vote(f"i{at}", "ann", label, None) for at, label in enumerate(list(gold.values())[:40])]
    write_votes(here / "people", rows, [f"i{at}" for at in range(40)], labels=list(LABELS))
    assert main(["plan", "task.yaml", "data.csv", "--out", "run", "--reference", "people", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pilot"]["n"] == 40


def test_free_links_need_no_budget(plan, here):
    """The best chain is planned, and nothing is said about money."""
    text = (here / "task.yaml").read_text("utf-8")
    tasked = yaml.safe_load(text)
    tasked["chain"] = [link | {"price": "free"} for link in tasked["chain"]]
    (here / "free.yaml").write_text(yaml.safe_dump(tasked), "utf-8")
    document = plan(task="free.yaml")
    assert document["expected"]["cost_share"] is None
    assert document["expected"]["accuracy"] > 0.85


def test_a_task_without_data_is_explained(here, capsys):
    """A folder of votes goes alone, a task with its data."""
    assert main(["plan", "task.yaml"]) == 2
    assert "Write catena plan TASK DATA --out RUN" in capsys.readouterr().err
    assert main(["plan", str(here), "data.csv", "--out", "run"]) == 2
    assert "takes no DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pilot", "ids.txt"], "it is a number"),
        (["--pilot", "9000"], "only 600 rows have gold"),
        (["--pilot", "5"], "too few to plan on"),
        (["--reference", "nobody"], "neither gold, nor a link of the task, nor a vote table"),
        (["--budget", "0.5x:huge"], "no link of the task: huge"),
        (["--labels", "x.csv"], "--labels does nothing"),
        (["--task", "no/plan.yaml"], "no is no folder"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_paid(here, provider, capsys, options, says):
    """In one line with exit code 2."""
    assert main(["plan", "task.yaml", "data.csv", "--out", "run", *options]) == 2
    assert says in capsys.readouterr().err
    assert not calls(provider)


def test_an_estimate_of_a_plan_is_what_its_cap_pays_for(plan, here, capsys):
    """A policy that steers by costs spends its cap: an estimate knows that from the sample, and the run does it."""
    plan("--budget", "0.5x:big")
    assert load_task(here / "run" / "plan.yaml").policy.spend is not None
    assert main(["check", "run/plan.yaml", "data.csv", "--estimate", "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert main(["run", "run/plan.yaml", "data.csv", "--out", "other"]) == 0
    capsys.readouterr()
    assert main(["status", "other", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)["cost_usd"]
    assert total["cost_usd_low"] <= cost <= total["cost_usd_high"]
    assert cost == pytest.approx(total["cost_usd"], rel=0.05)
