"""The openai link: label probabilities are the provider's own, and no malformed answer becomes a label."""

import json
import logging
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from catena.engine.run import Run
from catena.errors import CatenaError, LinkError, TaskError
from catena.links import open_link
from catena.links.limits import retry_after
from catena.testing.provider import FakeProvider
from catena.types import Failure, Item, Vote
from chains import LABELS, answers_in, ask, chain_task, execute, open_alone, openai, rows_of, texts

CANARY = "sk-canary/7f3a9"
STANCE = ["pro-war", "pro-peace", "neutral", "pro"]
RETRIED = {"timeout": "timeout", "reset": "transport", "truncated": "transport", "garbage": "bad_body", "empty_body": "bad_body",
           "no_choices": "bad_body", "500": "server", "503": "overloaded", "429": "rate_limit", "429_retry_after": "rate_limit"}  # fmt: skip
FINAL = {"refusal": "refused", "filtered": "filtered", "no_label": "no_label", "two_labels": "many_labels", "empty_answer": "empty",
         "lookalike": "no_label", "longer_word": "no_label", "null_content": "empty", "cut": "cut", "400": "bad_request",
         "context_length": "too_long", "content_filter": "filtered"}  # fmt: skip


def link_to(provider, labels=LABELS, **options):
    """Return a link to the provider and its task."""
    return open_alone(openai(provider, **options), labels=labels)


@pytest.mark.parametrize("quirk", ["", "vllm", "llamacpp"])
@pytest.mark.parametrize("labels", [list(LABELS), ["pro-war", "pro-peace", "neutral"], STANCE])
def test_label_probabilities(labels, quirk):
    """The label probabilities are the provider's distribution, whatever tokens labels share; the margin is never too large."""
    with FakeProvider(labels=labels, quirk=quirk, other=0.0) as provider:
        link = link_to(provider, labels)
        prompts = [link.render(Item(0, "1", text)) for text in texts(40)]
        for prompt, vote in zip(prompts, ask(link, *prompts), strict=True):
            truth = provider.distribution(prompt, "small")
            assert vote.source == "label_logprobs"
            found = {
                label: math.exp(x) for label, x in zip(labels, vote.logprobs, strict=True) if x is not None
            }
            if (
                "pro" in labels
            ):  # without an end token, nobody can tell how much of `pro` goes on to `pro-war`
                assert found[vote.label] >= truth[vote.label] - 1e-3
                continue
            assert truth[vote.label] == pytest.approx(found[vote.label], abs=1e-3)
            if vote.label != "neutral":  # the tokens of `neutral` don't tell `pro-war` and `pro-peace` apart
                first, second = sorted(truth.values())[:-3:-1]
                assert vote.confidence <= math.log(first / second) + 1e-2
                if not any(label.startswith("pro") for label in labels):  # each surface is a token of its own
                    assert vote.confidence == pytest.approx(math.log(first / second), abs=1e-2)
            for low, mass, high in zip(vote.lower, truth.values(), vote.upper, strict=True):
                assert low - 1e-9 <= mass <= high + 1e-9


@pytest.mark.parametrize(("fault", "reason"), (RETRIED | FINAL).items())
def test_malformed_answers(fault, reason):
    """Every malformed answer is a failure with its reason, retryable only where asking again may help."""
    with FakeProvider(labels=list(LABELS), faults={fault: 1}, drip=0.05) as provider:
        (answer,) = ask(link_to(provider, timeout=0.3), "What?")
    assert isinstance(answer, Failure), answer
    assert (answer.reason, answer.retryable) == (reason, fault in RETRIED)
    assert "\n" not in answer.message
    assert answer.usage.calls == 1


def test_drip_is_a_timeout():
    """An answer that drips in more slowly than the time allowed is a timeout."""
    with FakeProvider(labels=list(LABELS), faults={"drip": 1}, drip=0.05) as provider:
        (answer,) = ask(link_to(provider, timeout=0.3), "What?")
    assert (answer.reason, answer.retryable) == ("timeout", True)


def test_wrong_case_is_the_label():
    """A label in another case is that label."""
    with FakeProvider(labels=list(LABELS)) as provider:
        (right,) = ask(link_to(provider), "What?")
        provider.control(faults={"wrong_case": 1})
        (shouted,) = ask(link_to(provider), "What?")
    assert right.label == shouted.label


def test_retry_after_is_passed_on():
    """What the provider asks to wait is in the failure."""
    with FakeProvider(faults={"429_retry_after": 1}, retry_after=3) as provider:
        (answer,) = ask(link_to(provider), "What?")
    assert answer.retry_after == 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2.5", 2.5),
        ("-1", 0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after(header, seconds):
    """Seconds and dates are read, nonsense is none; no header can make a run wait for ever."""
    assert retry_after({"retry-after": header}.get) == seconds


@pytest.mark.parametrize(("labels", "quirk"), [(LABELS, ""), (STANCE, "vllm")])
def test_no_logprobs(labels, quirk):
    """Without log-probabilities there are votes without confidence."""
    with FakeProvider(labels=list(labels), no_logprobs=True, quirk=quirk) as provider:
        (answer,) = ask(link_to(provider, labels), "What?")
    assert isinstance(answer, Vote)
    assert (answer.confidence, answer.source, answer.logprobs) == (None, "none", None)


def test_missing_key(tmp_path, monkeypatch):
    """Without the key one line says which variable to set, and nothing is called."""
    monkeypatch.delenv("CANARY_KEY", raising=False)
    with FakeProvider() as provider:
        task = chain_task(openai(provider, api_key_env="CANARY_KEY"))
        with pytest.raises(LinkError, match=r"no key in CANARY_KEY\. Set it: export CANARY_KEY="):
            execute(task, rows_of(["a"]), tmp_path / "r")
        assert not provider.calls()


class Handler(BaseHTTPRequestHandler):
    """Answers as its server says, with the request's Authorization in it."""

    def do_POST(self):
        """Answer."""
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen += 1
        status, body, headers = self.server.says(self.headers["authorization"] or "")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    """A server whose answers a test writes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen, running.says = 0, lambda _: (500, b"", {})
        running.base_url = f"http://127.0.0.1:{running.server_port}/v1"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def answer(text, **more):
    """Return the body of an answer."""
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], **more}).encode()


ECHOES = {
    "error": lambda key: (400, json.dumps({"error": {"message": f"bad {key}"}}).encode(), {}),
    "escaped": lambda key: (
        400,
        json.dumps({"error": {"message": f"bad {key}"}}).replace("/", "\\/").encode(),
        {},
    ),
    "refused": lambda key: (401, json.dumps({"error": {"message": f"bad {key}"}}).encode(), {}),
    "text": lambda key: (400, key.encode(), {}),
    "no completion": lambda key: (200, key.encode(), {}),
    "answer": lambda key: (200, answer(f"You sent {key}", model=key), {}),
    "redirect": lambda key: (307, key.encode(), {"location": f"/v1/{key[-5:]}"}),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_key_is_nowhere(server, tmp_path, monkeypatch, caplog, capfd, echo):
    """The key is in no file of the run, no message, no log and no output, even where a server shows what it was sent."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    monkeypatch.setattr("catena.engine.asker.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("catena.engine.circuit.OUTAGE_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    server.says = ECHOES[echo]
    task = chain_task(
        openai(server, api_key_env="CANARY_KEY"), openai(server, "big", api_key_env="CANARY_KEY")
    )
    said = []
    try:
        execute(task, rows_of(texts(3)), tmp_path / "r")
    except CatenaError as error:
        while error:
            said += [repr(error), str(error)]
            error = error.__cause__
    assert server.seen
    said += [
        caplog.text,
        *capfd.readouterr(),
        repr(task),
        repr(Run(task, rows_of(["a"]), tmp_path / "x").links[0].__dict__["_settings"]),
    ]
    assert CANARY not in "".join(said)
    files = [path for path in (tmp_path / "r").iterdir() if path.is_file()]
    assert files
    assert all(CANARY.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize("key", ["clé", "two\nlines"])
def test_impossible_key(server, tmp_path, monkeypatch, key):
    """A key that can't be sent is refused in a line that does not show it."""
    monkeypatch.setenv("CANARY_KEY", key)
    with pytest.raises(LinkError, match="CANARY_KEY") as error:
        execute(chain_task(openai(server, api_key_env="CANARY_KEY")), rows_of(["a"]), tmp_path / "r")
    assert key not in str(error.value)
    assert not server.seen


def test_redirects_are_not_followed(server, monkeypatch):
    """A redirect stops the link with a line that says where it leads, keys left out; the key goes nowhere else."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    server.says = lambda _: (307, b"", {"location": f"https://elsewhere.example/v1?key={CANARY}"})
    with pytest.raises(LinkError, match="redirects to https://elsewhere") as error:
        ask(link_to(server, api_key_env="CANARY_KEY"), "What?")
    assert CANARY not in str(error.value)
    assert server.seen == 1


def spoken(first, *listed):
    """Return the body of an answer with log-probabilities, written as they stand here."""
    more = ", ".join(
        f'{{"token": "{text}", "logprob": {logprob}, "bytes": null}}' for text, logprob in listed
    )
    token = f'{{"token": "favor", "logprob": {first}, "bytes": null, "top_logprobs": [{more}]}}'
    return answer("favor").replace(
        b'"finish_reason"', f'"logprobs": {{"content": [{token}]}}, "finish_reason"'.encode()
    )


IMPOSSIBLE = {
    "an infinity": (spoken(-0.1, ("favor", -0.1), ("against", -2.5), ("none", "-Infinity")), True),
    "null": (spoken(-0.1, ("favor", -0.1), ("against", -2.5), ("none", "null")), True),
    "no number": (spoken(-0.1, ("favor", -0.1), ("against", -2.5), ("none", "NaN")), True),
    "null for what was said": (spoken("null", ("favor", "null")), False),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_tokens(server, case):
    """A log-probability that is no number spoils neither the answer nor what the others tell."""
    body, known = IMPOSSIBLE[case]
    server.says = lambda _: (200, body, {})
    (vote,) = ask(link_to(server), "What?")
    assert (vote.label, vote.confidence is not None) == ("favor", known)
    if known:
        assert vote.logprobs[0] == pytest.approx(-0.1, abs=0.05)
        assert vote.confidence <= 2.4 + 1e-6
        assert all(math.isfinite(each) for each in (*vote.lower, *vote.upper))


BODIES = {
    "null usage": (answer("favor", usage=None), "favor"),
    "null tokens": (answer("favor", usage={"prompt_tokens": None}), "favor"),
    "huge tokens": (answer("favor", usage={"prompt_tokens": 1 << 70}), "bad_body"),
    "deep": (b'{"choices": [], "x": ' + b"[" * 100_000, "bad_body"),
    "surrogate": (b'{"choices": [{"message": {"content": "\\ud800"}}]}', "bad_body"),
    "error in 200": (b'{"error": {"message": "no"}}', "server"),
    "list": (b"[]", "bad_body"),
    "not UTF-8": (b'{"choices": [{"message": {"content": "\xff"}}]}', "bad_body"),
}


@pytest.mark.parametrize("case", BODIES)
def test_strange_bodies(server, case):
    """Strange 200 answers are the right vote or a bad_body, never an exception."""
    body, expected = BODIES[case]
    server.says = lambda _: (200, body, {})
    (found,) = ask(link_to(server), "What?")
    assert (found.label if isinstance(found, Vote) else found.reason) == expected


@pytest.mark.parametrize("model", ["house-model-7", "gpt-4o-mini"])
def test_unknown_price_is_refused(model):
    """A price that nobody knows is asked for, with the line to add, before anything is read or called."""
    task = chain_task({"name": "a", "kind": "openai", "model": model, "base_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(TaskError, match=r"price of model.*price: \{input: USD, output: USD\}.*price: free"):
        open_link(task.chain[0], task)


def test_listed_price():
    """OpenAI's own models have the price of the list; a free one costs 0; the bound counts every byte."""
    task = chain_task({"name": "a", "kind": "openai", "model": "gpt-4o-mini"}, system="é" * 100)
    link = open_link(task.chain[0], task)
    assert link._price.usd(10**6, 10**6) == pytest.approx(0.15 + 0.60)
    assert link.most("").cost_usd >= 200 * 0.15e-6


def test_costs(tmp_path):
    """A vote costs what its tokens cost."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, price={"input": 1.0, "output": 10.0}), data={"id": "id"})
        execute(task, rows_of(["a"]), tmp_path / "r")
    usage = answers_in(tmp_path / "r", "small")[0].usage
    assert usage.cost_usd == pytest.approx((usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6)


@pytest.mark.parametrize("key", ["none", "1", "favor"])
def test_a_stand_in_for_a_key_changes_no_answer(key, monkeypatch):
    """Local servers are often given a word as the key; that word may be a label, and stays one."""
    monkeypatch.setenv("CANARY_KEY", key)
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider, api_key_env="CANARY_KEY")
        answers = ask(link, *[link.render(Item(0, "1", text)) for text in texts(30)])
    assert all(isinstance(answer, Vote) for answer in answers)


def test_the_key_of_openai_goes_to_openai_only(monkeypatch):
    """A server at another address gets no key unless the task names its variable."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with FakeProvider(labels=list(LABELS), api_key=CANARY) as provider:
        with pytest.raises(LinkError, match=r"HTTP 401.*api_key_env"):
            ask(link_to(provider), "What?")
        ask(link_to(provider, api_key_env="OPENAI_API_KEY"), "What?")


@pytest.mark.parametrize("field", ["model", "messages", "stream"])
def test_body_cannot_take_over_the_call(field):
    """What the link sets itself is refused in `body`."""
    with (
        FakeProvider(labels=list(LABELS)) as provider,
        pytest.raises(TaskError, match=f"body: {field} can't be set"),
    ):
        link_to(provider, body={field: "x"})


def test_the_bound_counts_what_the_body_allows():
    """`max_completion_tokens` in the body is what the answer may take; without any limit there is no bound."""
    price = {"input": 0.0, "output": 1.0}
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider, price=price, body={"max_tokens": None, "max_completion_tokens": 2000})
        assert link.most("x").cost_usd == 0.002
        assert link_to(provider, price=price, body={"max_tokens": None}).most("x") is None
