"""What a policy promises, checked for authors of one: the batch form and the streaming form decide the same."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catena.routing import Standing, least_first, standing, ties
from catena.testing.promises import BrokenContract, shown

if TYPE_CHECKING:
    from catena.engine.routes import Stream

__all__ = ["check_policy"]


def check_policy(
    route: Callable[[NDArray[np.int32]], NDArray[Any]],
    stream_of: "Callable[[int, int], Stream]",
    seed: int = 0,
    *,
    links: int = 3,
) -> None:
    """Check that a policy's batch form and its streaming form keep the same items, in any order of arrival.

    Args:
        route: The batch form: from each link's items from least to most sure, [m, n] as of `routing.least_first`,
            to the index of the link that keeps each item, [n].
        stream_of: The streaming form at a link: from the link's index and the number n of all items, to a new
            stream whose `offer(row, standing)` returns the row that is surely forwarded now, or None.
        seed: Draws the votes and the orders of arrival.
        links: The number m of links that the policy is for.

    Raises:
        BrokenContract: A promise is broken; the line names the items, the link and the order of arrival.
    """
    rng = np.random.default_rng(seed)
    for items in (0, 1, 2, links, links + 1, 10, 61):
        for confidence in _confidences(rng, links, items):
            _check_routes(route, stream_of, rng, confidence, rng.random((links, items)) < 0.8)


def _confidences(rng: np.random.Generator, links: int, items: int) -> Iterator[NDArray[np.float64]]:
    shape = (links, items)
    yield rng.normal(size=shape)
    yield rng.choice([0.1, 0.5, np.nan], shape)
    yield np.full(shape, np.nan)


def _check_routes(
    route: Callable[[NDArray[np.int32]], NDArray[Any]],
    stream_of: "Callable[[int, int], Stream]",
    rng: np.random.Generator,
    confidence: NDArray[np.float64],
    voted: NDArray[np.bool_],
) -> None:
    links, items = confidence.shape
    tie = ties([f"item {row}" for row in range(items)], 0)
    order = least_first(voted, confidence, tie)
    kept_by = _route(route, order)
    stands = [
        [
            standing(voted=bool(voted[j, row]), confidence=float(confidence[j, row]), tie=int(tie[row]))
            for row in range(items)
        ]
        for j in range(links)
    ]
    surest = [int(row) for row in order[0][::-1]] if links else []
    orders = {
        "in input order": list(range(items)),
        "from the most sure": surest,
        "from the least sure": surest[::-1],
        "shuffled": [int(row) for row in rng.permutation(items)],
    }
    for how, arrive in orders.items():
        arrivals = arrive
        for j in range(links):
            where = f"link {j} of {links}, {items} items {how}"
            released = _stream(stream_of(j, items), arrivals, stands[j], where)
            kept, expected = set(arrivals) - set(released), set(np.flatnonzero(kept_by == j).tolist())
            if kept != expected:
                raise BrokenContract(
                    f"policy: stream and batch form keep the same items: {where}: only the stream keeps "
                    f"{shown(sorted(kept - expected))}, only the batch form {shown(sorted(expected - kept))}."
                )
            arrivals = released if how != "shuffled" else [int(row) for row in rng.permutation(released)]


def _route(route: Callable[[NDArray[np.int32]], NDArray[Any]], order: NDArray[np.int32]) -> NDArray[Any]:
    links, items = order.shape
    given = order.copy()
    kept_by = np.asarray(route(given))
    if not np.array_equal(given, order):
        raise BrokenContract("policy: the batch form changes nothing: it changed the order that it got.")
    if kept_by.shape != (items,) or not np.issubdtype(kept_by.dtype, np.integer):
        raise BrokenContract(
            f"policy: the batch form gives one link per item: {kept_by.dtype} {kept_by.shape} for {items} items."
        )
    if items and (kept_by.min() < 0 or kept_by.max() >= links):
        raise BrokenContract(
            f"policy: every item is kept by one of the links: {kept_by.min()} to {kept_by.max()} for {links} links."
        )
    if not np.array_equal(kept_by, np.asarray(route(given))):
        raise BrokenContract("policy: the batch form gives the same each time: it did not.")
    return kept_by


def _stream(stream: "Stream", arrivals: Sequence[int], stands: Sequence[Standing], where: str) -> list[int]:
    """Return what the stream forwards, each an item that arrived before and was not forwarded yet."""
    here: set[int] = set()
    released: list[int] = []
    for row in arrivals:
        here.add(row)
        out = stream.offer(row, stands[row])
        if out is None:
            continue
        if out not in here:
            what = "a second time" if out in released else "before it arrived"
            raise BrokenContract(
                f"policy: each forwarded item is released exactly once: {where}: {out!r} was released {what}."
            )
        here.remove(out)
        released.append(out)
    return released
