"""Fixed shares: link j keeps a set fraction of the items, always its surest ones (the paper's rule, section 3)."""

import heapq
import re
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from catena.errors import InputError
from catena.routing.standing import Standing

__all__ = ["ShareStream", "exact_shares", "quotas", "route_by_share"]

TO_BITS, FROM_BITS = struct.Struct(">d").pack, struct.Struct(">Q").unpack
SIGN, LOW = 1 << 63, (1 << 64) - 1
ROWS = (1 << 40) - 1
HUGE = re.compile(r"[eE][+-]?\d{3}")  # an exact fraction with such an exponent would fill the memory


def exact_shares(shares: Sequence[float | str] | None, links: int) -> tuple[Fraction, ...]:
    """Return the shares as exact fractions; equal ones (the paper's) for None.

    Decimal spellings are taken at their word: 0.1 is one tenth, not the nearest binary number.

    Raises:
        InputError: Not one share per link, a share below 0, a last share of 0, or a sum other than 1.
    """
    if shares is None:
        return (Fraction(1, links),) * links
    if any(HUGE.search(str(share)) or len(str(share)) > 50 for share in shares):
        raise InputError(f"policy.share: {_said(shares)}: write shares as plain numbers.")
    try:
        exact = tuple(Fraction(str(share)) for share in shares)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"policy.share: {_said(shares)} are not all numbers.") from error
    if len(exact) != links:
        raise InputError(f"policy.share: {len(exact)} shares for {links} links.", "Give one share per link.")
    if min(exact) < 0 or abs(sum(exact, Fraction(-1))) > Fraction(1, 10**6):
        raise InputError(f"policy.share: {_said(shares)} must be at least 0 and sum to 1.")
    if exact[-1] == 0:
        raise InputError(
            "policy.share: the last link keeps all that reaches it, so its share can't be 0.", "Leave it out."
        )
    return exact


def _said(shares: Sequence[float | str]) -> str:
    return ", ".join(map(str, shares))


def quotas(items: int, shares: Sequence[Fraction]) -> list[tuple[int, int]]:
    """Return how many items each link receives and keeps: floor(n_j s_j / (s_j + ... + s_m)), in exact arithmetic."""
    result = []
    received = items
    for j, share in enumerate(shares):
        left = sum(shares[j:], Fraction(0))
        keeps = received if j == len(shares) - 1 else received * share // left
        result.append((received, int(keeps)))
        received -= int(keeps)
    return result


def route_by_share(standing: NDArray[np.int32], shares: Sequence[Fraction]) -> NDArray[np.int16]:
    """Return the link that keeps each item.

    Args:
        standing: Each link's items from least to most sure, as item indices, [m, n] (see `standing.least_first`).
        shares: One exact share per link, [m].

    Returns:
        Index of the keeping link, int16 [n]. An item reaches every link up to that one.
    """
    links, items = standing.shape
    kept_by = np.full(items, links - 1, np.int16)
    here = np.ones(items, bool)
    for j, (_, keeps) in enumerate(quotas(items, shares)[:-1]):
        if keeps:
            arrived = standing[j][here[standing[j]]]
            kept = arrived[len(arrived) - keeps :]
            kept_by[kept] = j
            here[kept] = False
    return kept_by


class ShareStream:
    """The same decision for one link as its votes arrive, releasing items as soon as they are surely forwarded.

    Holds the surest `keeps` items so far; once full, each arrival pushes out exactly one item, which no later
    arrival can bring back. The result does not depend on the order of arrival. About 60 bytes for each item it holds.

    Args:
        keeps: How many items the link keeps.
        receives: How many will arrive, where that is known: a link that keeps them all holds nothing.
    """

    def __init__(self, keeps: int, receives: int | None = None) -> None:
        self._keeps = keeps
        self._keeps_all = receives is not None and receives <= keeps
        self._heap: list[int] = []

    def offer(self, row: int, standing: Standing) -> int | None:
        """Take one item in and return the row that is forwarded for it, if any."""
        if self._keeps_all:
            return None
        if not self._keeps:
            return row
        entry = _packed(row, standing)
        if len(self._heap) < self._keeps:
            heapq.heappush(self._heap, entry)
            return None
        return heapq.heappushpop(self._heap, entry) & ROWS


def _packed(row: int, standing: Standing) -> int:
    """Return one integer that is ordered as (standing, row) is."""
    kind, confidence, tie = standing
    bits: int = FROM_BITS(TO_BITS(confidence + 0.0))[0]  # -0.0 is 0.0
    value = ~bits & LOW if bits & SIGN else bits | SIGN
    return ((kind << 64 | value) << 64 | tie) << 40 | row
