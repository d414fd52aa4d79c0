"""catena simulate: what scripts read from it."""

import json
import os

import pyarrow.parquet as pq
import pytest

from catena.cli import main
from tables import vote, write_votes

LINKS = ("small", "mid", "big")


@pytest.fixture
def votes(tmp_path):
    """Nine items; `small` is sure of the first three, `mid` failed on one and lacks another, `big` knows all."""
    rows = []
    for i in range(9):
        rows.append(vote(f"i{i}", "small", "favor", 0.9 - i / 10, cost_usd=1.0))
        if i != 8:
            rows.append(vote(f"i{i}", "mid", None if i == 7 else "against", 0.9 - i / 10, cost_usd=10.0))
        rows.append(vote(f"i{i}", "big", "favor" if i % 2 else "against", 0.5, cost_usd=100.0))
    gold = ["favor" if i % 2 else "against" for i in range(9)]
    return write_votes(tmp_path / "votes", rows, [f"i{i}" for i in range(9)], gold=gold)


@pytest.fixture
def simulate(votes, capsys):
    """Run the command over the votes and return its document."""

    def run(*arguments):
        assert main(["simulate", str(votes), "--json", *map(str, arguments)]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def listing(folder):
    """Everything in a folder with what changes when it is written."""
    return sorted(
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)
    )


def test_the_document_of_a_chain(simulate):
    """It has chain, n, links, aggregates, random, oracle and cost_usd, and nothing else."""
    found = simulate("--chain", "small,mid,big")
    assert set(found) == {"chain", "n", "links", "aggregates", "random", "oracle", "cost_usd"}
    assert (found["chain"], found["n"]) == (list(LINKS), 9)
    assert set(found["aggregates"]) == {"rank", "last", "minmax"}
    assert set(found["random"]) == {"accuracy", "macro_f1"}
    assert set(found["oracle"]) == {"reached", "all"}


def test_what_is_said_about_a_link(simulate):
    """A missing vote counts as failed and costs nothing; each link is scored on what it received."""
    links = simulate("--chain", "small,mid,big")["links"]
    scores = [(link.pop("accuracy"), link.pop("macro_f1")) for link in links]
    assert [accuracy for accuracy, _ in scores] == pytest.approx([4 / 9, 2 / 6, 1.0])
    assert [macro_f1 for _, macro_f1 in scores] == pytest.approx([4 / 13, 0.5 * 4 / 7, 1.0])
    assert links == [
        {
            "link": "small",
            "received": 9,
            "kept": 3,
            "forwarded": 6,
            "failed": 0,
            "missing": 0,
            "cost_usd": 9.0,
        },
        {
            "link": "mid",
            "received": 6,
            "kept": 3,
            "forwarded": 3,
            "failed": 2,
            "missing": 1,
            "cost_usd": 50.0,
        },
        {
            "link": "big",
            "received": 3,
            "kept": 3,
            "forwarded": 0,
            "failed": 0,
            "missing": 0,
            "cost_usd": 300.0,
        },
    ]


def test_the_cost_is_that_of_all_links(simulate):
    """cost_usd of the chain is the sum of its links'."""
    assert simulate("--chain", "small,mid,big")["cost_usd"] == 359.0


def test_each_aggregate_has_accuracy_and_macro_f1(simulate):
    """`last` by hand: small keeps 0-2 (one right), mid 3-5 (one right), big the rest (all right)."""
    aggregates = simulate("--chain", "small,mid,big")["aggregates"]
    assert aggregates["last"]["accuracy"] == pytest.approx(5 / 9)
    assert all(0 < figures[key] < 1 for figures in aggregates.values() for key in ("accuracy", "macro_f1"))


def test_shares_are_taken(simulate):
    """Of nine items .4, .4 and .2 are 3, 4 of the remaining 6, and the rest."""
    links = simulate("--chain", "small,mid,big", "--share", ".4,.4,.2")["links"]
    assert [link["kept"] for link in links] == [3, 4, 2]


def test_the_labels_file(simulate, tmp_path):
    """Columns item_id, kept_by, last, rank; one row for each item in input order."""
    simulate("--chain", "small,mid,big", "--labels", tmp_path / "labels.parquet")
    table = pq.read_table(tmp_path / "labels.parquet")
    assert table.column_names == ["item_id", "kept_by", "last", "rank"]
    assert table["item_id"].to_pylist() == [f"i{i}" for i in range(9)]
    assert table["kept_by"].to_pylist() == [name for name in LINKS for _ in range(3)]
    assert table["last"].to_pylist()[:6] == ["favor"] * 3 + ["against"] * 3


@pytest.mark.parametrize(("length", "orders"), [(1, 3), (2, 6), (3, 6)])
def test_permutations_give_one_result_for_each_order(simulate, length, orders):
    """Each as for one chain, and none twice."""
    results = simulate("--permutations", length)["results"]
    assert len({tuple(result["chain"]) for result in results}) == len(results) == orders
    assert all(result == simulate("--chain", ",".join(result["chain"])) for result in results)


@pytest.mark.parametrize("how", [["--chain", "small,big"], ["--permutations", "2"]])
def test_nothing_is_written_into_the_table(votes, simulate, how):
    """Names, sizes and times of change in the folder are the same after as before."""
    before = listing(votes)
    simulate(*how)
    assert listing(votes) == before


def test_people_see_a_table(votes, capsys):
    """Without --json the orders stand in a table, the best first."""
    assert main(["simulate", str(votes), "--permutations", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(name for line in lines if (name := line.strip()).startswith(LINKS)).startswith("big")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--chain", "mid,big"], "1 of the 14 votes that this chain needs are not recorded"),
        (["--permutations", "1"], "1 of the 3 orders need votes that are not recorded"),
    ],
)
def test_votes_that_are_missing_are_said(votes, capsys, how, says):
    """Once on stderr, and the table has a column for them."""
    assert main(["simulate", str(votes), *how]) == 0
    said = capsys.readouterr()
    assert said.err.count("not recorded") == 1
    assert says in said.err
    assert "missing" in said.out


def test_complete_votes_need_no_warning(votes, capsys):
    """Nor a column."""
    assert main(["simulate", str(votes), "--chain", "small,big"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "missing" not in said.out


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--chain", "small,nope"], "nope"),
        (["--chain", "small,small"], "each of its links once"),
        (["--permutations", "4"], "the vote table has 3 links"),
        (["--chain", "small,big", "--share", "1"], "share"),
        (["--chain", "small", "--permutations", "1"], "either"),
        (["--permutations", "1", "--labels", "x.csv"], "--labels goes with --chain"),
        (["--chain", "small", "--trials", "-1"], "at least 1 trial"),
        (["--chain", "small", "--items", "x"], "--items goes with --crowd"),
        (["--chain", "small", "--labels", "votes/x.csv"], "inside the vote table"),
        (["--chain", "small", "--labels", "no/x.csv"], "no is no folder"),
    ],
)
def test_wrong_chains_are_refused(votes, capsys, monkeypatch, how, says):
    """In one line that names what is wrong."""
    monkeypatch.chdir(votes.parent)
    assert main(["simulate", str(votes), *how]) == 2
    assert says in capsys.readouterr().err
