"""What all pages share: templates that escape everything, the frame around each page, and answers that say what is wrong."""

import time
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from catena.report.pages import environment, look
from catena.report.words import clock, rate, shown
from catena.web.indexer import Indexer
from catena.web.security import Keys

__all__ = ["NAVIGATION", "Site", "message_page", "show", "site_of", "static_files"]

NAVIGATION: Final = [("/", "Run"), ("/items", "Items"), ("/review", "Review")]
"""Address and name of what is in the bar at the top of every page."""

KINDS: Final = {"css": "text/css", "js": "text/javascript"}
STATIC: Final = ("page.css", "page.js", "review.css", "review.js")
ICON: Final = "icon.svg"


def moment(at: float) -> str:
    """Return the time of day of a moment, in seconds since 1970."""
    return time.strftime("%H:%M:%S", time.localtime(at))


_made = environment(("catena.web", "catena.report"))
_made.filters |= {"clock": clock, "rate": rate, "moment": moment}


@dataclass
class Site:
    """What the pages work with: the run's folder, who may see it, and the index of its items."""

    folder: Path
    keys: Keys
    indexer: Indexer
    static: dict[str, tuple[str, str]] = field(default_factory=dict)
    annotators: dict[str, str] = field(default_factory=dict)
    """Who labels, by the form token of their session."""

    @property
    def name(self) -> str:
        """What to call the run."""
        return shown(self.folder.resolve().name, 60)


def site_of(request: Request) -> Site:
    """Return what the page that is asked for works with."""
    site: Site = request.app.state.site
    return site


def show(request: Request, template: str, status: int = 200, **what: Any) -> Response:
    """Return a page: a template that extends `layout.html`, or a part of one.

    Filters beside those of the report: `clock`, `rate`, `moment`. Templates see `what`, `run` (the run's name), `form_token` (goes into every form as the hidden field `token`),
    `navigation` and `here` (the path).
    """
    around = {
        "run": site_of(request).name,
        "form_token": request.state.form_token,
        "navigation": NAVIGATION,
        "here": request.url.path,
    }
    return _html(_made.get_template(template).render(**around, **what), status)


def message_page(status: int, said: str, hint: str = "") -> str:
    """Return a page that says why there is no other; it shows nothing of the run."""
    return _made.get_template("message.html").render(status=status, said=said, hint=hint)


def _html(text: str, status: int) -> Response:
    return HTMLResponse(text.encode("utf-8", "replace"), status)  # a text may hold half a character


def static_files() -> dict[str, tuple[str, str]]:
    """Return kind and content of our own style sheets, script and icon by name; nothing else is ever served as a file."""
    ours = {name: _static(name) for name in STATIC}
    found = {
        name: (KINDS[name.rpartition(".")[2]], text) for name, text in {"look.css": look(), **ours}.items()
    }
    return found | {ICON: ("image/svg+xml", _static(ICON))}


def _static(name: str) -> str:
    return files("catena.web").joinpath("static", name).read_text("utf-8")
