"""How common each label is: prediction-powered inference from labels on all rows and gold on a random sample of them.

Source: Angelopoulos, Duchi & Zrnic 2023, "PPI++: Efficient Prediction-Powered Inference" (arXiv 2311.01453), the mean with
power tuning. The share of a label among the chain's labels is off by what the chain gets wrong; the sample tells by how
much. The better the labels, the more of the sampling error they take away; useless ones take away nothing.
"""

from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.errors import InputError

__all__ = ["FEWEST", "Estimate", "Share", "class_shares", "powered_mean"]

FEWEST = 20  # with fewer, the normal approximation says little

Floats = NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """A mean and its standard error; `weight` is how far it follows the predictions, 0 to 1 (lambda in the paper)."""

    mean: float
    error: float
    weight: float


class Share(msgspec.Struct, frozen=True):
    """How common a label is.

    Args:
        label: The label.
        share: The estimate.
        low: The interval's lower end.
        high: Its upper end.
        gold_only: What the sample says alone.
        gold_low: The lower end of its interval, made in the same way.
        gold_high: The upper end.
        labelled: Its share among the chain's labels, of all rows.
        weight: How far the estimate follows them, 0 to 1.
    """

    label: str
    share: float
    low: float
    high: float
    gold_only: float
    gold_low: float
    gold_high: float
    labelled: float
    weight: float


def powered_mean(gold: Floats, predicted: Floats, elsewhere: Floats, weight: float | None = None) -> Estimate:
    """Return the mean of gold, helped by predictions (equations 2 and 6 of the paper, for a mean).

    mean(gold) - weight (mean(predicted) - mean(elsewhere)); its variance is that of gold - weight predicted over n, plus
    weight^2 that of the predictions over N.

    Args:
        gold: The truth on the sample, [n].
        predicted: The predictions on the same, [n].
        elsewhere: The predictions on all other rows, [N]; may be empty.
        weight: The best one unless said: cov(gold, predicted) / ((1 + n / N) var(predictions)), within 0 and 1.
    """
    n, others = len(gold), len(elsewhere)
    if not others:
        weight = 0.0
    elif weight is None:
        spread = float(np.concatenate([predicted, elsewhere]).var())
        follows = float(((gold - gold.mean()) * (predicted - predicted.mean())).mean())
        weight = float(np.clip(follows / ((1 + n / others) * spread), 0.0, 1.0)) if spread > 0 else 0.0
    gap = predicted.mean() - elsewhere.mean() if others else 0.0
    variance = (gold - weight * predicted).var() / n
    variance += weight**2 * elsewhere.var() / others if others else 0.0
    return Estimate(float(gold.mean() - weight * gap), float(np.sqrt(variance)), weight)


def class_shares(
    gold: NDArray[np.int16], label: NDArray[np.int16], labels: tuple[str, ...], level: float = 0.95
) -> list[Share]:
    """Return the share of each label among rows like these, with an interval for each.

    Intervals of shares near 0 or 1, or from samples without an error, are too narrow by the normal approximation alone.
    So one false alarm and one miss are added to the sample for each label, as Bonett & Price 2012 (J. Educ. Behav.
    Stat. 37) do for paired shares, which this is where the weight is 1.

    Args:
        gold: Label index of the truth on a random sample, -1 elsewhere, int16 [n].
        label: The chain's labels on all rows, -1 where unlabelled, int16 [n].
        labels: Their names.
        level: Of the intervals, in (0, 1).

    Raises:
        InputError: Fewer than 20 rows have gold, or the level is no share.
    """
    if not 0 < level < 1:
        raise InputError(f"--level {level}: it lies between 0 and 1.", "0.95 is usual.")
    known = gold >= 0
    if known.sum() < FEWEST:
        raise InputError(
            f"{int(known.sum())} rows have gold: too few for an interval.",
            f"Take at least {FEWEST}, at random.",
        )
    times = NormalDist().inv_cdf((1 + level) / 2)
    found = []
    for at, name in enumerate(labels):
        truth = np.append(gold[known] == at, [1, 0]).astype(float)
        here = np.append(label[known] == at, [0, 1]).astype(float)
        rest = (label[~known] == at).astype(float)
        helped, alone = powered_mean(truth, here, rest), powered_mean(truth, here, rest, weight=0.0)
        found.append(
            Share(
                name,
                *_within(helped, times),
                *_within(alone, times),
                labelled=float((label == at).mean()),
                weight=helped.weight,
            )
        )
    return found


def _within(estimate: Estimate, times: float) -> tuple[float, float, float]:
    """Return a share and its interval, all within 0 and 1."""
    mean, half = estimate.mean, times * estimate.error
    low, mid, high = (float(np.clip(each, 0.0, 1.0)) for each in (mean - half, mean, mean + half))
    return mid, low, high
