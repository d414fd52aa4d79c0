"""Who may see the page and change something there: a matrix of hosts, origins, sessions, methods and addresses."""

import asyncio
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from catena.errors import InputError
from catena.web.app import create_app
from catena.web.indexer import Indexer
from catena.web.security import HEADERS, Keys, names_of
from catena.web.serving import Connection, serve
from web_session import serving

HERE = "http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", ["/", "/live", "/items", "/items/0", "/nothing", "/items/../../etc/passwd"])
def test_without_a_session_nothing_is_shown(page, path):
    """Not even whether there is such a page."""
    for cookie in (False, "catena-1=x", f"catena-{page.port}=", f"catena-{page.port}=guess"):
        answer = page.ask(path, cookie=cookie)
        assert answer.status == 403
        assert "run" not in answer.headers.get("set-cookie", "")
        assert "small" not in answer.text


def test_the_token_is_good_once(finished):
    """It becomes a session in a strict cookie that scripts can't read; then it is void, and the next one is printed."""
    with serving(finished) as served:
        first = served.url
        answer = served.enter()
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=Strict" in answer.headers["set-cookie"]
        assert served.ask("/").status == 200
        served.url = served.process.stdout.readline().split()[-1]
        again = first.partition(str(served.port))[2]
        answer = served.ask(again, cookie=False)
        assert (answer.status, "set-cookie" in answer.headers) == (403, False)
        assert served.url != first
        assert served.ask(again).status == 200
        other = served.cookie
        served.enter()
        assert served.cookie != other
        assert served.ask("/", cookie=other).status == 200
        code, err = served.end()
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "how", [{"method": "HEAD"}, {"sec-purpose": "prefetch"}, {"method": "POST", "body": b""}]
)
def test_the_token_is_not_spent_by_a_preview(finished, how):
    """What looks at a link beforehand does not use it up."""
    with serving(finished) as served:
        path = served.url.partition(str(served.port))[2]
        method, body = how.pop("method", "GET"), how.pop("body", None)
        assert served.ask(path, method, body, cookie=False, **how).status in {403, 405}
        served.enter()


@pytest.mark.parametrize("host", [
    "evil.example", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "evil.example:{port}", "[::2]:{port}", "192.168.0.1:{port}",
    "", "127.0.0.1:80:80", "127.0.0.1@evil.example", "localhost:x", "127.1", "0.0.0.0:{port}", "2130706433", False,
])  # fmt: skip
def test_a_foreign_host_is_refused(page, host):
    """A name that resolves to this machine (DNS rebinding) opens nothing, with a session or without, whatever is asked for."""
    host = host and host.format(port=page.port)
    for path in ("/", "/static/look.css", "/open?token=x"):
        answer = page.ask(path, host=host)
        assert answer.status in {400, 421}
        assert "small" not in answer.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "127.0.0.1:9999"]
)
def test_loopback_names_are_welcome(page, host):
    """With any port: it may be forwarded from another machine."""
    assert page.ask("/", host=host.format(port=page.port)).status == 200


SITES = [None, "same-origin", "same-site", "cross-site", "none", "SAME-ORIGIN", ""]
ORIGINS = [None, HERE, "null", "http://localhost:{port}", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://evil.example",
           "http://127.0.0.1:{port}.evil.example", ""]  # fmt: skip


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_change_comes_from_a_form_of_the_page(page, origin, site):
    """The whole matrix of Origin and Sec-Fetch-Site: what is not surely of this page is refused, and the right one is not."""
    given = {"origin": origin and origin.format(port=page.port), "sec-fetch-site": site}
    given = {name: value for name, value in given.items() if value is not None}
    answer = page.ask("/steer", "POST", {"token": page.token()}, **given)
    passes = site in {None, "same-origin"} and (
        origin == HERE or (origin in {None, "null"} and site == "same-origin")
    )
    assert (answer.status != 403) == passes, answer.text


@pytest.mark.parametrize("token", ["", "x", "0" * 64, None])
def test_a_form_carries_the_token_of_its_session(page, token):
    """A right origin is not enough."""
    form = {} if token is None else {"token": token}
    answer = page.ask("/steer", "POST", form, origin=page.origin)
    assert answer.status == 403
    assert page.ask("/steer", "POST", {"token": page.token()}, cookie=False, origin=page.origin).status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_do_nothing(page, method):
    """Pages are read with GET, forms sent with POST, and there is nothing else."""
    for path in ("/", "/steer"):
        assert page.ask(path, method, origin=page.origin).status in {400, 403, 404, 405}


def test_get_changes_nothing(page):
    """No route that changes something answers a GET."""
    app = create_app(Path(), Keys("c"), Indexer(Path()))._app
    changing = [route.path for route in app.routes if "POST" in route.methods]
    assert changing
    for path in changing:
        assert page.ask(path).status == 405
    assert all(route.methods == {"POST"} for route in app.routes if "POST" in route.methods)


@pytest.mark.parametrize(
    "path", ["/", "/live", "/items", "/static/look.css", "/static/page.js", "/nothing", "/open?token=x"]
)
def test_every_answer_carries_the_headers(page, path):
    """Content policy without inline script or style, no frames, no sniffing, no referrer, no cache; whatever is answered."""
    for answer in (
        page.ask(path),
        page.ask(path, cookie=False),
        page.ask(path, host="evil.example"),
        page.ask(path, "POST", b""),
    ):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
    assert "unsafe" not in HEADERS["content-security-policy"]
    for word in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert word in HEADERS["content-security-policy"]


def test_no_page_has_inline_script_or_style(page):
    """Nothing that the policy would have to allow."""
    for path in ("/", "/live", "/items", "/items/3", "/nothing"):
        text = page.ask(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert " on" not in {
            text[at : at + 3] for at in range(len(text)) if text[at + 3 : at + 9] == "click="
        }


TRAVERSALS = [
    "/static/../../../../etc/passwd", "/static/..%2f..%2f..%2fetc%2fpasswd", "/static/%2e%2e/%2e%2e/pyproject.toml", "/static//etc/passwd",
    "/static/../app.py", "/static/..\\app.py", "/static/app.py", "/static/", "/static/page.js/..", "/static/.%00.css", "/static/page.css%00",
    "/items/../ledger.sqlite", "/items/..%2fledger.sqlite", "/items/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/items//etc/passwd", "/items/-1",
    "/items/1.5", "/items/1e3", "/items/0x10", "/items/%D9%A3", "/items/99999999999999999999999", "/items/120", "/ledger.sqlite", "/lock",
    "/..", "/../", "/%2e%2e/", "//etc/passwd", "/etc/passwd", "/file:///etc/passwd", "/items/0/../../ledger.sqlite", "/labels.parquet",
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_route_takes_a_path(page, path):
    """A row is named by its number, a style sheet by its name; everything else is not there."""
    answer = page.ask(path)
    assert answer.status in {400, 404}
    assert "root:" not in answer.text
    assert "SQLite" not in answer.text


def test_large_requests_are_refused(page):
    """A form of more than 64 kB, by its length or without one, a long address, and headers without end."""
    token = page.token()
    right = {"origin": page.origin, "content-type": "application/x-www-form-urlencoded"}
    body = f"token={token}&x=".encode() + b"x" * (1 << 16)
    assert page.ask("/steer", "POST", body, **right).status == 413
    chunks = [b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 20
    chunked = page.ask(
        "/steer", "POST", b"".join([*chunks, b"0\r\n\r\n"]), **right, **{"transfer-encoding": "chunked"}
    )
    assert chunked.status == 413
    assert page.ask("/items?search=" + "x" * 5000).status == 414
    assert page.ask("/", x="y" * 40_000).status == 431
    assert page.ask("/").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_off_loopback_without_a_token_is_refused(finished, host):
    """At the start, before anything is bound."""
    with pytest.raises(InputError, match="Leave out --no-token"):
        serve(finished, print, host=host, everyone=True)


def test_off_loopback_the_names_of_the_machine_count():
    """Addresses in figures and its own name, which no foreign name server can give to another page."""
    assert names_of("127.0.0.1") == {"localhost", "127.0.0.1", "[::1]"}
    assert "*" in names_of("0.0.0.0")
    assert "evil.example" not in names_of("0.0.0.0")


def test_on_loopback_without_a_token_other_pages_still_do_nothing(finished):
    """Whoever is on this machine gets a session by itself; host, origin and form token are looked at as ever."""
    with serving(finished, "--no-token") as served:
        assert "token" not in served.url
        answer = served.ask("/")
        assert answer.status == 200
        assert served.ask("/", host="evil.example").status == 421
        assert served.ask("/steer", "POST", {}, origin=served.origin).status == 403
        served.cookie = answer.headers["set-cookie"].partition(";")[0]
        assert served.ask("/steer", "POST", {"token": "x"}, origin=served.origin).status == 403
        assert (
            served.ask("/steer", "POST", {"token": served.token()}, origin="http://evil.example").status
            == 403
        )


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHos", b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HT"]
)
def test_who_asks_for_nothing_is_shown_out(monkeypatch, said):
    """A connection that never gets to its request, first or second, keeps no place that others need."""
    monkeypatch.setattr("catena.web.serving.ASK_SECONDS", 0.05)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def answers():
        config = uvicorn.Config(
            app, http=Connection, ws="none", lifespan="off", log_config=None, timeout_keep_alive=600
        )
        config.load()

        def connection():
            return Connection(config=config, server_state=ServerState(), app_state={})

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(said)
            found = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            await writer.wait_closed()
        return found.count(b"HTTP/1.1 204")

    assert asyncio.run(answers()) == said.count(b"/1 ")


def test_the_terminal_tells_of_no_odd_request(finished):
    """What somebody sends who is no browser is answered, and is not for whoever runs the command."""
    with serving(finished) as served:
        served.enter()
        assert served.ask("/live", connection="upgrade", upgrade="websocket").status == 200
        assert served.ask("/", host="a\x00b").status == 400
        assert served.end() == (0, "")
