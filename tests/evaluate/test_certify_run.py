"""A promise that is bought live is the one that the same votes give as a table, and it is kept."""

from dataclasses import replace

import numpy as np
import pytest

from catena.evaluate.certificate import Asked, certify
from catena.evaluate.ledger_votes import votes_of_run
from panels import panel
from promised import certified_live, edge, written


@pytest.mark.parametrize("skill", [[1.0, 2.2], [0.6, 1.3, 2.2]], ids=len)
@pytest.mark.parametrize("odd", [{}, {"lost": 0.1}, {"digits": 0}], ids=lambda odd: next(iter(odd), "plain"))
def test_live_is_as_recorded(tmp_path, skill, odd):
    """Whatever the votes are like: failed ones, equal confidences. And the last link is asked about drawn items only."""
    votes, _ = panel(skill, n=300, **odd)
    table, asked = (
        written(tmp_path / "votes", votes),
        Asked(votes.links, votes.links[-1], "0.85", 0.1, 3, None),
    )
    document, certificate = certified_live(table, asked, tmp_path / "run")
    _, found, recorded = certify(
        replace(votes, recorded=np.ones_like(votes.recorded)), asked, str(tmp_path / "run")
    )
    assert certificate == recorded
    seen = votes_of_run(tmp_path / "run", votes.links)
    assert seen.recorded[:-1].all()
    drawn = np.sort(np.concatenate([found.fit, found.sample]))
    assert np.flatnonzero(seen.recorded[-1]).tolist() == drawn.tolist()
    assert document["sample"]["n"] == len(drawn)


@pytest.mark.parametrize("seed", range(3))
def test_the_promise_is_about_the_runs_labels(tmp_path, seed):
    """What the certificate counts as kept and as wrong at most is so in the labels of the run that follows."""
    votes = edge()
    table, asked = written(tmp_path / "votes", votes), Asked(votes.links, "link1", "0.9", 0.1, seed, None)
    document, certificate = certified_live(table, asked, tmp_path / "run", finish=True)
    assert document["finished"]["kept"] == [link["kept"] for link in document["links"]]
    kept = document["finished"]["link"] == 0
    wrong = (votes.label[0] != votes.label[1])[kept].sum()
    assert document["finished"]["wrong"] == wrong
    assert kept.sum() == certificate.path[certificate.cut].kept
