"""How a server is reached: more headers and query, keys by reference, and nothing in the task that is a secret."""

import json

import pytest

from catena.errors import LinkError, TaskError
from catena.links.address import Secrets
from chains import KINDS, answers_in, ask, chain_task, execute, open_alone, rows_of
from shapes import Shape, ShapedServer

CANARY = "sk-canary/of+address=1"


def link_of(kind="openai", **options):
    """Return a link."""
    given = {"name": "a", "kind": kind, "model": "m", "price": "free", "base_url": "http://127.0.0.1:9/v1"}
    return open_alone(given | options)


def test_headers_and_query_go_along(monkeypatch):
    """As written, or from the environment where they begin with `$`; the key stands where `key_header` says."""
    monkeypatch.setenv("MINE", CANARY)
    monkeypatch.setenv("GATE", "gate-canary-17")
    seen = []
    shape = Shape(
        "/v1/chat/completions", key=None, query={"api-version": "2024-10-21", "sig": "gate-canary-17"}
    )
    with ShapedServer(shape) as server:
        own = server.reply
        server.reply = lambda path, headers, asked: seen.append(dict(headers)) or own(path, headers, asked)
        link = link_of(
            base_url=server.base_url,
            api_key_env="MINE",
            key_header="Api-Key",
            headers={"X-Title": "stance", "X-Gate-Token": "$GATE"},
            query={"api-version": "2024-10-21", "sig": "$GATE"},
        )
        (answer,) = ask(link, "What?")
    assert answer.source == "label_logprobs", answer
    (headers,) = ({name.lower(): text for name, text in each.items()} for each in seen)
    assert (headers["api-key"], headers["x-title"]) == (CANARY, "stance")
    assert headers["x-gate-token"] == "gate-canary-17"
    assert "authorization" not in headers


def test_anthropic_has_them_too(monkeypatch):
    """Its version goes along whatever header carries the key."""
    monkeypatch.setenv("MINE", CANARY)
    seen = []
    with ShapedServer(Shape("/v1/messages", key=None, query={"beta": "true"})) as server:
        server.reply = lambda path, headers, asked: seen.append((path, headers)) or (400, {}, b"{}")
        options = {"api_key_env": "MINE", "key_header": "api-key", "query": {"beta": "true"}}
        base = server.host + "/v1"
        ask(link_of("anthropic", base_url=base, **options), "What?")
    path, headers = seen[0]
    assert path == "/v1/messages?beta=true"
    assert (headers["api-key"], headers["anthropic-version"]) == (CANARY, "2023-06-01")
    assert "x-api-key" not in headers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"base_url": f"https://me:{CANARY}@host/v1"}, "base_url: it holds a name or a password"),
        ({"base_url": f"https://host/v1?key={CANARY}"}, r"base_url: what follows the \? or #"),
        ({"base_url": f"https://host/v1#{CANARY}"}, r"base_url: what follows the \? or #"),
        (
            {"base_url": "https://host/v1/chat/completions/"},
            "base_url: it ends with /chat/completions, which is put behind it",
        ),
        ({"base_url": "host:80/v1"}, "'host:80/v1' is not an http address"),
        ({"base_url": "http://[::1/v1"}, "base_url: it is no address"),
        ({"headers": {"Authorization": f"Bearer {CANARY}"}}, r"headers: Authorization carries a key.*\$NAME"),
        ({"headers": {"X-Api-Key": CANARY}}, "headers: X-Api-Key carries a key"),
        ({"headers": {"X-Mine": f"bearer {CANARY}"}}, "headers: X-Mine carries a key"),
        ({"query": {"key": CANARY}}, "query: key carries a key"),
        ({"query": {"access_token": f"$A {CANARY}"}}, "query: access_token carries a key"),
        ({"headers": {"X-Mine": "$not a name"}}, r"headers: X-Mine: \$ is followed by no name"),
        ({"headers": {"X-Mine": "clé"}}, "headers: X-Mine has characters"),
        ({"headers": {"Content-Length": "1"}}, "headers: 'Content-Length' is no header that can be set"),
        ({"headers": {"a b": "1"}}, "headers: 'a b' is no header"),
        ({"key_header": "a:b"}, "headers: 'a:b' is no header"),
    ],
)
def test_secrets_in_the_task_are_refused(kind, options, fault):
    """In a line that names the option and shows no secret."""
    with pytest.raises(TaskError, match=fault) as error:
        link_of(kind, **options)
    assert CANARY not in str(error.value)


def test_a_missing_variable_is_named(monkeypatch):
    """Before anything is called."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(LinkError, match=r"no key in NOT_THERE\. Set it: export NOT_THERE="):
        link_of(headers={"X-Gate-Token": "$NOT_THERE"}).ready()


def test_none_of_it_shapes_votes(monkeypatch):
    """A run may go on at another address with other headers."""
    monkeypatch.setenv("MINE", CANARY)
    plain = link_of().fingerprint
    assert link_of(headers={"X-Title": "a"}, query={"v": "1"}, key_header="api-key").fingerprint == plain


SPELLINGS = {
    "as it is": lambda key: key,
    "in JSON": lambda key: json.dumps({"said": key}),
    "slashes escaped": lambda key: key.replace("/", "\\/"),
    "in an address": lambda key: key.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D"),
    "without its first word": lambda key: f"Bearer {key}",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_keys_are_hidden(spelling, monkeypatch):
    """In every spelling in which servers show what they were sent, from whatever option they come."""
    monkeypatch.setenv("MINE", f"Bearer {CANARY}")
    secrets = Secrets("link 'a'")
    assert secrets.value("$MINE") == f"Bearer {CANARY}"
    assert CANARY.encode() not in secrets.hide(SPELLINGS[spelling](CANARY).encode())
    assert secrets.hide(SPELLINGS[spelling](CANARY).encode()).count(b"***") == 1


def test_a_header_that_comes_back_is_hidden(tmp_path, monkeypatch):
    """A server that answers with the headers and the address that it was sent shows nothing of their keys."""
    monkeypatch.setenv("GATE", CANARY)
    shape = Shape("/v1/chat/completions", key=None)
    with ShapedServer(shape) as server:
        server.reply = lambda path, headers, asked: (
            400,
            {},
            json.dumps({"error": {"message": f"{headers['x-gate-token']} at {path}"}}).encode(),
        )
        options = {"headers": {"X-Gate-Token": "$GATE"}, "query": {"sig": "$GATE"}, "most_failed": 1}
        given = {"name": "a", "kind": "openai", "model": "m", "price": "free", "base_url": server.base_url}
        with pytest.raises(LinkError) as error:
            execute(chain_task(given | options, data={"id": "id"}), rows_of(["a"]), tmp_path / "r")
        failure = answers_in(tmp_path / "r", "a")[0]
    assert "*** at /v1/chat/completions?sig=***" in failure.message
    assert CANARY not in str(error.value)
    assert all(
        CANARY.encode() not in path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()
    )
