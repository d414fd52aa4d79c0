"""Forward the items on which money does most, within a cap: for links whose calls differ in price from item to item.

An item's place is its doubt (1 - posterior) per expected dollar at the next link. What the next link will charge is
foretold from what the first one charged for the same item: both follow the length of the text. Votes are bought in
that order, step by step; before each step, what was really spent so far is known, so the cap holds although prices are
only foretold. Large sets go block by block in input order, each with what the blocks before it have left. Everything
follows from votes, seed, plan and input order, never from timing.
"""

from collections.abc import Generator, Mapping, Sequence
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Spend", "allotted", "buying", "doubt_first", "follow", "foretold", "spending"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Buying = Generator[Rows, Floats, float]

BLOCK = 16_384  # items that are ranked together
STEPS = 8  # at least, to buy all items that reach a link; each is one more wait for a whole step of calls
FEWER = 4  # in all blocks but the last, whose rests are carried on
REST = 0.01  # of the items that reach a link: what is left to the next block rather than bought one by one
CHEAPEST = 0.05  # of the mean: no call is foretold to cost less


class Spend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a chain may spend, and what its links' calls are expected to cost.

    Args:
        usd: Mean cost of a vote on the pilot, by link.
        follows: How far each link's cost follows the first link's: 1 in proportion, 0 not at all.
        usd_per_item: The cap in USD per item; or
        times: The cap as a multiple of what
        of: this link is foretold to cost alone on the same items.
    """

    usd: Mapping[str, float]
    follows: Mapping[str, float]
    usd_per_item: float | None = None
    times: float | None = None
    of: str | None = None

    def price(self, link: str, first: str, paid: Floats) -> Floats:
        """Return what a link is foretold to charge for items for which the first link charged `paid`, USD [n]."""
        return self.usd[link] * foretold(paid, self.usd[first], self.follows[link])

    def cap(self, first: str, paid: Floats) -> float:
        """Return the cap in USD for all items together, given what the first link charged for each."""
        if self.of is not None and self.times is not None:
            return self.times * float(self.price(self.of, first, paid).sum())
        return (self.usd_per_item or 0.0) * len(paid)


def foretold(paid: Floats, mean: float, follows: float) -> Floats:
    """Return the relative price of each item, 1 on average, from what another link charged for it, [n].

    Where that link charged nothing, as for a vote that is missing, nothing is known: the price is the mean.
    """
    if mean <= 0 or not follows:
        return np.ones(len(paid))
    return np.where(paid > 0, np.maximum(1 + follows * (paid / mean - 1), CHEAPEST), 1.0)


def follow(paid: Floats, price: Floats) -> float:
    """Return how far a link's price follows what another charged: the slope between the two, each over its mean."""
    if paid.mean() <= 0 or price.mean() <= 0:
        return 0.0
    x, y = paid / paid.mean() - 1, price / price.mean() - 1
    spread = float(x @ x)
    return float(np.clip((x @ y) / spread, 0.0, 2.0)) if spread > 1e-9 * len(x) else 0.0


def doubt_first(sure: Floats, price: Floats, tie: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return item indices by doubt per dollar, the most first; ties by the hash, then the least sure."""
    order: NDArray[np.int64] = np.lexsort((tie, sure, -(1 - sure) / price))
    return order


def buying(order: Rows, price: Floats, cap: float, steps: int = STEPS, rest: float = 0.0) -> Buying:
    """Yield the items to buy, step by step; is sent what each step really cost, [step], and returns the sum, USD.

    Each step buys an eighth of the items or half of what the rest of the cap is foretold to pay for, whichever is less, and
    at least one item. So steps shrink to single items towards the cap, and what was foretold wrongly costs little.

    Args:
        order: Item indices, first things first.
        price: Foretold USD of each item, indexed as the items are.
        cap: USD.
        steps: Into how many steps all items are cut, at least.
        rest: Stop where the cap is foretold to pay for no more than this share of the items.
    """
    bill = np.concatenate([[0.0], np.cumsum(price[order])])
    bought, spent = 0, 0.0
    while bought < len(order):
        ends = bill[bought] + (cap - spent) * (1 + 1e-9)
        fits = int(np.searchsorted(bill, ends, "right")) - 1 - bought
        if fits <= rest * len(order) and (fits <= 0 or bought + fits < len(order)):
            break
        step = order[bought : bought + min(-(-fits // 2), -(-len(order) // steps))]
        spent += float((yield step).sum())
        bought += len(step)
    return spent


def allotted(cap: float, planned: Sequence[float]) -> float:
    """Return the part of what is left that goes to the next link: as planned spending divides."""
    return cap * planned[0] / sum(planned) if sum(planned) > 0 else 0.0


def spending(
    spend: Spend,
    chain: Sequence[str],
    shares: Sequence[Fraction],
    tie: NDArray[np.uint64],
    block: int = BLOCK,
) -> Generator[tuple[int, Rows], tuple[Floats, Floats], None]:
    """Yield (link, rows) whose votes of that link are wanted; is sent where these stand now and what they cost, USD.

    Each block of items in input order goes through the whole chain before the next one begins, with what is left.

    Args:
        spend: The cap, and what votes are foretold to cost.
        chain: Names of the links in order.
        shares: What each link keeps, in terms of planned spending.
        tie: Settles ties, uint64 [n].
        block: Items that are ranked together.
    """
    planned = [float(sum(shares[j:])) * spend.usd[name] for j, name in enumerate(chain)]
    left = 0.0
    for start in range(0, len(tie), block):
        rows = np.arange(start, min(start + block, len(tie)))
        steps, rest = (STEPS, 0.0) if rows[-1] == len(tie) - 1 else (FEWER, REST)
        sure, first = yield 0, rows
        left += spend.cap(chain[0], first) - float(first.sum())
        for j, name in enumerate(chain[1:], 1):
            price = spend.price(name, chain[0], first)
            order = doubt_first(sure, price, tie[rows])
            buyer = buying(order, price, allotted(max(left, 0.0), planned[j:]), steps, rest)
            bought, stands, sent = [np.zeros(0, np.int64)], [np.zeros(0)], None
            try:
                while True:
                    step = next(buyer) if sent is None else buyer.send(sent)
                    value, sent = yield j, rows[step]
                    bought.append(step)
                    stands.append(value)
            except StopIteration as end:
                left -= end.value
            at = np.concatenate(bought)
            inorder = np.argsort(at)
            rows, first, sure = rows[at[inorder]], first[at[inorder]], np.concatenate(stands)[inorder]
