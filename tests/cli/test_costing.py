"""catena check --estimate: what a run will cost, before it does."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from catena.cli import main
from catena.links.registry import KINDS
from catena.testing.provider import FakeProvider
from chains import BATCH, LABELS, chain_text, openai

N = 300
PRICES = {"small": 0.5, "big": 5.0}


@pytest.fixture
def provider():
    """A provider of two models."""
    with FakeProvider(labels=list(LABELS), batch_seconds=0.01) as running:
        yield running


@pytest.fixture
def here(provider, tmp_path, monkeypatch):
    """A folder with a task of two links and 300 rows of different lengths."""
    monkeypatch.chdir(tmp_path)
    write_task(provider)
    with Path("data.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows((at, f"text number {at} " + "word " * (at % 40)) for at in range(N))
    return tmp_path


def write_task(provider, more=None, **keys):
    """Write task.yaml; `more` are options of the last link."""
    chain = [openai(provider, name, price={"input": usd, "output": 4 * usd}) for name, usd in PRICES.items()]
    chain[-1] |= more or {}
    Path("task.yaml").write_text(chain_text(*chain, data={"id": "id"}, **keys), "utf-8")


def estimate(capsys, *options, code=0):
    """Run `catena check --estimate` and return its document."""
    capsys.readouterr()
    assert main(["check", "task.yaml", "data.csv", "--estimate", *options, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def spent(capsys, out="run"):
    """Run the task and return what its links used."""
    assert main(["run", "task.yaml", "data.csv", "--out", out]) == 0
    capsys.readouterr()
    assert main(["status", out, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def holds(found, cost):
    """Whether the interval of an estimate holds a cost and is at most 15 % either way."""
    total = found["total"]
    half = (total["cost_usd_high"] - total["cost_usd_low"]) / 2
    return total["cost_usd_low"] <= cost <= total["cost_usd_high"] and half <= 0.15 * total["cost_usd"]


def test_the_estimate_is_what_the_run_costs(here, capsys):
    """Its interval holds it, and counts of rows are exact; nothing is left behind by an estimate without --out."""
    found = estimate(capsys)
    assert not Path("run").exists()
    assert [link["rows"] for link in found["links"]] == pytest.approx([N, N // 2])
    assert found["sample"]["n"] == 50
    assert holds(found, spent(capsys)["cost_usd"])


def test_the_run_buys_no_vote_of_the_sample_again(here, provider, capsys):
    """With --out its votes are in the run's ledger; what is still to pay is what the run then pays."""
    found = estimate(capsys, "--out", "run")
    after = spent(capsys)["cost_usd"]
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}
    assert after - found["sample"]["cost_usd"] == pytest.approx(found["to_come_usd"], rel=0.1)
    again = estimate(capsys, "--out", "run")
    assert again["sample"]["cost_usd"] == 0
    assert again["to_come_usd"] < 0.1 * found["total"]["cost_usd"]


def test_batches_cost_half(here, provider, capsys):
    """A link with mode: batch is asked call by call at once, and foretold at half of that."""
    write_task(provider, BATCH)
    found = estimate(capsys)
    assert provider.stats()["batches"] == 0
    assert [link["half_price"] for link in found["links"]] == [False, True]
    assert holds(found, spent(capsys)["cost_usd"])


def test_equal_prompts_are_counted_once(here, provider, capsys):
    """Where every text is there three times, a third is foretold, and that is what is paid."""
    with Path("data.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows((at, f"text number {at % 100} " + "word " * (at % 100)) for at in range(N))
    found = estimate(capsys)
    assert found["links"][0]["calls"] == pytest.approx(100)
    assert holds(found, spent(capsys)["cost_usd"])


def test_rows_without_a_call_cost_nothing(here, capsys):
    """Empty texts are failed rows at every link, and no calls."""
    text = Path("data.csv").read_text("utf-8").splitlines()
    Path("data.csv").write_text("\n".join([*text[:201], *[f"{at}," for at in range(200, N)]]), "utf-8")
    found = estimate(capsys)
    assert [link["rows"] for link in found["links"]] == pytest.approx([N, 150])
    assert [link["calls"] for link in found["links"]] == pytest.approx([200, 50])
    assert holds(found, spent(capsys)["cost_usd"])


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"usd": 10}, "The budget of $10.00 is enough."),
        ({"calls": 400}, "The budget of 400 calls is not enough: about 450 calls would be."),
    ],
)
def test_the_budget_is_laid_beside_it(here, provider, capsys, budget, says):
    """Enough or not, and what would be."""
    write_task(provider, budget=budget)
    assert main(["check", "task.yaml", "data.csv", "--estimate"]) == 0
    said = capsys.readouterr().out
    assert says in said
    assert "its votes are not kept: with --out RUN they are" in said


def test_votes_of_the_sample_that_the_run_does_not_need_count_in_its_budget(here, provider, capsys):
    """With --out they are in its ledger, and so is what they used; without, the run knows nothing of them."""
    write_task(provider, budget={"calls": 400})
    assert estimate(capsys)["budget"][0]["expected"] == pytest.approx(450)
    found = estimate(capsys, "--out", "run")
    assert found["budget"][0]["expected"] == pytest.approx(450 + found["sample"]["unneeded_votes"], abs=1.5)
    assert found["sample"]["unneeded_votes"] > 20


def test_a_budget_ends_the_sample_too(here, provider, capsys):
    """It is resumable: with a larger one the same command goes on, and buys nothing twice."""
    write_task(provider, budget={"calls": 30})
    assert main(["check", "task.yaml", "data.csv", "--estimate", "--out", "run"]) == 3
    assert "the budget is reached" in capsys.readouterr().err
    write_task(provider, budget={"calls": 3000})
    estimate(capsys, "--out", "run")
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}


def test_free_links_are_said_to_be_free(here, provider, capsys):
    """No dollar, no interval."""
    write_task(provider)
    task = yaml.safe_load(Path("task.yaml").read_text("utf-8"))
    for link in task["chain"]:
        link["price"] = "free"
    Path("task.yaml").write_text(yaml.safe_dump(task), "utf-8")
    assert main(["check", "task.yaml", "data.csv", "--estimate"]) == 0
    said = capsys.readouterr().out
    assert "A run costs nothing." in said
    assert "The sample cost nothing" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["check", "task.yaml", "--estimate"], "--estimate needs the data."),
        (["check", "task.yaml", "data.csv", "--out", "run"], "--out goes with --estimate."),
        (["check", "task.yaml", "data.csv", "--rows", "20"], "--rows goes with --estimate."),
        (["check", "task.yaml", "data.csv", "--estimate", "--rows", "3"], "3 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(here, provider, capsys, line, says):
    """With exit code 2 and nothing asked."""
    assert main(line) == 2
    assert says in capsys.readouterr().err
    assert not provider.calls()


@pytest.mark.skipif("human" not in KINDS, reason="there are no links of people yet")
@pytest.mark.parametrize(("price", "cost"), [("free", 0.0), (0.02, 0.02 * N / 3)])
def test_people_are_not_asked(here, provider, capsys, price, cost):
    """They are paid as the task says; what reaches them is their quota."""
    write_task(provider)
    task = yaml.safe_load(Path("task.yaml").read_text("utf-8"))
    task["chain"].append({"name": "ann", "kind": "human", "price": price})
    Path("task.yaml").write_text(yaml.safe_dump(task), "utf-8")
    ann = estimate(capsys)["links"][-1]
    assert ann["person"]
    assert (ann["rows"], ann["cost_usd"]) == (pytest.approx(N / 3), pytest.approx(cost))
    assert main(["check", "task.yaml", "data.csv", "--estimate"]) == 0
    assert "ann: people are not asked here" in capsys.readouterr().out
