"""Which chain to take for a budget: every chain of up to three links in every order, replayed on the pilot, and longer ones.

Chains of more than three links are too many to look at all. The best ones at hand get one link more, every other link at every
place (`longer`), and those get another one, as long as each further link gains on halves of the pilot that had no say in it.

The best of thousands of candidates on a few hundred items is partly the luckiest (the winner's curse). Three things keep
luck out. Candidates are scored by their *expected* accuracy, the mean posterior of the labels they give, learned without
the item: by their own votes (*soft*) and by those of all links (*fair*), half and half. It varies far less than counting
hits (*hard*), which corrects it as far as the candidates differ by more than chance explains, and links are judged by each
other and by their prices (`trend`). A chain is taken only where chains chosen on halves of the pilot gain on the other halves
over the best single link that can be paid for (`contest`). And what is promised is lowered by how much such choices overstate
themselves; that of a single link by its luck.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catena.evaluate.candidates import ALL_LOOKED_AT, Candidate, Candidates
from catena.evaluate.contest import MARGIN, Contest, Draw, Halved, draw_of
from catena.evaluate.crossfit import CrossFit, Judged, Links
from catena.evaluate.halves import Halves
from catena.evaluate.luck import boast, wilson
from catena.evaluate.prices import Prices
from catena.routing.spend import follow, foretold

__all__ = ["Found", "Search"]

Floats = NDArray[np.float64]

LENGTHENED = 8  # chains that get another link
HALVES = 24
TRACKING = (0.4, 0.9)  # beyond these, 24 halves were unlucky


@dataclass(frozen=True)
class Found:
    """The candidate taken for a budget, with what it is expected to do.

    Args:
        candidate: The chain and its forwarding.
        value: Expected metric, on items that had no say in the choice.
        accuracy: Expected accuracy, likewise.
        low: Lower end of the 95 % interval of the accuracy on the rest.
        high: Upper end.
        macro_f1: Expected macro-F1, likewise.
        usd: Expected cost per item.
    """

    candidate: Candidate
    value: float
    accuracy: float
    low: float
    high: float
    macro_f1: float
    usd: float


class Search:
    """All candidates over one pilot.

    Args:
        fit: What each set of links says.
        prices: What they charge.
        tie: Settles ties, uint64 [n].
        metric: What is chosen by.
        most: Links in a chain.
    """

    def __init__(
        self,
        fit: CrossFit,
        prices: Prices,
        tie: NDArray[np.uint64],
        metric: str = "accuracy",
        most: int = ALL_LOOKED_AT,
    ) -> None:
        self.fit, self.prices, self._metric, self._most = fit, prices, metric, most
        self._gold, self._tie = fit.gold, tie
        self._means, self._candidates = prices.mean, Candidates(prices, fit.most, fit.certain)
        self._orders: dict[tuple[int, int], tuple[NDArray[np.int64], Floats]] = {}
        links = range(len(self._means))
        self._relative = {
            (a, b): foretold(prices.paid[a], self._means[a], self.follows(a, b)) for a in links for b in links
        }

    def follows(self, first: int, link: int) -> float:
        """Return how far a link's prices follow the first link's."""
        if self.prices.even:
            return 0.0
        return 1.0 if first == link else follow(self.prices.paid[first], self.prices.paid[link])

    def replay(self, candidate: Candidate) -> Judged:
        """Return what a candidate says about the pilot."""
        if candidate.own:
            return self.fit.alone[candidate.links[0]]
        first = candidate.links[0]
        word = self.fit.word((first,))
        if len(candidate.links) == 1:
            return word
        label, soft, fair, hard = word.label.copy(), word.soft.copy(), word.fair.copy(), word.hard.copy()
        here = np.arange(len(soft))
        for seen in range(1, len(candidate.links)):
            before = self.fit.word(candidate.links[:seen]).soft
            price = self._relative[first, candidate.links[seen]]
            if seen == 1:
                order, bill = self._first_order(first, candidate.links[1])
            else:
                order = here[np.lexsort((self._tie[here], before[here], -(1 - before[here]) / price[here]))]
                bill = np.cumsum(price[order])
            cap = candidate.forwarded[seen] * len(soft) * (1 + 1e-9)
            here = order[: int(np.searchsorted(bill, cap, "right"))]
            word = self.fit.word(candidate.links[: seen + 1])
            label[here], soft[here] = word.label[here], word.soft[here]
            fair[here], hard[here] = word.fair[here], word.hard[here]
        return Judged(label, soft, fair, hard)

    def _first_order(self, first: int, second: int) -> tuple[NDArray[np.int64], Floats]:
        if (first, second) not in self._orders:
            sure, price = self.fit.word((first,)).soft, self._relative[first, second]
            order = np.lexsort((self._tie, sure, -(1 - sure) / price))
            self._orders[first, second] = order, np.cumsum(price[order])
        return self._orders[first, second]

    def best(self, each: float) -> Found | None:
        """Return the candidate to take for `each` USD per item; None where no link can be paid for."""
        candidates = self._candidates.within(each)
        if not candidates:
            return None
        said = [self.replay(candidate) for candidate in candidates]
        contests = self._contests(each, candidates, said)
        contest = contests[-1]
        if self._metric == "accuracy":
            at = contest.taken()
        else:
            scores = self._scores(contest, said)
            chain, single = contest.finalists(scores)
            enough = scores[chain] - scores[single] > MARGIN / np.sqrt(len(self._gold))
            at = chain if enough else single
        if candidates[at].own and self.fit.certain is None:
            return self._describe(candidates[at], said[at], self._luck(said[at]))
        # What is made of the best has their luck in it, on all halves: growing makes no choice more modest.
        overstated = max(one.overstated(lambda at: self._halved(candidates[at])) for one in contests)
        return self._describe(candidates[at], said[at], overstated + boast(said[at].soft, said[at].hard) / 2)

    def _luck(self, said: Judged) -> float:
        """Return by how much a single link overstates itself: its luck, as the other links and the prices show it."""
        probably = float((said.hard * (1 + self._draw.luck)).mean())
        return float((said.soft.mean() + said.hard.mean()) / 2) - probably

    def _contests(self, each: float, candidates: list[Candidate], said: list[Judged]) -> list[Contest]:
        """Add longer chains to the candidates, as long as one link more gains; return their contests, that of all comes last."""
        contest = self._contest(candidates, said)
        found = [contest]
        for size in range(self.fit.most + 1, min(self._most, len(self._means)) + 1):
            best = self._leading(candidates, self._scores(contest, said))
            grown = [candidates[at] for at in best if len(candidates[at].links) == size - 1]
            more = list(dict.fromkeys(one for chain in grown for one in self._candidates.longer(chain, each)))
            told = [self.replay(candidate) for candidate in more]
            trial = self._contest([candidates[at] for at in best] + more, [said[at] for at in best] + told)
            if not trial.gains(np.arange(len(best) + len(more)) >= len(best)):
                break
            candidates += more
            said += told
            contest = self._contest(candidates, said)
            found = [found[0], contest]
        return found

    def _contest(self, candidates: list[Candidate], said: list[Judged]) -> Contest:
        return Contest(said, np.array([candidate.own for candidate in candidates]), self._draw)

    def _scores(self, contest: Contest, said: list[Judged]) -> Floats:
        if self._metric == "accuracy":
            return contest.scores
        return np.array([self._macro_f1(each) for each in said])

    def _leading(self, candidates: list[Candidate], scores: Floats) -> list[int]:
        """Return the best chains, one candidate of each."""
        found: dict[Links, int] = {}
        for at in np.argsort(-scores, kind="stable").tolist():
            if not candidates[at].own:
                found.setdefault(candidates[at].links, at)
            if len(found) == LENGTHENED:
                break
        return list(found.values())

    def _halved(self, candidate: Candidate) -> Halved:
        """Return what a candidate does on each half of the pilot, within the half's own budget."""
        if candidate.own:
            return self._halves.alone(candidate.links[0])
        return self._halves.chain(candidate.links, candidate.forwarded)

    def _describe(self, candidate: Candidate, said: Judged, overstated: float) -> Found:
        sure = float((said.soft == 1).mean()) if self.fit.certain in candidate.links else 0.0
        accuracy = float(np.clip((said.soft.mean() + said.hard.mean()) / 2 - overstated, sure, 1.0))
        if self.fit.certain == candidate.links[0]:
            accuracy = 1.0
        low, high = self._interval(accuracy, sure, self._tracking if len(candidate.links) > 1 else 1.0)
        macro_f1 = max(0.0, self._macro_f1(said) - overstated)
        usd = sum(f * self._means[j] for f, j in zip(candidate.forwarded, candidate.links, strict=True))
        value = accuracy if self._metric == "accuracy" else macro_f1
        return Found(candidate, value, accuracy, low, high, macro_f1, float(usd))

    def _interval(self, accuracy: float, sure: float, tracking: float) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy on the rest.

        It has the width of a count on as many items as the estimate varies like, and holds the chance of the rest too.

        Args:
            accuracy: What is expected.
            sure: Share of the items that are right by definition.
            tracking: How much the estimate varies, against counting hits.
        """
        if sure >= 1:
            return 1.0, 1.0
        items = (1 - sure) / (tracking / len(self._gold) + 1 / max(self.prices.rest, 1))
        low, high = wilson((accuracy - sure) / (1 - sure), items)
        return sure + (1 - sure) * low, sure + (1 - sure) * high

    @cached_property
    def _draw(self) -> Draw:
        """How items count. Links are judged by each other, unless one of them is right by definition."""
        if self.fit.certain is not None:
            return draw_of(self._tie)
        return draw_of(self._tie, np.array([alone.hard for alone in self.fit.alone]), self._means)

    @cached_property
    def _halves(self) -> Halves:
        return Halves(self.fit, self._relative, self._tie, self._draw)

    @cached_property
    def _tracking(self) -> float:
        """How much a chain's estimate varies from pilot to pilot, against counting hits.

        Calibration learns its level from the same gold that is counted, so averaging posteriors steadies an estimate by
        far less than their own spread suggests, and that of a single link not at all: its posteriors add up to its hits.
        Measured on the best chain for the dearest link's money: its estimate is made anew on random halves of the pilot,
        which vary among each other as whole pilots would.
        """
        chains = [each for each in self._candidates.within(float(self._means.max())) if len(each.links) > 1]
        if not chains:
            return 1.0
        said = [self.replay(chain) for chain in chains]
        at = int(np.argmax([one.soft.mean() + one.hard.mean() for one in said]))
        counted = float(said[at].hard.var()) / len(self._gold)
        if counted <= 0:
            return 1.0
        again = [self._again(chains[at], rows) for rows in self._parts()]
        return float(np.clip(np.var(again, ddof=1) / counted, *TRACKING))

    def _parts(self) -> list[NDArray[np.int64]]:
        n = len(self._gold)
        generator = np.random.Generator(np.random.PCG64([int(part) for part in np.sort(self._tie)[:4]]))
        return [np.sort(generator.permutation(n)[: n // 2]) for _ in range(HALVES)]

    def _again(self, candidate: Candidate, rows: NDArray[np.int64]) -> float:
        """Return the estimate of a candidate's accuracy from some rows of the pilot only."""
        links = list(candidate.links)
        fit = self.fit.part(links, rows)
        reference = None if self.prices.reference not in links else links.index(self.prices.reference)
        prices = Prices(self.prices.paid[links][:, rows], reference, self.prices.rest)
        small = Candidate(tuple(range(len(links))), candidate.forwarded, candidate.own)
        said = Search(fit, prices, self._tie[rows]).replay(small)
        return float((said.soft.mean() + said.hard.mean()) / 2)

    def _macro_f1(self, said: Judged) -> float:
        """Return macro-F1, the mean of counting hits and of summing their probabilities."""
        gold, labels = self._gold, self.fit.labels
        given = np.bincount(said.label[said.label >= 0], minlength=labels)
        support = np.bincount(gold, minlength=labels)
        known = said.label >= 0
        hits = [
            np.bincount(said.label[known], weights=worth[known], minlength=labels)
            for worth in (said.soft, said.hard)
        ]
        both = (hits[0] + hits[1]) / 2
        f1 = 2 * both / np.maximum(given + support, 1)
        return float(f1[support > 0].mean())
