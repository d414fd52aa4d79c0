"""The first page: how far the run is, what it costs, what went wrong, and what can be changed about it."""

import contextlib
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catena.engine.steering import Trouble
from catena.web.finder import options
from catena.web.index import open_index
from catena.web.pages import show, site_of
from catena.web.state import State, state_of

__all__ = ["routes"]

WIDTH, HEIGHT = 600, 80
MOST_TROUBLES = 8
KINDS = ("usd", "tokens", "calls")


def _overview(request: Request) -> Response:
    return show(request, "overview.html", **_seen(request))


def _live(request: Request) -> Response:
    """The parts of the first page that change while the run works."""
    return show(request, "parts.html", **_seen(request))


def _seen(request: Request) -> dict[str, Any]:
    site = site_of(request)
    state = state_of(site.folder)
    index = open_index(site.folder)
    choices: dict[str, dict[str, int]] = {}
    if index is not None:
        with contextlib.closing(index):
            choices = options(index)
    return {
        "state": state,
        "index": site.indexer.state,
        "choices": choices,
        "places": {label: at % 8 + 1 for at, label in enumerate(state.task.labels)} if state.task else {},
        "people": {spec.name for spec in state.task.chain if spec.kind == "human"} if state.task else set(),
        "folder": str(site.folder),
        "budget": _budget(state),
        "spark": _spark(state.seen.rates if state.seen and state.working else []),
        "troubles": _troubles(state),
        "tries": _tries(state),
        "answers": sum(link.seen.answered for link in state.links if link.seen),
        "expected": sum(link.seen.expected for link in state.links if link.seen),
        "speed": sum(link.rate or 0.0 for link in state.links),
        "in_flight": sum(link.seen.in_flight for link in state.links if link.seen),
    }


def _budget(state: State) -> dict[str, tuple[float, float | None]]:
    """Return what is spent and the cap of each kind: as the process says, or of the task where none is at work."""
    if state.seen and state.working:
        return dict(zip(KINDS, zip(state.seen.spent, state.seen.caps, strict=True), strict=True))
    caps = state.task.budget if state.task else None
    spent = {"usd": state.cost_usd or 0.0, "calls": float(sum(link.calls for link in state.links))}
    known = {"usd": caps.usd, "calls": caps.calls} if caps else {}
    return {kind: (spent[kind], known.get(kind)) for kind in spent}


def _spark(rates: Sequence[Sequence[float]]) -> dict[str, Any] | None:
    """Return the line of answers per second over the last minutes; None where there is too little to draw."""
    if len(rates) < 4:
        return None
    times = [each[0] for each in rates]
    totals = [sum(each[1:]) for each in rates]
    width = 3  # samples: votes come in groups
    speeds = [
        (totals[at] - totals[at - width]) / max(times[at] - times[at - width], 1e-9)
        for at in range(width, len(rates))
    ]
    most = max(*speeds, 1e-9)
    span = max(times[-1] - times[width], 1e-9)
    points = [
        f"{WIDTH * (times[at + width] - times[width]) / span:.1f},{HEIGHT - (HEIGHT - 4) * max(speed, 0.0) / most:.1f}"
        for at, speed in enumerate(speeds)
    ]
    return {"points": " ".join(points), "most": most, "seconds": span, "width": WIDTH, "height": HEIGHT}


def _troubles(state: State) -> list[tuple[str, Trouble]]:
    """Return the latest failures of all links, the newest first."""
    found = [
        (link.name, trouble) for link in (state.seen.links if state.seen else []) for trouble in link.troubles
    ]
    return sorted(found, key=lambda each: -each[1].at)[:MOST_TROUBLES]


def _tries(state: State) -> list[tuple[str, str, int]]:
    """Return how many calls of each link failed by no fault of their item, by reason."""
    links = state.seen.links if state.seen else []
    return [
        (link.name, reason, n)
        for link in links
        for reason, n in sorted(link.tries_failed.items(), key=lambda each: -each[1])
    ]


routes = [Route("/", _overview), Route("/live", _live)]
