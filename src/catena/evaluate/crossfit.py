"""What every set of links would say about every pilot item, learned without that item.

The pilot is cut into five parts; calibrators, discounts and weights are learned on four and applied to the fifth. So a
posterior here is honest: its item had no say in it. What is kept for use later is learned on the whole pilot.

Where one link's votes stand for gold, nothing is learned of that link: it is right by definition, so whatever reaches it
is right, and it has no say in what other links' votes are worth.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.calibrated import Calibrated
from catena.confidence.calibrate import Design, VoteCurve, design_of, fit_evidence, log_softmax
from catena.confidence.pool import fit_discount, fit_weights, posterior, said
from catena.evaluate.pilot import Sample, take

__all__ = ["CrossFit", "Judged", "Links"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Links = tuple[int, ...]

PARTS = 5
MOST_SETS = 200  # of links, that one discount is learned from
DIGITS = 6
CERTAIN = 50.0  # nats: more than all other links together can say


@dataclass(frozen=True)
class Judged:
    """What one set of links, or one link's own word, says about each pilot item.

    Args:
        label: Label index, -1 for none, int16 [n].
        soft: Probability of that label by these links' votes, learned without the item, [n].
        fair: Its probability by the votes of all links, likewise, [n].
        hard: Whether it is right, as 0 or 1, [n].
    """

    label: NDArray[np.int16]
    soft: Floats
    fair: Floats
    hard: Floats


class CrossFit:
    """Every set of links on a pilot.

    Args:
        pilot: Votes, with gold on every item.
        most: Links in the sets that all are looked at; what larger ones say is learned when it is asked for.
        certain: The link whose votes are the gold, if one's are.
        part: How the pilot is cut, where it is cut already, [n].
    """

    def __init__(
        self, pilot: Sample, most: int, certain: int | None = None, part: NDArray[np.int64] | None = None
    ) -> None:
        votes = pilot.votes
        self._pilot, self.most, self.certain = pilot, min(most, len(votes.links)), certain
        self.gold, self.labels = votes.gold, len(votes.labels)
        words = pilot.logprobs
        self.designs: list[Design] = [
            design_of(
                votes.label[j],
                votes.confidence[j],
                None if words is None else words[j].astype(float),
                self.labels,
            )
            for j in range(len(votes.links))
        ]
        place = np.argsort(np.argsort(pilot.tie, kind="stable"), kind="stable")
        self._part = place % PARTS if part is None else part
        self._words: dict[Links, Judged] = {}

    def part(self, links: list[int], rows: NDArray[np.int64]) -> "CrossFit":
        """Return the same for some links and some rows only."""
        pilot = self._pilot
        names = [pilot.votes.links[j] for j in links]
        words = None if pilot.logprobs is None else pilot.logprobs[links]
        certain = links.index(self.certain) if self.certain in links else None
        some = take(pilot.votes.chain(names), words, rows, pilot.tie)
        return CrossFit(some, len(links), certain, self._part[rows])

    @cached_property
    def _learned(self) -> list[int]:
        """The links that something is learned of."""
        return [j for j in range(len(self.designs)) if j != self.certain]

    def word(self, links: Links) -> Judged:
        """Return what a set of links says, in whatever order they are, learned without the item."""
        chosen = tuple(sorted(links))
        if chosen not in self._words:
            certain = self.certain in chosen
            self._words[chosen] = (
                self._right if certain else self._judge(*self._said(list(chosen)), self._everyone)
            )
        return self._words[chosen]

    @cached_property
    def alone(self) -> list[Judged]:
        """What each link's own label is worth, [m]."""
        own, label = np.zeros((len(self.designs), len(self.gold))), self._pilot.votes.label
        for here, _, log_prior, evidence, _ in self._parts:
            for j in self._learned:
                chances = np.exp(log_softmax(log_prior + evidence[j, here]))
                own[j, here] = picked(chances, label[j, here])
        return [
            self._right if j == self.certain else self._judge(label[j], own[j], self._everyone)
            for j in range(len(self.designs))
        ]

    def rule(self, chain: Links, *, named_only: bool = False) -> Calibrated:
        """Return the rule of a chain of these links in this order, learned on the whole pilot."""
        parameters, log_prior, evidence, discounts = self._whole
        names = self._pilot.votes.links
        weights: list[tuple[float, ...]] = []
        for seen in range(1, len(chain) + 1):
            if chain[seen - 1] == self.certain:
                weights.append((*(weights[-1] if weights else ()), 1.0))
                continue
            so_far = list(chain[:seen])
            discount = self._discount(seen, log_prior, evidence, self.gold, discounts)
            found = fit_weights(log_prior, evidence[so_far], self.gold, discount)
            weights.append(tuple(np.round(found, DIGITS).tolist()))
        right = VoteCurve(CERTAIN, 0.0, (), (), ((0.0,),) * self.labels)
        return Calibrated(
            log_prior=tuple(np.round(log_prior, DIGITS).tolist()),
            links={
                names[j]: right if j == self.certain else self.designs[j].calibrator(parameters[j])
                for j in chain
            },
            weights=tuple(weights),
            named_only=named_only,
        )

    @cached_property
    def _whole(self) -> tuple[list[Floats], Floats, Floats, dict[int, float]]:
        return self._learn(np.arange(len(self.gold)))

    @cached_property
    def _parts(self) -> list[tuple[Rows, Rows, Floats, Floats, dict[int, float]]]:
        """Each part of the pilot and the rest of it, with what is learned there: log-prior, evidence and discounts."""
        cut = [
            (np.flatnonzero(self._part == part), np.flatnonzero(self._part != part)) for part in range(PARTS)
        ]
        return [(here, rest, *self._learn(rest)[1:]) for here, rest in cut]

    @cached_property
    def _right(self) -> Judged:
        """The word of whatever is right by definition."""
        ones = np.ones(len(self.gold))
        return Judged(self.gold, ones, ones, ones)

    @cached_property
    def _everyone(self) -> Floats:
        """The posterior of each item by the votes of all links that something is learned of, [n, K]."""
        everyone, links = np.zeros((len(self.gold), self.labels)), self._learned
        for here, rest, log_prior, evidence, _ in self._parts if links else []:
            together = fit_discount(log_prior, evidence[links][:, rest].sum(0)[None], self.gold[rest])
            everyone[here] = self._chances(links, here, rest, log_prior, evidence, together)
        return everyone

    def _said(self, chosen: list[int]) -> tuple[NDArray[np.int16], Floats]:
        """Return what a set of links says of each item, and the posterior of that, [n]."""
        votes, n = self._pilot.votes, len(self.gold)
        label, soft = np.full(n, -1, np.int16), np.zeros(n)
        free = any(self.designs[j].distribution for j in chosen)
        for here, rest, log_prior, evidence, discounts in self._parts:
            discount = self._discount(len(chosen), log_prior, evidence[:, rest], self.gold[rest], discounts)
            chances = self._chances(chosen, here, rest, log_prior, evidence, discount)
            label[here], soft[here] = said(chances, votes.label[chosen][:, here], free=free)
        return label, soft

    def _chances(
        self,
        chosen: list[int],
        here: NDArray[np.int64],
        rest: NDArray[np.int64],
        log_prior: Floats,
        evidence: Floats,
        discount: float,
    ) -> Floats:
        """Return the posterior of some items by a set of links whose weights are learned on the rest."""
        weights = fit_weights(log_prior, evidence[chosen][:, rest], self.gold[rest], discount)
        return posterior(log_prior, evidence[chosen][:, here], weights)

    def _judge(self, label: NDArray[np.int16], soft: Floats, everyone: Floats) -> Judged:
        return Judged(label, soft, picked(everyone, label), (label == self.gold).astype(float))

    def _learn(self, rows: NDArray[np.int64]) -> tuple[list[Floats], Floats, Floats, dict[int, float]]:
        """Return parameters of each link, the log-prior, the evidence of all items, and the discount by size."""
        gold = self.gold[rows]
        share = (np.bincount(gold, minlength=self.labels) + 1) / (len(gold) + self.labels)
        log_prior = np.log(share)
        parameters = [
            design.mean if j == self.certain else fit_evidence(design, self.gold, log_prior, rows)
            for j, design in enumerate(self.designs)
        ]
        evidence = np.stack(
            [design.inputs @ found for design, found in zip(self.designs, parameters, strict=True)]
        )
        discounts = {1: 1.0}
        for size in range(2, min(self.most, len(self._learned)) + 1):
            self._discount(size, log_prior, evidence[:, rows], gold, discounts)
        return parameters, log_prior, evidence, discounts

    def _discount(
        self,
        size: int,
        log_prior: Floats,
        evidence: Floats,
        gold: NDArray[np.int16],
        known: dict[int, float],
    ) -> float:
        """Return the discount of sets of so many links, learned when it is first asked for; `known` keeps it."""
        if size not in known:
            sets = list(combinations(self._learned, size))
            some = sets[:: -(-len(sets) // MOST_SETS)]
            summed = np.stack([evidence[list(links)].sum(0) for links in some])
            known[size] = fit_discount(log_prior, summed, gold)
        return known[size]


def picked(chances: Floats, label: NDArray[np.int16]) -> Floats:
    """Return the chance of each item's label, 0 where it has none, [n]."""
    return np.where(label >= 0, chances[np.arange(len(label)), np.maximum(label, 0)], 0.0)
