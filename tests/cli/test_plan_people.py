"""catena plan with people in the task: what they say of a random pilot, blind, is what counts as right."""

import json

import pytest

from catena.cli import main
from catena.engine import people as engine
from catena.ledger.desk import Desk
from catena.task import load_task
from catena.testing.provider import FakeProvider
from chains import LABELS, chain_text, openai, rows_of, texts
from people import Person, people

N, PILOT = 300, 60


@pytest.fixture
def gold():
    """The truth of each text, which only people know."""
    return {text: LABELS[at % 3] for at, text in enumerate(texts(N))}


def plan(folder, gold, capsys, **options):
    """Plan with people who say the truth; return the document and who labelled."""
    who = Person(folder / "run", PILOT, lambda claim: LABELS[claim.row % 3])
    with FakeProvider(
        labels=list(LABELS), gold=gold, accuracy={"small": 0.6, "big": 0.95}, sharpness=3.0
    ) as provider:
        price = {"small": {"input": 1.0, "output": 1.0}, "big": {"input": 20.0, "output": 20.0}}
        chain = [openai(provider, name, price=price[name]) for name in price] + [people(**options)]
        (folder / "task.yaml").write_text(chain_text(*chain, data={"id": "id"}), "utf-8")
        rows_of(texts(N)).to_csv(folder / "data.csv", index=False)
        who.start()
        words = [
            "plan",
            "task.yaml",
            "data.csv",
            "--out",
            "run",
            "--pilot",
            str(PILOT),
            "--budget",
            "2x:big",
            "--json",
        ]
        code = main(words)
    who.join(30)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert who.error is None
    return json.loads(captured.out), who


def test_people_are_what_is_right(tmp_path, monkeypatch, capsys, gold):
    """Unasked, where there is no gold; they are asked once about each item of the pilot, and are no candidate."""
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)
    monkeypatch.chdir(tmp_path)
    document, who = plan(tmp_path, gold, capsys)
    assert document["measured_by"] == "the labels of people (people)"
    assert len(who.given) == document["pilot"]["n"] == PILOT
    accuracy = {link["link"]: link["accuracy"] for link in document["links"]}
    assert "people" not in accuracy
    assert accuracy["big"] > 0.8
    assert "people" not in [spec.name for spec in load_task(tmp_path / "run" / "plan.yaml").chain]
    with Desk(tmp_path / "run") as desk:
        assert desk.queues()[0].blind


def test_people_with_a_price_are_candidates(tmp_path, monkeypatch, capsys, gold):
    """Then they may be part of the plan, at their price, right by definition; no call of the pilot is made again."""
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)
    monkeypatch.chdir(tmp_path)
    document, _ = plan(tmp_path, gold, capsys, price=0.05)
    accuracy = {link["link"]: link["accuracy"] for link in document["links"]}
    assert accuracy["people"] == 1.0
