"""The first page: how far the run is, what it costs, what went wrong, and what can be changed about it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catena.web.pages import show, site_of
from catena.web.state import state_of

__all__ = ["routes"]


def _overview(request: Request) -> Response:
    return show(request, "overview.html", state=state_of(site_of(request).folder))


def _live(request: Request) -> Response:
    """The parts of the first page that change while the run works."""
    return show(request, "live.html", state=state_of(site_of(request).folder))


routes = [Route("/", _overview), Route("/live", _live)]
