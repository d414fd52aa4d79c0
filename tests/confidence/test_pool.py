"""The opinion pool: links that err together count less."""

import numpy as np

from catena.confidence.calibrate import design_of, fit_evidence
from catena.confidence.pool import fit_discount, fit_weights, posterior, said
from panels import panel

PRIOR = np.log(np.full(3, 1 / 3))


def evidence_of(votes):
    """The evidence of every link of a panel, [m, n, K]."""
    rows = np.arange(len(votes))
    designs = [
        design_of(label, sure, None, 3) for label, sure in zip(votes.label, votes.confidence, strict=True)
    ]
    return np.stack([design.inputs @ fit_evidence(design, votes.gold, PRIOR, rows) for design in designs])


def test_a_copy_adds_nothing():
    """Two links that say the same weigh about as much as one; two independent ones nearly twice as much."""
    weights = {}
    for name, shared in (("copy", 1.0), ("independent", 0.0)):
        votes, _ = panel([1.0, 1.0], n=1500, shared=shared)
        evidence = evidence_of(votes)
        discount = fit_discount(PRIOR, evidence.sum(0)[None], votes.gold)
        weights[name] = fit_weights(PRIOR, evidence, votes.gold, discount).sum()
    assert weights["copy"] < 1.2
    assert weights["independent"] > 1.6


def test_a_link_alone_has_weight_one():
    """Its evidence is calibrated already."""
    votes, _ = panel([1.0])
    assert fit_weights(PRIOR, evidence_of(votes), votes.gold, 0.5).tolist() == [1.0]


def test_only_a_named_label_wins():
    """Unless links gave full distributions."""
    chances = np.array([[0.1, 0.3, 0.6]])
    votes = np.array([[0], [1]], np.int16)
    assert said(chances, votes, free=False)[0].tolist() == [1]
    assert said(chances, votes, free=True)[0].tolist() == [2]


def test_no_vote_no_label():
    """The label is -1 and the confidence 0."""
    for free in (False, True):
        label, sure = said(np.array([[0.5, 0.5]]), np.full((2, 1), -1, np.int16), free=free)
        assert (label.tolist(), sure.tolist()) == ([-1], [0.0])


def test_the_posterior_is_a_distribution():
    """It sums to 1 and is the prior where there is no evidence."""
    prior = np.log([0.2, 0.3, 0.5])
    chances = posterior(prior, np.zeros((2, 4, 3)), [0.7, 0.6])
    assert np.allclose(chances, [0.2, 0.3, 0.5])
