"""What a person changes on the page: forms that are sent with POST."""

import hmac
from collections.abc import Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

__all__ = ["Action", "action"]

MOST_BYTES: Final = 1 << 16
MOST_FIELDS: Final = 200


class Action:
    """Takes a form in: it must carry the session's token and be no larger than said. `Guard` has seen where it comes from.

    Args:
        work: What to do with the form; runs in a thread.
        most: Bytes.
    """

    def __init__(self, work: Callable[[Request, FormData], Response], most: int) -> None:
        self._work = work
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, self._bounded(receive))
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most:
            raise HTTPException(413, f"A form here has at most {self._most:,} bytes.")
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=self._most) as form:
            given, token = form.get("token"), request.state.form_token
            if (
                not token
                or not isinstance(given, str)
                or not hmac.compare_digest(given.encode(errors="replace"), token.encode())
            ):
                raise HTTPException(403, "The form is of another session: load the page again.")
            response = await run_in_threadpool(self._work, request, form)
        await response(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        """Read no more than there may be, whatever the request says of its length."""
        left = self._most

        async def read() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"A form here has at most {self._most:,} bytes.")
            return message

        return read


def action(path: str, work: Callable[[Request, FormData], Response], most: int = MOST_BYTES) -> Route:
    """Return the route of a form; the only way to have one that changes something.

    Args:
        path: Where the form is sent.
        work: What to do with it, in a thread; usually returns `RedirectResponse(..., 303)`.
        most: Bytes of the form at most.
    """
    return Route(path, Action(work, most), methods=["POST"])
