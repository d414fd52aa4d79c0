"""From votes to a decision: which links each item reached, and whose vote is its label.

The engine and the simulator both call this, so a replay of a run's votes gives its labels bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.calibrated import Calibrated
from catena.aggregate.judge import Judge
from catena.aggregate.last import last
from catena.aggregate.minmax import minmax, scaled
from catena.aggregate.rank import normalised_ranks, rank
from catena.aggregate.votes import Votes
from catena.routing import exact_shares, least_first, quotas, route_by_share
from catena.routing.spend import spending
from catena.routing.threshold import reaches

__all__ = ["RULES", "Decision", "Result", "decide", "decide_by", "decide_so_far"]

RULES = ("rank", "last", "minmax")


ALL = slice(None)


@dataclass(frozen=True)
class Result:
    """One label per item.

    Args:
        source: The link whose label it is, -1 where there is none, int16 [n].
        votes: What it is taken from.
        posterior: Under `calibrated` label indices, -1 where there is none, and their probabilities; otherwise None.
    """

    source: NDArray[np.int16]
    votes: Votes
    posterior: tuple[NDArray[np.int16], NDArray[np.float64]] | None = None

    def label(self, rows: slice = ALL) -> NDArray[np.int16]:
        """Return the label index of some rows, -1 where there is none."""
        if self.posterior:
            return self.posterior[0][rows]
        return np.where(self.source[rows] >= 0, self.votes.label[self._taken(rows)], -1).astype(np.int16)

    def confidence(self, rows: slice = ALL) -> NDArray[np.float64]:
        """Return the confidence of the vote that each label is, or its posterior probability; NaN where there is none."""
        if self.posterior:
            return self.posterior[1][rows]
        taken: NDArray[np.float64] = self.votes.confidence[self._taken(rows)]
        return np.where(self.source[rows] >= 0, taken, np.nan)

    def _taken(self, rows: slice) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        at = np.arange(*rows.indices(len(self.source)))
        return np.maximum(self.source[rows], 0), at


@dataclass(frozen=True)
class Decision:
    """What a chain of m links decided about n items.

    Args:
        kept_by: Index of the link that kept each item, int16 [n].
        reached: Whether each item reached each link, bool [m, n].
        seen: Whether it reached the link and has a label there, bool [m, n].
        confidence: As given, float64 [m, n].
        tie: Settles ties, uint64 [n].
        given: Each link's items from least to most sure, [m, n], where that is at hand.
    """

    kept_by: NDArray[np.int16]
    reached: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    tie: NDArray[np.uint64]
    given: NDArray[np.int32] | None = None

    @cached_property
    def last(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `last`; -1 for none, int16 [n]."""
        return last(self.seen)

    @cached_property
    def rank(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `rank`; -1 for none, int16 [n]."""
        order = least_first(self.seen, self.confidence, self.tie) if self.given is None else self.given
        return rank(normalised_ranks(self.seen, self.confidence, order))

    @cached_property
    def minmax(self) -> NDArray[np.int16]:
        """Whose vote each item takes under `minmax`; -1 for none, int16 [n]."""
        return minmax(scaled(self.seen, self.confidence))

    def source(self, rule: str) -> NDArray[np.int16]:
        """Whose vote each item takes under the named rule, one of RULES."""
        found: NDArray[np.int16] = getattr(self, rule)
        return found

    def labels(self, rule: str, label: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the label index of each item under `rank` or `last`, -1 where it has none, int16 [n]."""
        source = self.source(rule)
        taken = label[np.maximum(source, 0), np.arange(label.shape[1])]
        return np.where(source >= 0, taken, -1).astype(np.int16)

    def result(self, aggregate: str, votes: Votes, judge: Judge) -> Result:
        """Return the labels under an aggregate."""
        if aggregate == "calibrated" and judge.rule is not None:
            return _calibrated(self, judge.rule, judge.chain, votes)
        return Result(self.source(aggregate), votes)


def _calibrated(decision: Decision, rule: Calibrated, chain: Sequence[str], votes: Votes) -> Result:
    """Return the most probable label of each item by the votes that it has got; its source is the latest that named it.

    Where no link named it, the source is the link that kept the item.
    """
    n = len(decision.kept_by)
    label, sure, source = np.full(n, -1, np.int16), np.full(n, np.nan), np.full(n, -1, np.int16)
    for at in range(len(decision.reached)):
        rows = np.flatnonzero(decision.kept_by == at)
        if len(rows):
            label[rows], chance = rule.judge(chain, votes.so_far(at + 1, rows))
            sure[rows] = np.where(label[rows] >= 0, chance, np.nan)
    for at, seen in enumerate(decision.seen):
        source[seen & (votes.label[at] == label)] = at
    unnamed = (source < 0) & (label >= 0)
    source[unnamed] = decision.kept_by[unnamed]
    return Result(source, votes, (label, sure))


def decide(
    voted: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    shares: Sequence[Fraction],
    tie: NDArray[np.uint64],
    order: NDArray[np.int32] | None = None,
) -> Decision:
    """Route every item through the chain by fixed shares, ranked by each link's own confidence.

    Args:
        voted: Whether each link has a label for each item, bool [m, n]. Only votes that an item reaches are looked at.
        confidence: NaN where there is none, float64 [m, n].
        shares: One exact share per link.
        tie: Settles ties, uint64 [n] (see `routing.ties`).
        order: `routing.least_first` of the same votes, where it is at hand already.
    """
    if order is None:
        order = least_first(voted, confidence, tie)
    kept_by = route_by_share(order, shares)
    reached = kept_by[None, :] >= np.arange(len(voted), dtype=np.int16)[:, None]
    return Decision(kept_by, reached, voted & reached, confidence, tie, order)


def decide_by(judge: Judge, votes: Votes, tie: NDArray[np.uint64]) -> Decision:
    """Route every item through the chain by any policy; only votes that an item reaches are looked at.

    Args:
        judge: The policy, and what it ranks by.
        votes: Of the chain's links; with costs where the policy steers by them, with distributions where its rule reads them.
        tie: Settles ties, uint64 [n].
    """
    policy, voted = judge.policy, votes.label >= 0
    links, n = voted.shape
    if policy.rule == "share" and policy.by_own_confidence and not policy.class_aware:
        return decide(voted, votes.confidence, exact_shares(policy.share, links), tie)
    kept_by = np.zeros(n, np.int16)
    if policy.spend is not None:
        _spend(judge, votes, tie, kept_by)
    else:
        _climb(judge, votes, tie, kept_by)
    reached = kept_by[None, :] >= np.arange(links, dtype=np.int16)[:, None]
    return Decision(kept_by, reached, voted & reached, votes.confidence, tie)


def _climb(judge: Judge, votes: Votes, tie: NDArray[np.uint64], kept_by: NDArray[np.int16]) -> None:
    """Send items from link to link; each link keeps what its policy says."""
    policy, links = judge.policy, len(votes.label)
    counts = quotas(len(tie), exact_shares(policy.share, links)) if policy.rule == "share" else []
    here = np.arange(len(tie))
    for j in range(links - 1):
        kind, value = judge(votes.so_far(j + 1, here))
        if policy.threshold is not None:
            forwarded = ~reaches(kind, value, policy.threshold[j])
        elif policy.agree is not None:
            forwarded = ~reaches(kind, value, policy.agree)
        else:
            order = np.lexsort((tie[here], value, kind))
            forwarded = np.zeros(len(here), bool)
            forwarded[order[: counts[j + 1][0]]] = True
        here = here[forwarded]
        kept_by[here] = j + 1


def _spend(judge: Judge, votes: Votes, tie: NDArray[np.uint64], kept_by: NDArray[np.int16]) -> None:
    """Buy votes as far as a cap goes."""
    policy, chain = judge.policy, judge.chain
    if policy.spend is None or votes.cost_usd is None:
        raise ValueError("a policy that steers by costs needs them")
    paid = np.nan_to_num(votes.cost_usd)
    buyer = spending(policy.spend, chain, exact_shares(policy.share, len(chain)), tie)
    sent = None
    try:
        while True:
            link, rows = next(buyer) if sent is None else buyer.send(sent)
            kept_by[rows] = link
            _, value = judge(votes.so_far(link + 1, rows))
            sent = value, paid[link, rows]
    except StopIteration:
        return


def decide_so_far(
    voted: NDArray[np.bool_],
    recorded: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    tie: NDArray[np.uint64],
) -> Decision:
    """Decide about votes that stop midway: each item has reached the links that have said something about it.

    Args:
        voted: Whether each link has a label for each item, bool [m, n].
        recorded: Whether it has a label or a failure, bool [m, n].
        confidence: NaN where there is none, float64 [m, n].
        tie: Settles ties, uint64 [n].
    """
    latest = np.where(recorded, np.arange(len(voted), dtype=np.int16)[:, None], np.int16(0)).max(axis=0)
    return Decision(latest.astype(np.int16), recorded, voted & recorded, confidence, tie)
