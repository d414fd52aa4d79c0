"""A budget is a cap: no call is made that it might not hold, and what there is when it is reached can be used."""

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from inprocess import Books, books, install
from live import answers_of
from soak import IN_MEMORY, figure, many

from catena.engine.budget import BudgetError
from catena.engine.run import Run
from catena.testing.provider import spawn
from catena.types import Vote
from chains import (
    LABELS,
    chain_task,
    chain_text,
    finish,
    label_bytes,
    labels_of,
    openai,
    rows_of,
    start,
    texts,
)

RUNS = many(30, 1_000)
KINDS = ("usd", "tokens", "calls")
BOUND = 4 * 64  # tokens: the upper bound of a call that `inprocess.Fake` states


def draw_run(draw):
    """Return a chain, rows, the kind of cap, and its share of what the run would use."""
    lost = draw.choice([0.0, 0.0, 0.3])
    chain = [
        {
            "name": f"l{at}",
            "kind": "fake",
            "usd": 10.0 ** draw.randint(-6, 0),
            "concurrency": draw.randint(1, 16),
            "lost": lost,
        }
        for at in range(draw.randint(1, 3))
    ]
    rows = rows_of([f"text {draw.randrange(60)}" for _ in range(draw.randint(3, 60))])
    return chain, rows, draw.randrange(3), draw.uniform(0, 1.2)


def finishes(task, rows, out):
    """Run into a folder; return whether it finished within its budget."""
    try:
        Run(task, rows, out).execute()
    except BudgetError:
        return False
    return True


def forget():
    """Begin new books."""
    for name, value in vars(Books()).items():
        setattr(books, name, value)


@pytest.fixture
def in_memory():
    """A folder for many small runs."""
    with tempfile.TemporaryDirectory(prefix="catena-budget-", dir=IN_MEMORY) as folder:
        yield Path(folder)


def test_overshoot(in_memory, monkeypatch):
    """Runs with random prices, failures, links and caps: what is charged stays within the cap plus the calls in flight.

    Then a larger budget finishes each run to the labels of an unbroken one, and no answer is bought twice.
    """
    install(monkeypatch)
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    ended, worst, most_over = Counter(), 0.0, 0.0
    for seed in range(RUNS):
        draw = random.Random(seed)
        chain, rows, kind, share = draw_run(draw)
        out, unbroken = in_memory / f"r{seed}", in_memory / f"u{seed}"
        forget()
        assert finishes(chain_task(*chain, data={"id": "id"}), rows, unbroken)
        cap = share * books.spent[kind]
        cap = cap if kind == 0 else int(cap)
        forget()
        task = chain_task(*chain, data={"id": "id"}, budget={KINDS[kind]: cap})
        finished = finishes(task, rows, out)
        price = [max(link["usd"] for link in chain) * BOUND, BOUND, 1][kind]
        over = books.spent[kind] - cap
        worst, most_over = max(worst, over / price), max(most_over, over)
        assert over <= books.most_in_flight * price + 1e-9
        ended["finished" if finished else "capped"] += 1
        if not finished:
            voted = {row for (_, row), answer in answers_of(out).items() if isinstance(answer, Vote)}
            labels = labels_of(out)
            assert {at for at, row in enumerate(labels) if row["status"] == "provisional"} == voted
            assert all(row["label"] in LABELS for row in labels if row["status"] == "provisional")
            assert finishes(
                chain_task(*chain, data={"id": "id"}, budget={KINDS[kind]: 1e6 if kind == 0 else 10**9}),
                rows,
                out,
            )
        assert label_bytes(out) == label_bytes(unbroken)
        assert max(books.bought.values(), default=0) <= 1
        shutil.rmtree(out)
        shutil.rmtree(unbroken)
    assert ended["capped"] > RUNS / 3
    figure(
        "budget cap",
        f"{RUNS:,} runs, {ended['capped']:,} of them capped: charged at most {worst:.2f} upper bounds of one call above the cap "
        "(allowed: the calls in flight); all finished to the labels of an unbroken run, 0 votes bought twice",
    )
    assert most_over <= 1e-9  # reservation leaves nothing to overshoot with


def test_through_the_command(tmp_path):
    """Exit code 3, a line that says what finishing costs, provisional labels; more budget ends like an unbroken run."""
    price = {"input": 100.0, "output": 100.0}
    rows_of(texts(200)).to_csv(tmp_path / "rows.csv", index=False)
    with spawn(labels=list(LABELS), latency=0.005, ledger=str(tmp_path / "calls.jsonl")) as provider:
        links = [openai(provider, name, price=price, concurrency=8) for name in ("small", "big")]
        task = yaml.safe_load(chain_text(*links, data={"id": "id"}))

        def run(out, **budget):
            (tmp_path / "task.yaml").write_text(yaml.safe_dump(task | {"budget": budget} if budget else task))
            return finish(
                start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / out)
            )

        bought = 0
        for usd in (0.0, 0.3, 0.8):
            code, _, err = run("r", usd=usd)
            assert code == 3, err
            assert "Traceback" not in err
            (line,) = [line for line in err.splitlines() if line.startswith("catena: the budget is reached")]
            assert "Finishing takes about" in line
            assert "more calls, for about $" in line or "more calls, for at most $" in line
            assert "Raise budget in the task and run the same command to go on" in line
            answers = answers_of(tmp_path / "r")
            assert sum(answer.usage.cost_usd for answer in answers.values()) <= usd
            assert provider.stats()["answered"] == len(answers) >= bought
            bought = len(answers)
            labels = labels_of(tmp_path / "r")
            assert {at for at, row in enumerate(labels) if row["label"]} == {row for _, row in answers}
            assert {row["status"] for row in labels if row["label"]} <= {"provisional"}
            code, out, err = finish(start("status", tmp_path / "r"))
            assert (code, "the budget is reached" in out) == (0, True), err
        assert 0 < bought < 300
        code, _, err = run("r", usd=50)
        assert code == 0, err
        assert provider.stats()["answered"] == 300
        assert run("unbroken")[0] == 0
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "unbroken")


def test_the_same_command_again_does_not_creep_over_the_cap(tmp_path, monkeypatch):
    """What lost answers may have cost is remembered: however often a capped run is resumed, the cap holds."""
    install(monkeypatch)
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    forget()
    link = {"name": "l", "kind": "fake", "usd": 0.001, "concurrency": 4, "lost": 0.5}
    task = chain_task(link, data={"id": "id"}, budget={"usd": 3.0})
    for _ in range(10):
        assert not finishes(task, rows_of(texts(400)), tmp_path / "r")
    assert books.spent[0] <= 3.0
