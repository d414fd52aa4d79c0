"""Calibration: what one link's vote is worth as evidence for each label, learned from a pilot with gold.

A link's evidence is a vector over the labels, in nats, that adds to the log-prior: with one link, the posterior of
the labels is softmax(log prior + evidence). Few parameters, all shrunk, because a pilot is small. A link that gives
full label distributions is calibrated by matrix scaling (Guo et al. 2017; Kull et al. 2019) shrunk to one
temperature; any other by a logistic curve on the normal score of its confidence's rank.
"""

from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibrator", "Design", "DistributionMap", "VoteCurve", "design_of", "fit_evidence", "log_softmax"]

Floats = NDArray[np.float64]

MOST_KNOTS = 64
FURTHEST = 2.5  # normal scores beyond this rest on one or two items
DEEPEST = 15.0  # nats below the best label; what lies deeper is noise of the softmax
MOST_MIXED = 6  # labels; with more, a pilot can't say which one is taken for which
DIGITS = 6
NEWTON_STEPS = 25

# Prior means and standard deviations. A level is the log-odds of being right on average, a slope their rise per
# standard deviation of the confidence (0.8 is an AUROC of about .7); the others are corrections, so their mean is 0.
LEVEL, SLOPE, TEMPERATURE = (1.0, 2.0), (0.8, 0.5), (1.0, 0.5)
OWN_LABEL, OTHER_LABEL = 0.3, 0.1


class VoteCurve(msgspec.Struct, frozen=True, tag="vote", tag_field="from", forbid_unknown_fields=True):
    """Evidence of a label and a confidence.

    Args:
        level: Log-odds against each other label of a vote of middling confidence.
        slope: What a standard deviation of confidence adds.
        knots: Confidences, ascending; empty where the link has none.
        scores: Normal score of each knot's rank on the pilot.
        by_label: What a vote for label l adds to label k: [l][k], or [l][0] where only to itself.
    """

    level: float
    slope: float
    knots: tuple[float, ...]
    scores: tuple[float, ...]
    by_label: tuple[tuple[float, ...], ...]

    def fits(self, labels: int) -> bool:
        """Whether it is for so many labels, and whole."""
        widths = {len(row) for row in self.by_label}
        return len(self.by_label) == labels and widths <= {1, labels} and len(self.knots) == len(self.scores)

    def evidence(
        self,
        label: NDArray[np.int16],
        confidence: Floats,
        logprobs: Floats | None = None,  # noqa: ARG002 - the other kind's
    ) -> Floats:
        """Return the evidence of n votes, float64 [n, K]; zeros where there is no vote."""
        table = np.array(self.by_label, float)
        result = np.zeros((len(label), len(table)))
        here = np.flatnonzero(label >= 0)
        said = label[here]
        if table.shape[1] == len(table):
            result[here] = table[said]
        else:
            result[here, said] = table[said, 0]
        result[here, said] += self.level + self.slope * normal_score(
            self.knots, self.scores, confidence[here]
        )
        return result


class DistributionMap(
    msgspec.Struct, frozen=True, tag="distribution", tag_field="from", forbid_unknown_fields=True
):
    """Evidence of a full label distribution: a linear map of its centred log-probabilities.

    Args:
        centre: Mean on the pilot of each label's log-probability, less the mean over the labels, [K].
        matrix: What a nat for label l adds to label k: [k][l], or [l][0] where only to itself.
        bias: What is added to each label, [K].
    """

    centre: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def fits(self, labels: int) -> bool:
        """Whether it is for so many labels, and whole."""
        widths = {len(row) for row in self.matrix}
        return len(self.matrix) == len(self.centre) == len(self.bias) == labels and widths <= {1, labels}

    def evidence(
        self,
        label: NDArray[np.int16],
        confidence: Floats,  # noqa: ARG002 - the other kind's
        logprobs: Floats | None = None,
    ) -> Floats:
        """Return the evidence of n votes, float64 [n, K]; zeros where there is no vote with a distribution."""
        matrix = np.array(self.matrix, float)
        result = np.zeros((len(label), len(self.bias)))
        if logprobs is None:
            return result
        here = np.flatnonzero((label >= 0) & ~np.isnan(logprobs).all(1))
        away = levelled(logprobs[here]) - np.array(self.centre)
        if matrix.shape[1] < len(matrix):
            result[here] = away * matrix[:, 0] + np.array(self.bias)
            return result
        added = np.zeros(away.shape) + np.array(self.bias)
        for said, column in zip(away.T, matrix.T, strict=True):  # in this order, for one vote as for many
            added += said[:, None] * column
        result[here] = added
        return result


Calibrator = VoteCurve | DistributionMap


class Design(msgspec.Struct, frozen=True):
    """A link's votes on the pilot as a linear model of its evidence: evidence = inputs @ parameters.

    Args:
        inputs: float64 [n, K, p]; zeros where there is no vote.
        mean: Prior mean of the parameters, [p].
        precision: Prior precision, [p].
        voted: Whether there is a vote, bool [n].
        shape: What `calibrator` needs: knots and scores, or centre and scale.
    """

    inputs: Floats
    mean: Floats
    precision: Floats
    voted: NDArray[np.bool_]
    shape: tuple[Floats, Floats]
    distribution: bool

    def calibrator(self, parameters: Floats) -> Calibrator:
        """Return fitted parameters as data that can be written down; rounded, so that what is written is what runs."""
        labels = self.inputs.shape[1]
        first = 1 if self.distribution else 2
        own, mixed = parameters[first : first + labels], parameters[first + labels :]
        square = mixed.reshape(labels, labels) if len(mixed) else None
        if not self.distribution:
            knots, scores = self.shape
            table = own[:, None] if square is None else (square + np.diag(own)).T
            return VoteCurve(
                round(float(parameters[0]), DIGITS),
                round(float(parameters[1]), DIGITS),
                tuple(knots.tolist()),
                _rounded(scores),
                _rounded_rows(table),
            )
        centre, scale = self.shape
        steep = np.full(labels, parameters[0])
        matrix = steep[:, None] if square is None else square + np.diag(steep)
        return DistributionMap(_rounded(centre), _rounded_rows(matrix / float(scale[0])), _rounded(own))


def design_of(label: NDArray[np.int16], confidence: Floats, logprobs: Floats | None, labels: int) -> Design:
    """Return the linear model of one link's votes on the pilot.

    Args:
        label: Label index of each vote, -1 for none, int16 [n].
        confidence: NaN where there is none, [n].
        logprobs: Natural-log probabilities of all labels, NaN where unknown, [n, K]; None where the link gives none.
        labels: Number of labels, K.
    """
    voted = label >= 0
    if logprobs is not None and voted.any():
        full = voted & ~np.isnan(logprobs).all(1)
        if full.sum() >= 0.9 * voted.sum():
            return _distribution_design(full, logprobs, labels)
    return _vote_design(voted, label, confidence, labels)


def _vote_design(
    voted: NDArray[np.bool_], label: NDArray[np.int16], confidence: Floats, labels: int
) -> Design:
    knots, scores = _knots(confidence[voted])
    here = np.flatnonzero(voted)
    said = label[here]
    square = labels * labels if labels <= MOST_MIXED else 0
    inputs = np.zeros((len(label), labels, 2 + labels + square))
    inputs[here, said, 0] = 1
    inputs[here, said, 1] = normal_score(knots, scores, confidence[here])
    inputs[here, said, 2 + said] = 1
    if square:
        for k in range(labels):
            inputs[here, k, 2 + labels + k * labels + said] = 1
    spread = np.r_[LEVEL[1], SLOPE[1], np.full(labels, OWN_LABEL), np.full(square, OTHER_LABEL)]
    mean = np.r_[LEVEL[0], SLOPE[0], np.zeros(labels + square)]
    return Design(inputs, mean, spread**-2.0, voted, (knots, scores), distribution=False)


def _distribution_design(full: NDArray[np.bool_], logprobs: Floats, labels: int) -> Design:
    level = np.zeros(logprobs.shape)
    level[full] = levelled(logprobs[full])
    centre = np.round(level[full].mean(0), DIGITS)
    away = np.where(full[:, None], level - centre, 0.0)
    scale = max(float(away[full].std()), 1e-6)
    away /= scale
    square = labels * labels if labels <= MOST_MIXED else 0
    inputs = np.zeros((len(level), labels, 1 + labels + square))
    inputs[:, :, 0] = away
    for k in range(labels):
        inputs[full, k, 1 + k] = 1
        if square:
            inputs[:, k, 1 + labels + k * labels : 1 + labels + (k + 1) * labels] = away
    spread = np.r_[TEMPERATURE[1], np.full(labels, OWN_LABEL), np.full(square, OTHER_LABEL)]
    mean = np.r_[TEMPERATURE[0], np.zeros(labels + square)]
    return Design(inputs, mean, spread**-2.0, full, (centre, np.array([scale])), distribution=True)


def fit_evidence(
    design: Design, gold: NDArray[np.int16], log_prior: Floats, rows: NDArray[np.int64]
) -> Floats:
    """Return the most probable parameters of a link given gold on some rows: ridge-penalised multinomial logit, [p].

    Args:
        design: From `design_of`.
        gold: Label index of the truth, int16 [n].
        log_prior: Natural-log share of each label, [K].
        rows: The items to learn from; those without a vote say nothing.
    """
    rows = rows[design.voted[rows]]
    inputs = design.inputs[rows]
    n, labels, p = inputs.shape
    flat, at, truth = inputs.reshape(n * labels, p), np.arange(n), gold[rows]
    parameters = design.mean.copy()

    def scored(value: Floats) -> tuple[float, Floats]:
        logs = log_softmax(log_prior + (flat @ value).reshape(n, labels))
        loss = logs[at, truth].sum() - 0.5 * (design.precision * (value - design.mean) ** 2).sum()
        return float(loss), np.exp(logs)

    reached, chances = scored(parameters)
    for _ in range(NEWTON_STEPS):
        surprise = -chances
        surprise[at, truth] += 1
        slope = flat.T @ surprise.ravel() - design.precision * (parameters - design.mean)
        weighted = flat * chances.reshape(-1, 1)
        mean = weighted.reshape(n, labels, p).sum(1)
        curvature = weighted.T @ flat - mean.T @ mean + np.diag(design.precision)
        step = np.linalg.solve(curvature, slope)
        while True:  # the curve is concave: some shorter step always gains
            gained, chances = scored(parameters + step)
            if gained >= reached or np.abs(step).max() < 1e-6:
                break
            step /= 2
        parameters, reached = parameters + step, gained
        if np.abs(step).max() < 1e-5:
            break
    return parameters


def log_softmax(scores: Floats) -> Floats:
    """Return scores over the last axis as natural-log probabilities."""
    scores = scores - scores.max(-1, keepdims=True)
    result: Floats = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return result


def levelled(logprobs: Floats) -> Floats:
    """Return log-probabilities less their mean over the labels; those unknown count as the lowest known, [n, K]."""
    known = np.where(np.isnan(logprobs), np.nanmin(logprobs, 1, keepdims=True), logprobs)
    known = np.maximum(known, known.max(1, keepdims=True) - DEEPEST)
    result: Floats = known - known.mean(1, keepdims=True)
    return result


def normal_score(
    knots: Sequence[float] | Floats, scores: Sequence[float] | Floats, confidence: Floats
) -> Floats:
    """Return where confidences stand among the pilot's, as standard normal deviates; 0 where there is none."""
    if not len(knots):
        return np.zeros(len(confidence))
    found = np.interp(np.nan_to_num(confidence), knots, scores)
    return np.where(np.isnan(confidence), 0.0, found)


def _knots(confidence: Floats) -> tuple[Floats, Floats]:
    """Return distinct confidences and the normal scores of their middle ranks, at most 64."""
    values = np.sort(confidence[np.isfinite(confidence)])
    knots, first = np.unique(values, return_index=True)
    if len(knots) < 2:
        return np.zeros(0), np.zeros(0)
    middle = (first + np.append(first[1:], len(values)) + 1) / 2 / (len(values) + 1)
    if len(knots) > MOST_KNOTS:
        kept = np.unique(np.linspace(0, len(knots) - 1, MOST_KNOTS).round().astype(int))
        knots, middle = knots[kept], middle[kept]
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(rank) for rank in middle])
    return knots, np.round(np.clip(scores, -FURTHEST, FURTHEST), DIGITS)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(np.round(values, DIGITS).tolist())


def _rounded_rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(_rounded(row) for row in values)
