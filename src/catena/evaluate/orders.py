"""Every order of some length at once: orders that begin alike share all that happens before they part.

What is decided is what `aggregate.decide` decides; a test holds the two against each other. But it is worked out link by
link instead of order by order: a first link is met once and not once for each order that it begins, a later one only looks
at the items that reach it, and items that stay behind are counted once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES, ranks_of, scaled_of
from catena.data.votes import VoteTable
from catena.evaluate.tally import Kinds, Tally

__all__ = ["Order", "Orders"]

HIGHEST = {
    "rank": ranks_of,
    "minmax": scaled_of,
}  # rules that take the vote of the highest place; `last` the latest
NOWHERE = -np.inf

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Places = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Order:
    """What came of one order.

    Args:
        links: Rows of the vote table, in order.
        parts: What each received, kept, forwarded, failed, lacked and cost.
        heard: Of each link's votes on what it received, by kind, [kinds] each.
        labelled: By rule, how many items are of each kind, [kinds] each.
        reached: How many items with gold met a link that is right about them.
        right: On how many any of the links is right, met or not.
    """

    links: tuple[int, ...]
    parts: tuple[dict[str, Any], ...]
    heard: tuple[Counts, ...]
    labelled: dict[str, Counts]
    reached: int
    right: int


@dataclass(frozen=True)
class _Begun:
    """The first links of an order and how items stand after them, [n] each; `labelled` counts those that stay behind."""

    links: tuple[int, ...]
    parts: tuple[dict[str, Any], ...]
    heard: tuple[Counts, ...]
    labelled: dict[str, Counts]
    goes_on: Bools
    kind: dict[str, Kinds]
    place: dict[str, Places]
    met: Bools
    right: Bools


class Orders:
    """Walks through all orders of the links of one vote table.

    Args:
        votes: The vote table.
        order: Each link's items from the least to the most sure, [m, n].
        tally: Of the vote table.
        costs: What is known to be paid for each vote, 0 where nothing is, [n] each; None for a link without any.
        keeps: How many items each place of an order keeps.
    """

    def __init__(
        self,
        votes: VoteTable,
        order: NDArray[np.int32],
        tally: Tally,
        costs: Sequence[NDArray[np.float64] | None],
        keeps: Sequence[int],
    ) -> None:
        self._votes, self._order, self._tally = votes, order, tally
        self._costs, self._keeps = costs, keeps
        self._value = np.take_along_axis(votes.confidence, order, 1)
        self._failed = (~votes.voted).sum(1)

    def __iter__(self) -> Iterator[Order]:
        """Yield every order, as `itertools.permutations` does."""
        n = len(self._votes)
        nothing, unlabelled = np.zeros(n, bool), self._tally.kind(-1)
        yield from self._walk(
            _Begun(
                (),
                (),
                (),
                dict.fromkeys(RULES, np.zeros(self._tally.kinds, np.int64)),
                ~nothing,
                dict.fromkeys(RULES, unlabelled),
                dict.fromkeys(HIGHEST, np.full(n, NOWHERE)),
                nothing,
                nothing,
            )
        )

    def _walk(self, begun: _Begun) -> Iterator[Order]:
        for link in range(len(self._votes.links)):
            if link in begun.links:
                continue
            if len(begun.links) == len(self._keeps) - 1:
                yield self._ended(begun, link)
            else:
                yield from self._walk(self._extended(begun, link))

    def _ended(self, begun: _Begun, link: int) -> Order:
        """Return an order whose last link is this one: it keeps all that reaches it."""
        here, failed, value = self._arrived(begun, link)
        count, right = self._tally.count, self._tally.right[link]
        label, _ = self._taken(begun, link, here[failed:], value)
        labelled = {
            rule: begun.labelled[rule] + count(label[rule]) + count(begun.kind[rule][here[:failed]])
            for rule in RULES
        }
        met = int(np.count_nonzero(begun.met)) + int(np.count_nonzero(right[here] & ~begun.met[here]))
        return Order(
            (*begun.links, link),
            (*begun.parts, self._part(begun, link, here, failed, len(here))),
            (*begun.heard, count(self._tally.kind(link)[here])),
            labelled,
            met,
            int(np.count_nonzero(begun.right | right)),
        )

    def _extended(self, begun: _Begun, link: int) -> _Begun:
        """Return how things stand after one more link."""
        here, failed, value = self._arrived(begun, link)
        keeps, count, right = self._keeps[len(begun.links)], self._tally.count, self._tally.right[link]
        stays, seen = here[len(here) - keeps :], here[failed:]
        label, place = self._taken(begun, link, seen, value)
        kind = {rule: _with(begun.kind[rule], seen, label[rule]) for rule in RULES}
        return _Begun(
            (*begun.links, link),
            (*begun.parts, self._part(begun, link, here, failed, keeps)),
            (*begun.heard, count(self._tally.kind(link)[here])),
            {rule: begun.labelled[rule] + count(kind[rule][stays]) for rule in RULES},
            _with(begun.goes_on, stays, False),
            kind,
            {rule: _with(begun.place[rule], seen, place[rule]) for rule in HIGHEST},
            _with(begun.met, here, begun.met[here] | right[here]),
            begun.right | right,
        )

    def _arrived(self, begun: _Begun, link: int) -> tuple[Rows, int, Places]:
        """Return the items that reach a link from the least to the most sure, how many votes failed, and the others' confidences."""
        order = self._order[link]
        comes = begun.goes_on[order]
        failed = int(np.count_nonzero(comes[: self._failed[link]]))
        return order[comes], failed, self._value[link][comes][failed:]

    def _taken(
        self, begun: _Begun, link: int, seen: Rows, value: Places
    ) -> tuple[dict[str, Kinds], dict[str, Places]]:
        """Return, by rule, the kind of the items that a link votes on, and their highest places so far."""
        mine = self._tally.kind(link)[seen]
        label, places = {"last": mine}, {}
        for rule, place_of in HIGHEST.items():
            place, before = place_of(value), begun.place[rule][seen]
            label[rule] = np.where(place > before, mine, begun.kind[rule][seen])
            places[rule] = np.maximum(place, before)
        return label, places

    def _part(self, begun: _Begun, link: int, here: Rows, failed: int, keeps: int) -> dict[str, Any]:
        """Return the part of one link in an order."""
        votes, cost = self._votes, self._costs[link]
        return {
            "link": votes.links[link],
            "received": len(here),
            "kept": keeps,
            "forwarded": len(here) - keeps,
            "failed": failed,
            "missing": len(here) - int(np.count_nonzero(votes.recorded[link, here])),
            "cost_usd": None if cost is None else float(cost[begun.goes_on].sum()),
        }


def _with(values: NDArray[Any], rows: Rows, new: Any) -> NDArray[Any]:
    """Return values of which some are new."""
    found = values.copy()
    found[rows] = new
    return found
