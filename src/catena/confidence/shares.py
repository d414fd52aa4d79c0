"""From the labels of several answers to one question to a label and its confidence (self-consistency, arXiv 2203.11171)."""

from collections import Counter
from collections.abc import Sequence
from math import log

import msgspec

__all__ = ["Shares", "score_shares"]

PRIOR = 1.0
"""What is known before any sample weighs as much as one of them, spread evenly over the labels (Perks 1947)."""


class Shares(msgspec.Struct, frozen=True, gc=False):
    """What samples say of all labels, in the task's order.

    Args:
        logprobs: Natural log of each label's smoothed share: the posterior mean of how often the model names it.
        best: Index of the label named most often; of several, the one that was named first.
        margin: `logprobs[best]` minus the second largest, in nats; 0 where two were named equally often.
    """

    logprobs: tuple[float, ...]
    best: int
    margin: float


def score_shares(named: Sequence[int], labels: int) -> Shares:
    """Return the shares of the labels among samples: (times named + 1/labels) / (samples + 1).

    The smoothing keeps a few equal samples from looking like certainty: of two labels, one that 5 of 5 name has 11/12.
    Samples are alike, so that "named first" favours no label.

    Args:
        named: The index of each sample's label, in the order of the samples; at least one.
        labels: How many labels there are; at least two.
    """
    times = Counter(named)
    (best, _), *_ = times.most_common(1)  # equal counts stay in the order in which they were first met
    total = len(named) + PRIOR
    logprobs = tuple(log((times[index] + PRIOR / labels) / total) for index in range(labels))
    second = max(logprobs[:best] + logprobs[best + 1 :])
    return Shares(logprobs, best, logprobs[best] - second)
