"""`calibrated`: the most probable label given all votes of an item, by calibrators learned on a pilot.

The posterior of an item is known as soon as its votes are there: nothing in it depends on other items. So a policy can
rank by it while votes arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.confidence.calibrate import Calibrator, DistributionMap
from catena.confidence.pool import posterior, said
from catena.routing import quotas
from catena.routing.spend import Spend, allotted, buy_within, doubt_first

__all__ = ["Calibrated", "CalibratedDecision", "decide_calibrated"]

Floats = NDArray[np.float64]


class Calibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the rule has learned, as data that a task file holds.

    Args:
        log_prior: Natural-log share of each label, in the task's order, [K].
        links: What a vote of each link is worth, by name.
        weights: For each number of votes, the weight of each link so far in chain order: [[1.0], [0.6, 0.7], ...].
        named_only: Whether only a label that a link named may win, also where links gave full distributions.
    """

    log_prior: tuple[float, ...]
    links: Mapping[str, Calibrator]
    weights: tuple[tuple[float, ...], ...]
    named_only: bool = False

    def judge(
        self, chain: Sequence[str], label: NDArray[np.int16], evidence: Floats
    ) -> tuple[NDArray[np.int16], Floats]:
        """Return the label of items by their first l votes, -1 without any, and its posterior probability.

        Args:
            chain: Names of all links in order.
            label: The votes, -1 for none, int16 [l, n].
            evidence: Theirs, [l, n, K].
        """
        seen = len(label)
        full = any(isinstance(self.links[name], DistributionMap) for name in chain[:seen])
        return said(
            posterior(np.array(self.log_prior), evidence, self.weights[seen - 1]),
            label,
            free=full and not self.named_only,
        )


@dataclass(frozen=True)
class CalibratedDecision:
    """What a chain decided about n items.

    Args:
        kept_by: Index of the link that kept each item, int16 [n].
        reached: Whether each item reached each link, bool [m, n].
        label: Label index of each item, -1 where no link has a vote, int16 [n].
        confidence: Posterior probability of that label, 0 where there is none, [n].
        source: The latest link that named that label; the one that kept the item where none did; -1 without a label.
    """

    kept_by: NDArray[np.int16]
    reached: NDArray[np.bool_]
    label: NDArray[np.int16]
    confidence: Floats
    source: NDArray[np.int16]


def decide_calibrated(
    rule: Calibrated,
    chain: Sequence[str],
    label: NDArray[np.int16],
    confidence: Floats,
    logprobs: NDArray[np.float32] | None,
    cost_usd: Floats,
    shares: Sequence[Fraction],
    tie: NDArray[np.uint64],
    spend: Spend | None = None,
) -> CalibratedDecision:
    """Route every item through the chain by the posterior of its votes so far, and label it. Only votes that are bought are looked at.

    Args:
        rule: What was learned.
        chain: Names of the links in order.
        label: Label index of each vote, -1 for none, int16 [m, n].
        confidence: NaN where there is none, [m, n].
        logprobs: Natural-log probabilities of the labels, NaN where unknown, [m, n, K]; None where no link gives any.
        cost_usd: What each vote costs, NaN where unknown, [m, n].
        shares: One exact share per link. Without `spend`, counts are exact: see `routing.quotas`.
        tie: Settles ties, uint64 [n].
        spend: A cap that the counts give way to.
    """
    links, n = label.shape
    kept_by, final = np.zeros(n, np.int16), np.full(n, -1, np.int16)
    sure, source = np.zeros(n), np.full(n, -1, np.int16)
    reached = np.zeros((links, n), bool)
    evidence = np.zeros((links, n, len(rule.log_prior)))
    paid = np.nan_to_num(cost_usd)
    counts = quotas(n, shares)
    planned = [float(sum(shares[j:])) * spend.usd[chain[j]] for j in range(links)] if spend else []
    left = 0.0
    here = np.arange(n)
    for j, name in enumerate(chain):
        reached[j, here] = True
        words = None if logprobs is None else logprobs[j, here].astype(float)
        evidence[j, here] = rule.links[name].evidence(label[j, here], confidence[j, here], words)
        final[here], sure[here] = rule.judge(chain, label[: j + 1, here], evidence[: j + 1, here])
        kept_by[here] = j
        if j == links - 1:
            break
        if spend is None:
            order = np.lexsort((tie[here], sure[here]))
            here = np.sort(here[order[: counts[j + 1][0]]])
            continue
        if j == 0:
            left = spend.cap(name, paid[0])
        left -= float(paid[j, here].sum())
        price = spend.price(chain[j + 1], chain[0], paid[0, here])
        order = doubt_first(sure[here], price, tie[here])
        bought = buy_within(order, price, paid[j + 1, here], allotted(max(left, 0.0), planned[j + 1 :]))
        here = np.sort(here[order[:bought]])
    for j in range(links):
        source[reached[j] & (label[j] == final) & (final >= 0)] = j
    unnamed = (source < 0) & (final >= 0)
    source[unnamed] = kept_by[unnamed]
    return CalibratedDecision(kept_by, reached, final, sure, source)
