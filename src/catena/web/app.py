"""The page as an application: its routes, behind the guard.

A further part of the page is a module with a list `routes`: pages are `Route(path, function)` with GET, and whatever changes
something is `actions.action(path, function)`. It goes into `PARTS` here, and its name into `pages.NAVIGATION`.
No route takes a path: a row is named by its number.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from catena.errors import CatenaError
from catena.web import items, overview, review, steer
from catena.web.indexer import Indexer
from catena.web.pages import Site, message_page, site_of, static_files
from catena.web.security import Guard, Keys, names_of

__all__ = ["PARTS", "create_app"]

PARTS = (overview, items, review, steer)
"""The modules whose `routes` make up the page."""


def create_app(folder: Path, keys: Keys, indexer: Indexer, host: str = "127.0.0.1") -> Guard:
    """Return the page on a run as an ASGI application.

    Args:
        folder: The run's folder.
        keys: Token and sessions.
        indexer: Keeps the index of the items; it is started and stopped by whoever serves the page.
        host: What the server is bound to.
    """
    own = [Route("/open", _open), Route("/static/{name}", _static)]
    app = Starlette(
        routes=[*own, *(route for part in PARTS for route in part.routes)],
        exception_handlers={HTTPException: _refused, CatenaError: _failed, Exception: _internal},
    )
    app.state.site = Site(folder, keys, indexer, static_files())
    return Guard(app, keys, names_of(host), message_page)


def _open(request: Request) -> Response:
    """Exchange the one-time token for a session. The page that follows is asked for by this one: a strict cookie needs that."""
    keys = site_of(request).keys
    if request.state.form_token:  # as when the page is loaded again
        return HTMLResponse(message_page(200, "Opening the page ..."))
    ahead = "prefetch" in request.headers.get("sec-purpose", "") or request.method != "GET"
    session = None if ahead else keys.exchange(request.query_params.get("token", ""))
    if session is None:
        said = "This address has been used, or is of an earlier page. The command prints a new one each time one is used."
        return HTMLResponse(message_page(403, said), 403)
    return HTMLResponse(
        message_page(200, "Opening the page ..."), headers={"set-cookie": keys.cookie_of(session)}
    )


def _static(request: Request) -> Response:
    found = site_of(request).static.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    kind, text = found
    return Response(text, media_type=kind)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "There is no such page." if error.status_code == 404 else error.detail
    return HTMLResponse(message_page(error.status_code, said), error.status_code, headers=error.headers)


def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, CatenaError)
    return HTMLResponse(message_page(500, error.message, error.hint), 500)


def _internal(_: Request, __: Exception) -> Response:
    """Show no inner thing; the server writes where it arose to the terminal of who runs the command."""
    return HTMLResponse(
        message_page(500, "Something went wrong inside. The terminal of the command shows what."), 500
    )
