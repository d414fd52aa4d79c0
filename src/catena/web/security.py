"""Who may see the page and change something there: what every request passes before anything else looks at it.

The page shows texts and votes and can spend money, on a machine where other people, other pages in the same browser and
hostile texts are. So:

- A request needs a session. The address that the command prints holds a token that makes one, once; the cookie is
  HttpOnly and SameSite=Strict. There is nothing else to log in with.
- The Host header must name this machine: a foreign name that resolves to it (DNS rebinding) is refused.
- Whatever is no GET or HEAD changes something, and must come from a form of this page: Sec-Fetch-Site and Origin are
  looked at, and the form carries a token of its session. GET changes nothing (but spends the one-time token).
- Every answer forbids scripts and styles that are not files of ours, frames, sniffing, referrers and caches.
"""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "Keys", "host_name", "is_loopback", "names_of"]

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
MOST_TARGET = 4096
"""Characters of an address: a search and its filters have a few hundred."""
MOST_HEADERS = 1 << 14
MOST_SESSIONS = 1_000
"""The oldest ones end before there are more."""
SAFE = frozenset({"GET", "HEAD"})
OPEN = "/open"
STATIC = "/static/"

Refuse = Callable[[int, str], str]
"""Returns the page that says why a request is refused."""


class Keys:
    """The one-time token and the sessions that were made with it; they end with the process.

    Args:
        cookie: The cookie's name. Cookies don't know of ports, so two pages on one machine need two names.
        everyone: Whether a session is made for whoever comes: only where nobody else reaches the address.
        used: Called when a token has been used: the next one can be shown.
    """

    def __init__(
        self, cookie: str, *, everyone: bool = False, used: Callable[[], None] = lambda: None
    ) -> None:
        self.cookie = cookie
        self.everyone = everyone
        self.token = secrets.token_urlsafe(32)
        self._used = used
        self._sessions: deque[bytes] = deque(maxlen=MOST_SESSIONS)
        self._secret = secrets.token_bytes(32)

    def exchange(self, token: str) -> str | None:
        """Return a new session for the token, which is void from now on; None where it is not the token."""
        if not hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(32)
        self._used()
        return self.begin()

    def begin(self) -> str:
        """Return a new session."""
        session = secrets.token_urlsafe(32)
        self._sessions.append(_digest(session))
        return session

    def knows(self, session: str) -> bool:
        """Whether a session was begun here."""
        return _digest(session) in self._sessions

    def form_token(self, session: str) -> str:
        """Return what a form of a session carries, so that no other page can make one."""
        return hmac.new(self._secret, session.encode(errors="replace"), hashlib.sha256).hexdigest()

    def cookie_of(self, session: str) -> str:
        """Return the header that sets a session's cookie."""
        return f"{self.cookie}={session}; HttpOnly; SameSite=Strict; Path=/"


class Guard:
    """Lets a request through to the pages, or answers it.

    Args:
        app: The pages; they find the session's form token in `scope["state"]["form_token"]`.
        keys: Token and sessions.
        names: Hosts that the page may be asked for.
        refuse: Returns the page that says why not.
    """

    def __init__(self, app: ASGIApp, keys: Keys, names: frozenset[str], refuse: Refuse) -> None:
        self._app = app
        self._keys = keys
        self._names = names
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _sender(send)
        headers = Headers(scope=scope)
        wrong = self._wrong(scope, headers)
        if wrong:
            await HTMLResponse(self._refuse(*wrong), wrong[0])(scope, receive, answer)
            return
        session = cookie_parser(headers.get("cookie", "")).get(self._keys.cookie, "")
        known = self._keys.knows(session)
        if not known and self._keys.everyone and scope["method"] in SAFE:
            session, known = self._keys.begin(), True
            answer = _sender(send, self._keys.cookie_of(session))
        if not known and not _is_open(scope["path"]):
            said = "This page is opened with the address that the command has printed. It can be used once."
            await HTMLResponse(self._refuse(403, said), 403)(scope, receive, answer)
            return
        scope.setdefault("state", {})["form_token"] = self._keys.form_token(session) if known else ""
        await self._app(scope, receive, answer)

    def _wrong(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason where a request can't come from this page."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_TARGET:
            return 414, "The address is too long."
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            return 431, "The headers are too long."
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_here(hosts[0]):
            return 421, "The page is not at this name."
        if scope["method"] in SAFE:
            return None
        if not _comes_from_here(headers, scope["scheme"], hosts[0]):
            return 403, "A change must come from a form of this page."
        return None

    def _is_here(self, host: str) -> bool:
        """Whether a Host header names this machine; off loopback also by an address in figures, which no name server gives."""
        name = host_name(host)
        return name in self._names or ("*" in self._names and _address(name) is not None)


def _is_open(path: str) -> bool:
    return path == OPEN or path.startswith(STATIC)


def _sender(send: Send, cookie: str = "") -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if cookie:
                headers.append("set-cookie", cookie)
        await send(message)

    return answer


def _comes_from_here(headers: Headers, scheme: str, host: str) -> bool:
    """Whether a browser says that a request comes from a page of the same origin; one that says nothing is refused.

    Browsers send `Origin: null` with a form of a page that sends no referrer; then only Sec-Fetch-Site tells, which they
    send to addresses that they trust, such as loopback. Our script sends forms so that the origin is always told.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None or origin == "null":
        return site is not None
    return origin.lower() == f"{scheme}://{host}".lower()


def host_name(host: str) -> str:
    """Return a Host header's name without the port.

    >>> host_name("LocalHost:80"), host_name("[::1]:80"), host_name("::1"), host_name("a:b:c"), host_name("x:http")
    ('localhost', '[::1]', '', '', '')
    """
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    if not (port.isascii() and port.isdigit()) or (":" in name and not (name[0] == "[" and name[-1] == "]")):
        return ""
    return name.lower()


def is_loopback(host: str) -> bool:
    """Whether an address that a server is bound to is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def names_of(host: str) -> frozenset[str]:
    """Return by which names the page may be asked for, when it is bound to a host; `*` stands for addresses in figures."""
    names = {"localhost", "127.0.0.1", "[::1]"}
    if not is_loopback(host):
        names |= {"*", *_own_names(), host.lower()}
    return frozenset(names | {f"[{host}]" if ":" in host else host})


def _own_names() -> Iterable[str]:
    name = socket.gethostname().lower()
    return {name, name.partition(".")[0], socket.getfqdn().lower()}


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode(errors="replace")).digest()
