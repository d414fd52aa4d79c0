"""catena certify with people as the last link, or as the reference beside the chain."""

import json

import pytest

from catena.cli import main
from catena.engine import people as engine
from catena.testing.provider import FakeProvider
from chains import LABELS, chain_text, openai, rows_of, texts, votes_in
from people import Person, people

N = 300


@pytest.mark.parametrize("beside", [False, True], ids=["last link", "beside the chain"])
def test_people_label_what_is_drawn(tmp_path, monkeypatch, capsys, beside):
    """They are asked about the drawn items only, blind, and what they say is what must be met."""
    monkeypatch.setattr(engine, "POLL_SECONDS", 0.02)
    monkeypatch.chdir(tmp_path)
    gold = {text: LABELS[at % 3] for at, text in enumerate(texts(N))}
    accuracy = {"small": 0.95, "big": 0.99}
    with FakeProvider(labels=list(LABELS), gold=gold, accuracy=accuracy, sharpness=3.0) as provider:
        names = ["small", "big"] if beside else ["small"]
        chain = [openai(provider, name) for name in names] + [people()]
        (tmp_path / "task.yaml").write_text(chain_text(*chain, data={"id": "id"}), "utf-8")
        rows_of(texts(N)).to_csv(tmp_path / "data.csv", index=False)
        who = Person(tmp_path / "run", 40, lambda claim: LABELS[claim.row % 3])
        who.start()
        words = ["certify", "task.yaml", "data.csv", "--out", "run", "--agreement", "0.8", "--sample", "40"]
        words += ["--chain", "small,big", "--reference", "people"] if beside else []
        code = main([*words, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    found = json.loads(captured.out)
    assert (found["certified"], found["reference"]) == (True, "people")
    votes = votes_in(tmp_path / "run")
    assert (votes["small"], votes["people"]) == (N, found["sample"]["n"])
    assert found["sample"]["n"] == len(who.given) <= 40
    assert who.error is None
