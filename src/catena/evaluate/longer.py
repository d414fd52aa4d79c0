"""A chain with one link more: the way to chains of more than three links, of which there are too many to look at all.

The link may come at every place. What it costs is taken from the forwarding to all links behind the first, so that the
budget is spent as before.
"""

from collections.abc import Sequence

__all__ = ["lengthened", "within"]

Links = tuple[int, ...]
Shares = tuple[float, ...]

LAST = (1.0, 0.6, 0.3)  # of what reaches the last link: what it forwards to one behind it


def lengthened(links: Links, forwarded: Shares, link: int) -> list[tuple[Links, Shares]]:
    """Return a chain with one link more at every place, and how forwarding falls along it, before it is brought within a budget.

    Before another link it gets as much as reaches that one, as the one before it, or half way between (geometrically): those
    two may hardly differ, but then the two chains hardly do.

    Args:
        links: In order, at least two.
        forwarded: Spending at each link as a share of what it would cost on all items, falling; the first is 1.
        link: None of them.
    """
    found = []
    for place in range(len(links) + 1):
        longer = (*links[:place], link, *links[place:])
        if place == len(links):
            found += [(longer, (*forwarded, forwarded[-1] * part)) for part in LAST]
            continue
        before, here = forwarded[max(place - 1, 0)], forwarded[max(place, 1)]
        steps = sorted({before, (before * here) ** 0.5, here}, reverse=True)
        if place == 0:  # it gets all, and the link that was first gets less
            found += [(longer, (1.0, step, *forwarded[1:])) for step in steps]
        else:
            found += [(longer, (*forwarded[:place], step, *forwarded[place:])) for step in steps]
    return found


def within(forwarded: Shares, cost: Sequence[float], left: float) -> Shares:
    """Return forwarding in the same proportions, none above 1, that spends what the first link leaves.

    >>> within((1.0, 0.5, 0.25), [1.0, 2.0, 4.0], 4.0)
    (1.0, 1.0, 0.5)

    Args:
        forwarded: Falling; the first is 1.
        cost: Of each link on all items, USD per item.
        left: For all links but the first, USD per item.
    """
    later, whole = forwarded[1:], 0
    while whole < len(later):
        rest = sum(part * each for part, each in zip(later[whole:], cost[whole + 1 :], strict=True))
        money = left - sum(cost[1 : whole + 1])
        if rest <= 0 or later[whole] * money >= rest:
            whole += 1
            continue
        return (1.0, *[1.0] * whole, *[part * money / rest for part in later[whole:]])
    return (1.0,) * len(forwarded)
