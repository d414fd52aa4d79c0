"""Which chains a budget can pay for: all of up to three links in every order, and longer ones made of those."""

from dataclasses import dataclass

from catena.evaluate.longer import Links, lengthened, within
from catena.evaluate.prices import SLACK, Prices

__all__ = ["ALL_LOOKED_AT", "Candidate", "Candidates"]

ALL_LOOKED_AT = 3  # links: chains of so many are tried in every order
SPLITS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LEAST_FORWARDED = 0.01


@dataclass(frozen=True)
class Candidate:
    """A chain and how far it forwards.

    Args:
        links: In order.
        forwarded: Spending at each link as a share of what the link would cost on all items; the first is 1.
        own: The single link's own label, instead of the calibrated one.
    """

    links: Links
    forwarded: tuple[float, ...]
    own: bool = False


class Candidates:
    """All that can be paid for.

    Args:
        prices: What links charge.
        most: Links in the chains of which all are looked at, up to three.
        certain: The link that is right by definition, if one is: nothing comes behind it.
    """

    def __init__(self, prices: Prices, most: int, certain: int | None) -> None:
        self._prices, self._most, self._certain = prices, most, certain
        self._means, links = prices.mean, range(len(prices.mean))
        self._least = max(LEAST_FORWARDED, 1 / max(prices.rest, 1))
        self._held_back = [prices.held_back(first) for first in links]
        self._lumps = {(a, b): prices.lump(a, b) for a in links for b in links}

    def within(self, each: float) -> list[Candidate]:
        """Return every chain of up to three links that `each` USD per item can pay for, spending it all where that is possible."""
        cost, found = self._means.tolist(), []
        for a in range(len(cost)):
            if not self._prices.affords(a, each):
                continue
            found.append(Candidate((a,), (1.0,)))
            found.append(Candidate((a,), (1.0,), own=True))
            if a == self._certain:  # nothing is left to ask
                continue
            for b in range(len(cost)):
                left = self._left(each, a, b)
                most = 1.0 if left >= cost[b] else left / max(cost[b], 1e-300)
                if b == a or most < self._least or self._most < 2:
                    continue
                found.append(Candidate((a, b), (1.0, most)))
                if b == self._certain:
                    continue
                found += [chain for c in range(len(cost)) for chain in self._of_three(a, b, c, each)]
        return found

    def _left(self, each: float, first: int, *later: int) -> float:
        """Return what a budget leaves for later links, USD per item."""
        lump = max(self._lumps[first, link] for link in later)
        last = lump / (each * max(self._prices.rest, 1)) if lump > 0 else 0.0
        kept = self._held_back[first] + max(0.0, last - SLACK / 2)
        return each * (1 - kept) - float(self._means[first])

    def _of_three(self, a: int, b: int, c: int, each: float) -> list[Candidate]:
        """Return the ways to divide what is left between the second and the third link."""
        if c in (a, b) or self._most < ALL_LOOKED_AT:
            return []
        cost, left = self._means.tolist(), self._left(each, a, b, c)
        if left < 0:
            return []
        most = 1.0 if left >= cost[b] else left / cost[b]
        if left >= cost[b] + cost[c]:
            return [Candidate((a, b, c), (1.0, 1.0, 1.0))]
        least = left / (cost[b] + cost[c])
        found = []
        for split in SPLITS[:-1]:
            second = least + split * (most - least)
            third = second if cost[c] <= 0 else min(second, (left - second * cost[b]) / cost[c])
            if third >= self._least:
                found.append(Candidate((a, b, c), (1.0, second, third)))
        return found

    def longer(self, chain: Candidate, each: float) -> list[Candidate]:
        """Return the ways to give a chain another link for the same money."""
        cost, found = self._means.tolist(), []
        for link in range(len(cost)):
            if link in chain.links:
                continue
            for links, shape in lengthened(chain.links, chain.forwarded, link):
                left = self._left(each, links[0], *links[1:])
                if left <= 0 or self._certain in links[:-1] or not self._prices.affords(links[0], each):
                    continue
                forwarded = within(shape, [cost[j] for j in links], left)
                if forwarded[-1] >= self._least:
                    found.append(Candidate(links, forwarded))
        return found
