"""Dawid-Skene, MACE and GLAD through crowd-kit."""

import sys

import numpy as np
import pytest

from catena.aggregate.crowd import METHODS, crowd
from catena.cli import main
from catena.data.votes import read_votes
from catena.errors import InputError, MissingExtraError
from catena.evaluate.crowded import crowded
from tables import vote, write_votes


def installed():
    """Skip where crowd-kit is not there."""
    pytest.importorskip(
        "crowdkit", reason="the extra crowd (crowd-kit: scikit-learn, transformers) is not installed"
    )


def panel(n=300, skills=(0.9, 0.6, 0.55, 0.5), seed=0):
    """Return gold and votes of links of which the first is by far the best."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, n)
    label = [np.where(rng.random(n) < skill, gold, rng.integers(0, 3, n)) for skill in skills]
    return gold.astype(np.int16), np.array(label, np.int16)


@pytest.mark.parametrize("method", METHODS)
def test_skill_is_learned_without_gold(method):
    """The labels are better than the majority's, and the probabilities are probabilities."""
    installed()
    gold, label = panel()
    found, sure = crowd(method, label, 3)
    majority = np.array([np.bincount(votes, minlength=3).argmax() for votes in label.T])
    assert (found == gold).mean() > (majority == gold).mean()
    assert ((sure > 1 / 3) & (sure <= 1 + 1e-9)).all()
    again, _ = crowd(method, label, 3)
    assert (found == again).all()


@pytest.mark.parametrize("method", METHODS)
def test_failed_votes_are_missing_ones(method):
    """An item without any vote has no label; a label that nobody gives is never given."""
    installed()
    _, label = panel()
    label[:, 0] = -1
    label[0, 1:50] = -1
    found, sure = crowd(method, label, 5)
    assert found[0] == -1
    assert np.isnan(sure[0])
    assert set(found[1:].tolist()) == {0, 1, 2}


def test_without_the_package_the_extra_is_named(monkeypatch):
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "crowdkit", None)
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'catena\[crowd\]'"):
        crowd("mace", panel()[1], 3)


@pytest.fixture
def votes(tmp_path):
    """Two links; `big` was asked about the first 20 of 30 items only."""
    ids = [f"i{at}" for at in range(30)]
    rows = [vote(name, "small", "favor" if at % 2 else "against") for at, name in enumerate(ids)]
    rows += [vote(name, "big", "favor" if at % 3 else None) for at, name in enumerate(ids[:20])]
    return write_votes(tmp_path / "votes", rows, ids, gold=["favor"] * 30)


def test_votes_that_are_missing_by_confidence_are_refused(votes):
    """With how many items lack votes and the way on; before the package is looked for."""
    with pytest.raises(InputError, match=r"10 of 30 items lack votes.*--items FILE"):
        crowded(read_votes(votes), "glad")
    with pytest.raises(InputError, match="at least two links"):
        crowded(read_votes(votes), "glad", ["small"])


def test_a_sample_on_which_all_voted(votes, tmp_path, capsys):
    """--items restricts it; --labels writes its rows; failed votes are counted."""
    installed()
    (tmp_path / "items.txt").write_text("".join(f"i{at}\n" for at in range(20)))
    out = tmp_path / "labels.csv"
    line = ["simulate", str(votes), "--crowd", "dawid-skene", "--items", str(tmp_path / "items.txt")]
    assert main([*line, "--labels", str(out)]) == 0
    assert "2 links on 20 items" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 21
    found = crowded(read_votes(votes), "dawid-skene", items=tmp_path / "items.txt").figures
    assert (found["n"], found["failed_votes"], found["links"]) == (20, 7, ["big", "small"])


@pytest.mark.parametrize(
    ("content", "says"), [("nope\n", "not in the vote table: nope"), ("", "lists no item")]
)
def test_a_wrong_list_of_items_is_refused(votes, tmp_path, content, says):
    """By name."""
    (tmp_path / "items.txt").write_text(content)
    with pytest.raises(InputError, match=says):
        crowded(read_votes(votes), "glad", items=tmp_path / "items.txt")
