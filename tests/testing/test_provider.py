"""The fake provider: its answers follow a known distribution, its faults come at their share, its ledger is true."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from http.client import HTTPConnection, HTTPException, IncompleteRead
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.errors import CatenaError, InputError
from catena.testing.answers import SPOILED
from catena.testing.calls import Call
from catena.testing.provider import (
    FAULTS,
    Annotator,
    FakeProvider,
    Reply,
    answered,
    call_key,
    calls,
    main,
    spawn,
    tokenise,
    too_early,
)
from catena.testing.settings import from_text
from catena.testing.tokens import END, LabelTree, surfaces

WAR = ["pro-war", "pro-peace", "none", "pro"]


def request(text, **more):
    """Return a chat request."""
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **more}


def wait_for(provider, count):
    """Ask until the count is not 0."""
    assert any(provider.stats()[count] for _ in range(2000))


class Client:
    """One keep-alive connection to a provider."""

    def __init__(self, provider, timeout=5):
        self.connection = HTTPConnection("127.0.0.1", provider.port, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, method, path, body=None, **headers):
        """Return the answer and its body."""
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def chat(self, text, **more):
        """Return status, headers and JSON of a chat call."""
        answer, body = self.send("POST", "/v1/chat/completions", json.dumps(request(text, **more)))
        return answer.status, answer.headers, json.loads(body)

    def say(self, text, **more):
        """Return the choice of a chat call that is answered."""
        status, _, body = self.chat(text, **more)
        assert status == 200, body
        return body["choices"][0]


@pytest.fixture
def provider():
    """A provider whose labels share tokens."""
    with FakeProvider(labels=WAR) as running:
        yield running


@pytest.fixture
def client(provider):
    """A connection to it."""
    with Client(provider) as connected:
        yield connected


# What it says


@given(st.text())
def test_tokens_join_to_the_text(text):
    """Joined, the tokens are the text again."""
    assert "".join(tokenise(text)) == text


def test_labels_share_first_tokens():
    """Labels that begin alike share their first tokens, as they do with real tokenizers."""
    assert tokenise("pro-war")[:2] == tokenise("pro-peace")[:2] == ["pro", "-"]


@given(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), st.sampled_from([0.0, 0.02, 0.3]))
def test_alternatives_sum_to_one(weights, other):
    """At each position the alternatives are a whole distribution."""
    shares = [weight / sum(weights) for weight in weights]
    positions, _ = LabelTree(WAR, other).speak(shares)
    for position in positions:
        assert sum(math.exp(x) for _, x in position.alternatives) == pytest.approx(1)


def test_logprobs_imply_the_distribution(provider, client):
    """The product of the listed probabilities along a label's ways of being written is its share of 1 - other."""
    truth = provider.distribution("some text")

    def probability(tokens):
        product = 1.0
        for n, token in enumerate(tokens):
            said = {"role": "assistant", "content": "".join(tokens[:n])}
            asked = [*request("some text")["messages"], *([said] if n else [])]
            choice = client.say("", messages=asked, logprobs=True, top_logprobs=20, max_tokens=1)
            content = choice["logprobs"]["content"]
            listed = (
                {top["token"]: top["logprob"] for top in content[0]["top_logprobs"]}
                if content
                else {END: 0.0}
            )
            product *= math.exp(listed[token])
        return product

    provider.control(quirk="vllm")  # which lists the end token
    found = {label: sum(probability([*tokenise(way), END]) for way in surfaces(label, WAR)) for label in WAR}
    assert found == pytest.approx({label: 0.98 * share for label, share in truth.items()}, rel=1e-9)


def test_generation_is_greedy(client):
    """Each generated token is the likeliest one listed, its log-probability the listed one."""
    for n in range(20):
        for position in client.say(f"text {n}", logprobs=True, top_logprobs=5)["logprobs"]["content"]:
            best = position["top_logprobs"][0]
            assert (position["token"], position["logprob"]) == (best["token"], best["logprob"])


def test_content_is_its_tokens(client):
    """The message is the generated tokens joined, and `bytes` are their UTF-8."""
    choice = client.say("text", logprobs=True)
    content = choice["logprobs"]["content"]
    assert choice["message"]["content"] == "".join(p["token"] for p in content)
    assert [bytes(p["bytes"]).decode() for p in content] == [p["token"] for p in content]


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_alternatives_are_cut_and_sorted(client, top):
    """Exactly top_logprobs alternatives come, likeliest first."""
    for position in client.say("text", logprobs=True, top_logprobs=top)["logprobs"]["content"]:
        values = [alternative["logprob"] for alternative in position["top_logprobs"]]
        assert len(values) == top
        assert all(a >= b for a, b in pairwise(values))


def test_too_many_alternatives(client):
    """More than 20 alternatives are refused, as vLLM does."""
    assert client.chat("text", logprobs=True, top_logprobs=21)[0] == 400


def test_no_logprobs_unless_asked(client):
    """Without logprobs: true there are none."""
    assert client.say("text")["logprobs"] is None


def test_no_logprobs_mode():
    """With `no_logprobs` the answer is 200 without any, as transformers serve does."""
    with FakeProvider(no_logprobs=True) as provider, Client(provider) as client:
        assert client.say("text", logprobs=True, top_logprobs=5)["logprobs"] is None


def test_token_limit_cuts(client):
    """max_tokens ends the answer early with finish_reason length."""
    choice = client.say("text", max_tokens=1, logprobs=True)
    assert (choice["finish_reason"], len(choice["logprobs"]["content"])) == ("length", 1)


def test_same_seed_same_answers():
    """Answers depend on the seed, the model and the prompt, and on nothing else."""
    one, two, other = (FakeProvider(seed=seed) for seed in (1, 1, 2))
    assert one.distribution("x") == two.distribution("x")
    assert one.distribution("x") != other.distribution("x")
    assert one.distribution("x") != one.distribution("x", model="dear")


def test_usage_counts(client):
    """Usage counts the generated tokens, and the total is the sum."""
    _, _, body = client.chat("a text of some length", logprobs=True)
    usage = body["usage"]
    assert usage["completion_tokens"] == len(body["choices"][0]["logprobs"]["content"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def gold(n, labels):
    """Return n items with their labels."""
    return {f"item number {i}.": labels[i % len(labels)] for i in range(n)}


def test_gold_is_hit_at_the_accuracy():
    """Each model answers gold items rightly at its accuracy, whatever surrounds the text."""
    labels = ["favor", "against", "none"]
    items = gold(2000, labels)
    provider = FakeProvider(labels=labels, gold=items, accuracy={"cheap": 0.6, "dear": 0.9})
    for model, accuracy in {"cheap": 0.6, "dear": 0.9}.items():
        told = {text: provider.distribution(f"Text: {text} Which?", model) for text in items}
        right = sum(max(shares, key=shares.get) == items[text] for text, shares in told.items())
        assert right / 2000 == pytest.approx(accuracy, abs=0.035)


def test_right_answers_are_surer():
    """The confidence of right answers is higher than that of wrong ones."""
    items = gold(1000, WAR)
    provider = FakeProvider(labels=WAR, gold=items, accuracy=0.5)
    sure = {True: [], False: []}
    for text, label in items.items():
        shares = provider.distribution(text)
        sure[max(shares, key=shares.get) == label].append(max(shares.values()))
    assert sum(sure[True]) / len(sure[True]) > sum(sure[False]) / len(sure[False]) + 0.1


def test_longest_gold_text_counts():
    """Of gold texts that contain each other, the longest one in the prompt is meant."""
    items = {"war": "none", "war is over": "pro", "a war is over, they say": "pro-war"}
    provider = FakeProvider(labels=WAR, gold=items, accuracy=1.0)
    told = provider.distribution("Text: the war is over. Which?")
    assert max(told, key=told.get) == "pro"


def test_gold_from_a_file(tmp_path):
    """Gold may come from a JSONL file of text and label."""
    path = tmp_path / "gold.jsonl"
    path.write_text('{"text": "peace now", "label": "pro-peace"}\n')
    told = FakeProvider(labels=WAR, gold=str(path), accuracy=1.0).distribution("Text: peace now!")
    assert max(told, key=told.get) == "pro-peace"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_above_temperature_0(temperature):
    """Tokens are drawn from their probabilities to the power 1/temperature; at 1 labels come as `distribution` says."""
    model = Annotator(WAR, sharpness=2.0, other=0.1)
    asked = request("some text", temperature=temperature)
    drawn = Counter(model(asked, attempt).positions[0].token for attempt in range(4000))
    listed = model(request("some text")).positions[0].alternatives
    weights = {token: math.exp(logprob / temperature) for token, logprob in listed}
    for token, weight in weights.items():
        assert drawn[token] / 4000 == pytest.approx(weight / sum(weights.values()), abs=0.03)
    if temperature == 1.0:
        said = Counter((model(asked, attempt).text or "").strip().lower() for attempt in range(4000))
        for label, share in model.distribution("some text").items():
            assert said[label] / 4000 == pytest.approx(0.9 * share, abs=0.03)


def test_plugged_in_answer():
    """A callable may say what is answered."""
    with FakeProvider(lambda asked: Reply(asked["model"].upper())) as provider, Client(provider) as client:
        assert client.say("text")["message"]["content"] == "FAKE"


def test_plugged_in_answer_that_raises():
    """An error in the callable is a 500, not a hang."""

    def answer(asked):
        raise ValueError("no idea")

    with FakeProvider(answer) as provider, Client(provider) as client:
        assert client.chat("text")[0] == 500


def test_vllm_lists_the_end_token():
    """With the vLLM quirk the end token closes the log-probabilities but not the text."""
    with FakeProvider(quirk="vllm") as provider, Client(provider) as client:
        choice = client.say("text", logprobs=True)
        assert choice["logprobs"]["content"][-1]["token"] == END
        assert END not in choice["message"]["content"]


def test_llamacpp_has_no_bytes():
    """With the llama.cpp quirk every `bytes` is null."""
    with FakeProvider(quirk="llamacpp") as provider, Client(provider) as client:
        content = client.say("text", logprobs=True, top_logprobs=3)["logprobs"]["content"]
        assert {top["bytes"] for p in content for top in (p, *p["top_logprobs"])} == {None}


# What goes wrong


@pytest.mark.parametrize("name", ["400", "401", "403", "404", "429", "500", "503"])
def test_status_faults(name):
    """A fault named after a status is that status with OpenAI's error object."""
    with FakeProvider(faults={name: 1}) as provider, Client(provider) as client:
        status, headers, body = client.chat("text")
        assert (status, "retry-after" in headers) == (int(name), False)
        assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("context_length", 400, "context_length_exceeded"),
        ("content_filter", 400, "content_filter"),
        ("quota", 429, "insufficient_quota"),
    ],
)
def test_coded_faults(name, status, code):
    """A fault that clients know by its code carries the code."""
    with FakeProvider(faults={name: 1}) as provider, Client(provider) as client:
        found, _, body = client.chat("text")
        assert (found, body["error"]["code"]) == (status, code)


def test_retry_after():
    """The 429 with Retry-After says how long to wait, and the ledger keeps it."""
    with FakeProvider(faults={"429_retry_after": 1}, retry_after=2) as provider, Client(provider) as client:
        status, headers, _ = client.chat("text")
        assert (status, headers["retry-after"], provider.calls()[0].retry_after) == (429, "2", 2)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("reset", ConnectionResetError),
        ("truncated", IncompleteRead),
        ("timeout", TimeoutError),
        ("garbage", json.JSONDecodeError),
        ("empty_body", json.JSONDecodeError),
    ],
)
def test_broken_answers(name, error):
    """Each broken answer is seen by the client as what it is called, and is not counted as answered."""
    with FakeProvider(faults={name: 1}) as provider:
        with Client(provider, timeout=0.1) as client, pytest.raises(error):
            client.chat("text")
        found = provider.calls()
        assert [(call.fault, call.usable) for call in found] == [(name, False)]
        assert provider.stats()["answered"] == 0


def test_drip_arrives_whole():
    """A dripping answer is slow and right, and the connection can be used again."""
    with FakeProvider(faults={"drip": 1}, drip=0.0001) as provider, Client(provider) as client:
        assert client.say("text")["message"]["content"] == client.say("text")["message"]["content"]
        assert provider.stats()["answered"] == 2


def said(fault):
    """Return the choice of an answer with this fault."""
    with FakeProvider(labels=["favor", "against"], faults={fault: 1}) as provider, Client(provider) as client:
        _, _, body = client.chat("text", logprobs=True, top_logprobs=5)
        return body["choices"][0] if body["choices"] else None


def test_no_spoiled_answer_is_a_label():
    """No answer-level fault leaves a message that is a label."""
    for fault in SPOILED:
        choice = said(fault)
        assert choice is None or choice["message"]["content"] not in ("favor", "against")


@pytest.mark.parametrize(
    ("fault", "content", "finish"),
    [
        ("refusal", None, "stop"),
        ("filtered", "", "content_filter"),
        ("null_content", None, "stop"),
        ("empty_answer", "", "stop"),
        ("no_label", "I cannot tell from this text.", "stop"),
    ],
)
def test_spoiled_answers(fault, content, finish):
    """An answer-level fault shows in the content and the finish reason."""
    choice = said(fault)
    assert (choice["message"]["content"], choice["finish_reason"]) == (content, finish)


def test_cut_is_part_of_a_label():
    """A cut answer ends within a label."""
    choice = said("cut")
    assert choice["finish_reason"] == "length"
    assert any(label.startswith(choice["message"]["content"]) for label in ("favor", "against"))


def test_faults_come_at_their_share():
    """Over many calls each fault comes at its share."""
    with FakeProvider(faults={"500": 0.2, "no_label": 0.1}) as provider, Client(provider) as client:
        for n in range(1500):
            client.chat(f"text {n}")
        found = provider.stats()["by_fault"]
    assert found["500"] / 1500 == pytest.approx(0.2, abs=0.04)
    assert found["no_label"] / 1500 == pytest.approx(0.1, abs=0.03)


def test_faults_are_reproducible():
    """The same calls in another order get the same faults; another attempt may get another one."""

    def play(order):
        with FakeProvider(faults={"500": 0.5}) as provider, Client(provider) as client:
            for n in order:
                client.chat(f"text {n}")
            return {(call.key, call.attempt): call.status for call in provider.calls()}

    there, back = play([*range(40), *range(40)]), play([*reversed(range(40)), *range(40)])
    assert there == back
    assert any(there[key, 1] != there[key, 2] for key, _ in there)


def test_rate_limit():
    """Over the rate come 429 with whole seconds to wait; every answer says what is left."""
    with FakeProvider(rate=0.5, burst=2) as provider, Client(provider) as client:
        answers = [client.chat("text")[:2] for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[0][1]["x-ratelimit-remaining-requests"] == "1"
    assert answers[2][1]["retry-after"] == "2"


def test_rate_limit_without_retry_after():
    """The rate's 429 may leave out when to come back."""
    with FakeProvider(rate=0.5, rate_retry_after=False) as provider, Client(provider) as client:
        answers = [client.chat("text")[:2] for _ in range(2)]
    assert answers[1][0] == 429
    assert "retry-after" not in answers[1][1]


def test_concurrency_bound():
    """One call more than the bound gets 429 while the others are worked on."""
    with (
        FakeProvider(concurrency=1, latency=0.1) as provider,
        Client(provider) as first,
        Client(provider) as second,
    ):
        first.connection.request("POST", "/v1/chat/completions", json.dumps(request("one")))
        wait_for(provider, "in_flight")
        assert second.chat("two")[0] == 429
        assert first.connection.getresponse().status == 200
        assert provider.stats()["max_in_flight"] == 2


def test_down_and_up_again(provider):
    """While it is down every call is closed without an answer; later it answers again."""
    with Client(provider) as client:
        provider.control(down=True)
        with pytest.raises((HTTPException, ConnectionError)):
            client.chat("text")
        provider.control(down=False)
    with Client(provider) as client:
        assert client.chat("text")[0] == 200
    assert [(call.status, call.fault) for call in provider.calls()] == [(0, "down"), (200, "")]


def test_going_down_drops_open_calls(provider):
    """Calls that are being worked on are dropped, and the ledger says so."""
    provider.control(latency=30)
    with Client(provider) as client:
        client.connection.request("POST", "/v1/chat/completions", json.dumps(request("text")))
        wait_for(provider, "in_flight")
        provider.control(down=True)
        with pytest.raises((HTTPException, ConnectionError)):
            client.connection.getresponse()
    assert [(call.status, call.fault) for call in provider.calls()] == [(0, "down")]


def test_control_refuses_nonsense(provider):
    """Unknown settings and shares are refused with a message, and nothing changes."""
    with pytest.raises(InputError, match="latancy"):
        provider.control(latancy=1)
    with pytest.raises(InputError, match="none of"):
        provider.control(faults={"flood": 0.1})
    assert provider.settings.faults == {}


@pytest.mark.parametrize("faults", [{"flood": 0.1}, {"429": -0.1}, {"429": 0.6, "500": 0.6}])
def test_impossible_faults(faults):
    """Faults that don't exist or don't fit into 1 are refused."""
    with pytest.raises(InputError, match="faults"):
        FakeProvider(faults=faults)


def test_taken_port(provider, capsys):
    """A port that is taken is one line and no traceback, in a process and in a thread."""
    assert main(["--port", str(provider.port)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(CatenaError, match="can't listen"), FakeProvider(port=provider.port):
        pass


def test_api_key():
    """Where a key is set, calls without it get 401."""
    with FakeProvider(api_key="right") as provider, Client(provider) as client:
        body = json.dumps(request("text"))
        found = [
            client.send("POST", "/v1/chat/completions", body, Authorization=f"Bearer {key}")[0].status
            for key in ("wrong", "right")
        ]
    assert found == [401, 200]


# How it speaks HTTP


def test_keep_alive(provider, client):
    """Many calls go over one connection."""
    client.chat("one")
    port = client.connection.sock.getsockname()
    client.chat("two")
    assert client.connection.sock.getsockname() == port


def test_connection_close(provider, client):
    """`Connection: close` is obeyed."""
    answer, _ = client.send("GET", "/v1/models", Connection="close")
    assert answer.will_close


def test_chunked_body(provider, client):
    """A chunked request is the same call as one with a length."""
    pieces = (piece.encode() for piece in json.dumps(request("text")).partition("text"))
    client.connection.request("POST", "/v1/chat/completions", pieces, encode_chunked=True)
    assert json.loads(client.connection.getresponse().read())["choices"][0] == client.say("text")


def raw(provider, data):
    """Return what comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=5) as sock:
        for part in data:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_pipelined_and_split_requests(provider):
    """Requests that arrive together or in pieces are answered in turn."""
    one = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n"
    found = raw(provider, [one + one[:10], one[10:] + last])
    assert found.count(b"HTTP/1.1 200 OK") == 3


def test_not_http(provider):
    """What is not HTTP gets 400 and a closed connection."""
    assert raw(provider, [b"hello\r\n\r\n"]).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("body", ["", "{", "[]", '{"messages": []}', '{"messages": [1]}', '{"stream": true}'])
def test_bad_bodies(client, body):
    """A body that is no chat request gets 400."""
    assert client.send("POST", "/v1/chat/completions", body)[0].status == 400


def test_unknown_paths_and_methods(client):
    """Other paths are 404, other methods 405."""
    found = [client.send(*pair)[0].status for pair in [("GET", "/"), ("GET", "/v1/chat/completions")]]
    assert found == [404, 405]


def test_models():
    """The models it serves are listed, others are not found."""
    with FakeProvider(models=["cheap", "dear"]) as provider, Client(provider) as client:
        listed = json.loads(client.send("GET", "/v1/models")[1])["data"]
        assert [model["id"] for model in listed] == ["cheap", "dear"]
        assert client.chat("text", model="dear")[0] == 200
        assert client.chat("text")[0] == 404


def test_loopback_only(provider):
    """It listens on 127.0.0.1 and on no other address."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", provider.port), timeout=1)


# What it remembers


def test_ledger_file(tmp_path):
    """The ledger file holds every request and answer, with attempts counted per key."""
    path = tmp_path / "calls.jsonl"
    with FakeProvider(ledger=str(path), faults={"500": 0.3}) as provider, Client(provider) as client:
        statuses = [client.chat(f"text {n % 5}")[0] for n in range(30)]
    found = calls(path)
    assert [call.status for call in found] == statuses
    key = call_key("fake", request("text 3")["messages"])
    assert [call.attempt for call in found if call.key == key] == [1, 2, 3, 4, 5, 6]
    assert answered(path) == Counter(call.key for call in found if call.status == 200)


def test_ledger_has_no_keys(tmp_path):
    """No key that a client sends gets into the ledger."""
    path = tmp_path / "calls.jsonl"
    with FakeProvider(ledger=str(path)) as provider, Client(provider) as client:
        client.send(
            "POST", "/v1/chat/completions", json.dumps(request("text")), Authorization="Bearer canary"
        )
    assert "canary" not in path.read_text()


def test_spoiled_answers_are_answers(tmp_path):
    """An answer that names no label was answered and would be paid; one without a choice was not."""
    path = tmp_path / "calls.jsonl"
    with FakeProvider(ledger=str(path), faults={"refusal": 1}) as provider, Client(provider) as client:
        client.chat("one")
        provider.control(faults={"no_choices": 1})
        client.chat("two")
    assert answered(path) == {call_key("fake", request("one")["messages"]): 1}


def test_a_client_that_leaves(provider):
    """A client that leaves before its answer is an ended call without a status."""
    provider.control(latency=30)
    with Client(provider) as client:
        client.connection.request("POST", "/v1/chat/completions", json.dumps(request("text")))
        wait_for(provider, "in_flight")
    wait_for(provider, "left")
    (call,) = provider.calls()
    assert (call.status, call.usable, call.ended is None) == (0, False, False)


def test_half_a_line_is_skipped(tmp_path):
    """A ledger whose last line was cut in half is read up to there, and can be gone on with."""
    path = tmp_path / "calls.jsonl"
    for _ in range(2):
        with FakeProvider(ledger=str(path)) as provider, Client(provider) as client:
            client.chat("text")
        with path.open("a") as file:
            file.write('{"event":"requ')
    assert [(call.n, call.status) for call in calls(path)] == [(1, 200), (1, 200)]


def test_too_early():
    """A call before the end of the wait that its key was asked for is found."""
    told = Call(1, 10.0, "a", "m", 1, 1, status=429, retry_after=2.0, ended=10.0)
    early, other, late = (
        Call(2, 11.0, "a", "m", 2, 1),
        Call(3, 11.0, "b", "m", 1, 1),
        Call(4, 12.5, "a", "m", 3, 1),
    )
    assert too_early([told, early, other, late]) == [early]


# As a process


def test_spawned(tmp_path):
    """Spawned it is a process of its own that knows its settings and is gone after the block."""
    path = tmp_path / "calls.jsonl"
    with spawn(labels=WAR, gold={"so, a text": "pro"}, accuracy=1, ledger=str(path)) as provider:
        with Client(provider) as client:
            client.chat("text")
        assert provider.process.pid != os.getpid()
        told = provider.distribution("so, a text")
        assert max(told, key=told.get) == "pro"
        assert len(provider.calls()) == 1
    assert provider.process.poll() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", provider.port), timeout=1)


def test_command_line(tmp_path):
    """The command prints its base URL, obeys its flags, and on SIGTERM writes its ledger and ends with 0."""
    path = tmp_path / "calls.jsonl"
    flags = [
        "--labels",
        "yes,no",
        "--ledger",
        str(path),
        "--faults",
        "500=1",
        "--no-logprobs",
        "--latency",
        "0.001",
    ]
    command = [sys.executable, "-m", "catena.testing.provider", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        connection = HTTPConnection(
            "127.0.0.1", int(url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        )
        connection.request("POST", "/v1/chat/completions", json.dumps(request("text")))
        assert connection.getresponse().status == 500
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert [call.fault for call in calls(path)] == ["500"]


def test_open_calls_end_with_the_process(tmp_path):
    """A call still open at SIGTERM stands in the ledger as dropped."""
    path = tmp_path / "calls.jsonl"
    with spawn(ledger=str(path), faults={"timeout": 1}) as provider, Client(provider) as client:
        client.connection.request("POST", "/v1/chat/completions", json.dumps(request("text")))
        wait_for(provider, "in_flight")
        provider.process.terminate()
        provider.process.wait(5)
    (call,) = calls(path)
    assert (call.status, call.ended is None) == (0, False)


@pytest.mark.parametrize("flags", [["--faults", "flood=1"], ["--latency", "soon"], ["--settings", "{"]])
def test_wrong_flags(capsys, flags):
    """Wrong flags end with code 2 and one line."""
    assert main(flags) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_flag_is_named(capsys):
    """With how a table is written."""
    assert main(["--accuracy", '{"small": 0.7}']) == 2
    said = capsys.readouterr().err
    assert said.startswith('--accuracy {"small": 0.7}: ')
    assert said.endswith("A table is written a=0.1,b=0.2.\n")


def test_texts_of_settings():
    """The command line's lists and tables are read as such."""
    assert from_text("labels", "1, 0") == ["1", "0"]
    assert from_text("accuracy", "cheap=0.7,dear=0.9") == {"cheap": 0.7, "dear": 0.9}
    assert from_text("accuracy", "0.8") == 0.8
    assert from_text("concurrency", "4") == 4


def test_every_fault_is_served():
    """Every fault in the list can be asked for and ends up in the ledger under its name."""
    for name in set(FAULTS) - {"timeout", "reset"}:
        with FakeProvider(faults={name: 1}, drip=0.0) as provider, Client(provider) as client:
            try:
                client.chat("text")
            except (HTTPException, ValueError):
                client.connection.close()
            assert [call.fault for call in provider.calls()] == [name]
