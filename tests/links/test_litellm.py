"""The litellm link: its own code against a stand-in of the package, and all of it against the package where it is at hand."""

import asyncio
import http.client
import importlib.metadata
import importlib.util
import json
import logging
import os
import sys
import time
import types
import urllib.error
import urllib.request

import pytest

from catena.errors import LinkError, MissingExtraError, TaskError
from catena.links import litellm as own
from catena.links import open_link
from catena.testing import check_link
from catena.testing.provider import FakeProvider
from catena.types import Failure, Item, Vote
from chains import LABELS, answers_in, ask, chain_task, execute, open_alone, openai, rows_of, texts
from shapes import KEY, Shape, ShapedServer

AT_HAND = importlib.util.find_spec("litellm") is not None
RETRIED = {"timeout": "timeout", "drip": "timeout", "reset": "server", "truncated": "server", "garbage": "server", "empty_body": "server",
           "no_choices": "bad_body", "500": "server", "503": "overloaded", "429": "rate_limit", "429_retry_after": "rate_limit"}  # fmt: skip
FINAL = {"refusal": "refused", "filtered": "filtered", "no_label": "no_label", "two_labels": "many_labels", "empty_answer": "empty",
         "lookalike": "no_label", "longer_word": "no_label", "null_content": "empty", "cut": "cut", "400": "bad_request",
         "context_length": "too_long", "content_filter": "filtered"}  # fmt: skip


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_):
        """Say where it leads: nowhere."""


class StandInError(Exception):
    """As litellm's errors are: a status, a message with their own names before it, and the answer."""

    def __init__(self, status, message, headers):
        super().__init__(message)
        self.status_code, self.message = status, f"litellm.SomeError: SomeError: OpenAIException - {message}"
        self.response = types.SimpleNamespace(headers=headers)


class Answer:
    """As litellm's answers are: JSON when asked for, and headers under names of its own."""

    def __init__(self, body, headers):
        self.body = json.loads(body)
        self._hidden_params = {
            "additional_headers": {f"llm_provider-{k.lower()}": v for k, v in headers.items()}
        }

    def model_dump_json(self):
        """Return it as JSON."""
        return json.dumps(self.body)


def stand_in():
    """Return a package that calls as litellm does, for `openai/...` models."""
    package = types.ModuleType("litellm")
    package.aclient_session, package.seen, package.closed = None, [], 0
    package.in_memory_llm_clients_cache = types.SimpleNamespace(flush_cache=lambda: None)
    package.success_callback, package.callbacks, package.telemetry = ["spy"], ["spy"], True

    def call(url, body, key, timeout):
        if not package.aclient_session.open:
            raise StandInError(500, "the client has been closed", {})
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        opener = urllib.request.build_opener(
            *([] if package.aclient_session.follow_redirects else [Stay]),
            urllib.request.ProxyHandler({}),
        )
        try:
            with opener.open(request, timeout=timeout) as answer:
                said, until = b"", time.monotonic() + timeout
                while piece := answer.read1(1 << 16):
                    said += piece
                    if time.monotonic() > until:
                        raise TimeoutError
                return Answer(said, dict(answer.headers))
        except urllib.error.HTTPError as error:
            said = (
                json.loads(error.read() or b"{}").get("error", {}).get("message", f"Error code: {error.code}")
            )
            raise StandInError(error.code, said, dict(error.headers)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) or "timed out" in str(error):
                raise TimeoutError from None
            raise StandInError(500, f"Connection error: {error}", {}) from None

    async def acompletion(*, model, messages, api_base, api_key=None, **more):
        package.seen.append(more)
        extra = {"timeout", "num_retries", "max_retries", "drop_params", "caching", "no-log", "extra_headers"}
        fields = {name: value for name, value in more.items() if name not in extra}
        body = {"model": model.removeprefix("openai/"), "messages": messages, **fields}
        return await asyncio.to_thread(call, f"{api_base}/chat/completions", body, api_key, more["timeout"])

    async def close_litellm_async_clients():
        package.closed += 1

    package.acompletion, package.close_litellm_async_clients = acompletion, close_litellm_async_clients
    handler = types.ModuleType("litellm.llms.custom_httpx.http_handler")

    class AsyncHTTPHandler:
        def create_client(self, *_, **__):
            return types.SimpleNamespace(follow_redirects=True)

    handler.AsyncHTTPHandler = AsyncHTTPHandler
    return package, handler


class Session:
    """As an httpx.AsyncClient is made and closed."""

    def __init__(self, *, follow_redirects, timeout, limits):
        self.follow_redirects, self.open = follow_redirects, True

    async def aclose(self):
        """Close it."""
        self.open = False


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param("litellm", marks=pytest.mark.skipif(not AT_HAND, reason="litellm is not installed")),
    ]
)
def package(request, monkeypatch):
    """The stand-in, or the package itself."""
    if request.param == "litellm":
        return own.loaded("link 'a'")
    found, handler = stand_in()
    client = types.ModuleType("httpx")
    client.AsyncClient, client.Limits = Session, lambda **_: None
    for name, module in {
        "litellm": found,
        "litellm.llms": types.ModuleType("litellm.llms"),
        "litellm.llms.custom_httpx": types.ModuleType("litellm.llms.custom_httpx"),
        "litellm.llms.custom_httpx.http_handler": handler,
        "httpx": client,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.90.0" if name == "litellm" else real(name)
    )
    return found


def litellm(provider, name="small", **options):
    """Return a litellm link to the provider, by its OpenAI protocol."""
    return openai(provider, name, **options) | {"kind": "litellm", "model": f"openai/{name}"}


def link_to(provider, labels=LABELS, **options):
    """Return a link."""
    return open_alone(litellm(provider, **options), labels=labels)


def test_it_keeps_what_links_promise(package):
    """check_link passes."""
    with FakeProvider(labels=list(LABELS)) as provider:
        check_link(link_to(provider), [Item(at, f"i{at}", text) for at, text in enumerate(texts(3))], LABELS)


@pytest.mark.parametrize("labels", [list(LABELS), ["pro-war", "pro-peace", "neutral"]])
def test_votes_are_those_of_an_openai_link(package, labels, monkeypatch):
    """The same answers are read the same way: label, margin, every label's probability, tokens, cost and limits."""
    price = {"input": 1.0, "output": 10.0, "cached": 0.1}
    with FakeProvider(labels=labels, cache_block=4, rate=1000, burst=1000) as provider:
        task = chain_task(openai(provider, price=price), labels=labels)
        plain = open_link(task.chain[0], task)
        prompts = [plain.render(Item(0, "1", text)) for text in texts(6)]
        direct = ask(plain, *prompts, *prompts)[6:]
        through = ask(link_to(provider, labels, price=price), *prompts)
    for one, other in zip(direct, through, strict=True):
        assert (one.label, one.source, one.text, one.model) == (
            other.label,
            other.source,
            other.text,
            other.model,
        )
        assert one.confidence == pytest.approx(other.confidence)
        assert one.logprobs == pytest.approx(other.logprobs)
        assert one.usage.cost_usd == pytest.approx(other.usage.cost_usd)
    assert through[0].rate.requests.most == 1000
    assert link_to(provider, labels).fingerprint != plain.fingerprint


@pytest.mark.parametrize(("fault", "reason"), (RETRIED | FINAL).items())
def test_malformed_answers(package, fault, reason):
    """Every malformed answer is a failure with its reason, asked for once, retryable only where asking again may help."""
    with FakeProvider(labels=list(LABELS), faults={fault: 1}, drip=0.05, retry_after=3) as provider:
        (answer,) = ask(link_to(provider, timeout=1.0 if reason == "timeout" else 20.0), "What?")
        assert len(provider.calls()) == 1
    assert isinstance(answer, Failure), answer
    assert (answer.reason, answer.retryable) == (reason, fault in RETRIED)
    assert answer.retry_after == (3 if fault == "429_retry_after" else None)
    assert len(answer.message.splitlines()) == 1
    assert "litellm." not in answer.message


@pytest.mark.parametrize(
    ("settings", "options", "fault"),
    [
        ({"api_key": KEY}, {"api_key_env": "WRONG"}, r"HTTP 401.*Check the key in WRONG"),
        ({"models": ["other"]}, {"api_key_env": "WRONG"}, "HTTP 404.*Check model"),
    ],
)
def test_what_concerns_the_link_stops_the_run(package, monkeypatch, settings, options, fault):
    """A wrong key and an unknown model, in one line without the key."""
    monkeypatch.setenv("WRONG", "sk-canary-wrong-1")
    with FakeProvider(**settings) as provider, pytest.raises(LinkError, match=fault) as error:
        ask(link_to(provider, **options), "What?")
    assert "sk-canary" not in str(error.value)


def test_no_logprobs(package):
    """Without log-probabilities there are votes without confidence; with samples they have one."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        (plain,) = ask(link_to(provider), "What?")
        (sampled,) = ask(link_to(provider, confidence="samples", samples=3), "What?")
    assert (plain.confidence, plain.source) == (None, "none")
    assert (sampled.source, sampled.usage.calls) == ("samples", 3)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(package, status, monkeypatch):
    """A redirect stops the link, and the other server is never asked, with the key or without."""
    monkeypatch.setenv("MINE", KEY)
    shape = Shape("/v1/chat/completions", key=None)
    with ShapedServer(shape) as thief, ShapedServer(shape) as server:
        server.instead = (status, {"location": f"{thief.base_url}/chat/completions"}, {})
        with pytest.raises(LinkError, match=f"HTTP {status}: the server redirects to"):
            ask(link_to(server, api_key_env="MINE"), "What?")
        assert len(server.asked) == 1
        assert not thief.asked


@pytest.mark.parametrize("variable", ["MINE", "COHERE_API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_no_key_comes_out(package, variable, monkeypatch, tmp_path, capfd, caplog):
    """Not even one that litellm finds by itself, where a server shows what it was sent."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(variable, KEY)
    shape = Shape("/v1/chat/completions", key=None)
    said = []
    for status, body in ((400, {"error": {"message": f"You sent {KEY}"}}), (401, {"error": {"message": KEY}}),
                         (200, {"id": "1", "object": "chat.completion", "created": 1, "model": KEY, "choices": [
                             {"index": 0, "message": {"role": "assistant", "content": f"favor {KEY}"}, "finish_reason": "stop"}]})):  # fmt: skip
        with ShapedServer(shape) as server:
            server.instead = (status, {}, body)
            task = chain_task(
                litellm(server, api_key_env="MINE" if variable == "MINE" else None), data={"id": "id"}
            )
            out = tmp_path / str(status)
            try:
                execute(task, rows_of(["a"]), out)
            except LinkError as error:
                said += [str(error), repr(error.__cause__), repr(error.__context__)]
            said += [str(answers_in(out, "small"))]
            assert all(KEY.encode() not in path.read_bytes() for path in out.rglob("*") if path.is_file())
    said += [*capfd.readouterr(), caplog.text]
    assert KEY not in "".join(said)


def test_the_usual_key_goes_to_its_provider_only(package, monkeypatch):
    """Another address gets one only where the task names its variable."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeProvider(labels=list(LABELS), api_key=KEY) as provider:
        with pytest.raises(LinkError, match=r"HTTP 401.*api_key_env"):
            ask(link_to(provider), "What?")
        (answer,) = ask(link_to(provider, api_key_env="OPENAI_API_KEY"), "What?")
    assert isinstance(answer, Vote)


def test_it_is_quiet(package, monkeypatch):
    """Telemetry and callbacks are off, its retries too, and clients of its own stay where they are sent."""
    with FakeProvider(labels=list(LABELS)) as provider:
        ask(link_to(provider), "What?")
    assert package.telemetry is False
    assert package.callbacks == package.success_callback == []
    assert package.aclient_session is None  # closed, and of no other loop
    handler = sys.modules["litellm.llms.custom_httpx.http_handler"].AsyncHTTPHandler
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert hasattr(handler.create_client, "__wrapped__")
    if hasattr(package, "seen"):
        (more,) = package.seen
        assert (more["num_retries"], more["max_retries"], more["no-log"]) == (0, 0, True)
        assert handler().create_client().follow_redirects is False


def test_links_share_connections(package):
    """One link that is closed closes no other's, and a closed one opens new ones when it is asked again."""
    with FakeProvider(labels=list(LABELS)) as provider:
        one, other = link_to(provider), link_to(provider, temperature=0.5)

        async def work():
            said = [await one.ask(["What?"]), await other.ask(["What?"])]
            await one.close()
            said += [await other.ask(["And?"])]
            await other.close()
            assert package.aclient_session is None
            said += [await one.ask(["Again?"])]
            await one.close()
            return said

        for (answer,) in asyncio.run(work()):
            assert isinstance(answer, Vote), answer


@pytest.mark.parametrize(
    "package", ["stand-in"], indirect=True
)  # what is left open of real ones is warned about
def test_a_link_that_was_left_open_is_in_nobodys_way(package):
    """Connections of an event loop that is over are not used in another one."""
    with FakeProvider(labels=list(LABELS)) as provider:
        left = link_to(provider)
        asyncio.run(left.ask(["What?"]))
        (answer,) = ask(link_to(provider), "What?")
        assert isinstance(answer, Vote), answer
        assert package.aclient_session is None


def test_it_asks_nothing_but_chat(package):
    """What another endpoint of a server would be asked is refused, not asked of the model."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider)
        said = asyncio.run(link._client.post(f"{provider.base_url}/tokenize", b"{}"))
        got = asyncio.run(link._client.get(f"{provider.base_url}/models"))
        assert not provider.stats()["requests"]
    assert said.reason == got.reason == "bad_request"


def test_a_chain_runs_with_it(package, tmp_path):
    """As any link, with a dearer one behind it."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(litellm(provider), openai(provider, "big"), data={"id": "id"})
        labels = execute(task, rows_of(texts(8)), tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled"] * 8
    assert all(isinstance(answer, Vote) for answer in answers_in(tmp_path / "r", "small").values())


GIVEN = {"name": "a", "kind": "litellm", "model": "cohere/command-r", "price": "free"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"model": "command-r"}, "model: 'command-r' names no provider"),
        ({"mode": "batch"}, "mode: litellm asks no batches"),
        ({"key_header": "api-key"}, "key_header: litellm has its own"),
        ({"query": {"v": "1"}}, "query: litellm has its own"),
        ({"price": None, "model": "cohere/no-such-model"}, "price of model 'no-such-model' is not known"),
        (
            {"top_logprobs": 0, "confidence": "logprobs"},
            "confidence: log-probabilities come from top_logprobs",
        ),
        ({"body": {"stream": True}}, "body: stream can't be set"),
    ],
)
def test_wrong_options_are_refused(options, fault):
    """Before anything is imported, with the option that is wrong."""
    task = chain_task(GIVEN | options)
    with pytest.raises(TaskError, match=fault):
        open_link(task.chain[0], task)


def test_listed_prices():
    """The price list knows providers by its own names."""
    for model in ("gemini/gemini-2.5-flash", "anthropic/claude-haiku-4-5", "mistral/mistral-small-latest"):
        task = chain_task(GIVEN | {"model": model, "price": None})
        assert open_link(task.chain[0], task).most("x" * 1000).cost_usd > 0


def test_without_the_package(monkeypatch):
    """One line names the extra."""

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    task = chain_task(GIVEN)
    with pytest.raises(
        MissingExtraError, match=r"link 'a': kind: litellm needs .*pip install 'catena\[litellm\]'"
    ):
        open_link(task.chain[0], task).ready()


@pytest.mark.parametrize("version", sorted(own.STOLEN))
def test_stolen_releases_are_not_imported(version, monkeypatch):
    """The two that steal credentials are refused before a line of them runs."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    monkeypatch.setitem(sys.modules, "litellm", None)
    task = chain_task(GIVEN)
    with pytest.raises(LinkError, match=f"litellm {version} steals credentials; it was not imported"):
        open_link(task.chain[0], task).ready()
