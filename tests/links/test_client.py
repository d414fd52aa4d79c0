"""How a provider is reached: proxies, certificates, redirects, and answers without an end."""

import asyncio

import pytest

from catena.errors import LinkError
from catena.links import client, open_link
from catena.links.proxies import is_loopback, proxy_of
from catena.testing.provider import FakeProvider
from catena.types import Vote
from chains import chain_task

NOBODY = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """No proxy but those that a test sets."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(base_url):
    """Ask a server once."""
    options = {"name": "a", "kind": "openai", "model": "m", "price": "free", "base_url": base_url}
    task = chain_task(options)

    async def work():
        link = open_link(task.chain[0], task)
        try:
            return (await link.ask(["What?"]))[0]
        finally:
            await link.close()

    return asyncio.run(work())


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_this_machine_is_reached_without_a_proxy(monkeypatch, name):
    """A proxy can't reach a server on loopback, so it is not asked to, whatever the environment says."""
    monkeypatch.setenv(name, NOBODY)
    with FakeProvider() as provider:
        assert isinstance(ask(provider.base_url), Vote)
        assert isinstance(ask(provider.base_url.replace("127.0.0.1", "localhost")), Vote)


def test_a_proxy_that_fails_is_named(monkeypatch):
    """The line names the variable, and not its value, which may hold a password."""
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    failure = ask("http://catena.invalid/v1")
    assert failure.reason == "transport"
    assert "to catena.invalid (through the proxy in http_proxy)" in failure.message
    assert "secret" not in failure.message


def test_a_proxy_is_used_for_others(monkeypatch):
    """Other servers are asked through the proxy."""
    with FakeProvider() as provider:
        monkeypatch.setenv("http_proxy", provider.base_url.removesuffix("/v1"))
        with pytest.raises(LinkError, match=r"There is no http://catena\.invalid/v1"):
            ask("http://catena.invalid/v1")


def test_where_nothing_answers_is_named():
    """The line has the address: it is the first thing to look at."""
    assert "the connection to 127.0.0.1:9 failed" in ask(f"{NOBODY}/v1").message


@pytest.mark.parametrize(
    ("url", "said", "name"),
    [
        ("https://a.example/v1", {"HTTPS_PROXY": NOBODY}, "HTTPS_PROXY"),
        ("https://a.example/v1", {"http_proxy": NOBODY}, ""),
        ("http://a.example/v1", {"http_proxy": NOBODY, "no_proxy": "a.example"}, ""),
        ("http://a.example/v1", {"all_proxy": NOBODY}, "all_proxy"),
        ("http://a.example/v1", {}, ""),
    ],
)
def test_which_proxy(monkeypatch, url, said, name):
    """The variable of the address's kind, or else the one for all; none where the address is excepted."""
    for each, value in said.items():
        monkeypatch.setenv(each, value)
    assert proxy_of(url) == name


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost:1", True), ("127.8.0.1", True), ("[::1]:1", True), ("10.0.0.1", False), ("local", False)],
)
def test_which_is_this_machine(host, here):
    """Loopback by name or number."""
    assert is_loopback(f"http://{host}/v1") is here


def test_without_certificates(monkeypatch, tmp_path):
    """A machine that has none says what is missing, in a line."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    with pytest.raises(LinkError, match="certificates") as error:
        ask("https://catena.invalid/v1")
    assert "SSL_CERT_FILE" in error.value.hint


def test_an_authority_of_ones_own():
    """A certificate whose authority is not known says where to name it."""
    failure = client.transport_failure(OSError("invalid peer certificate: UnknownIssuer"), 1.0, " to here")
    assert failure.message.startswith(
        "the connection to here failed: invalid peer certificate: UnknownIssuer"
    )
    assert "SSL_CERT_FILE" in failure.message


def test_an_answer_without_an_end(monkeypatch):
    """Is let go at the most that an answer may have, and is none."""
    monkeypatch.setattr(client, "MOST_ANSWER_BYTES", 100)
    with FakeProvider() as provider:
        failure = ask(provider.base_url)
    assert (failure.reason, failure.retryable) == ("bad_body", True)
