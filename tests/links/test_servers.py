"""Recorded answers of real servers are read as the votes and failures that they are."""

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from catena.errors import LinkError
from catena.links import open_link
from catena.links.refusal import status_failure
from catena.types import Vote
from chains import chain_task
from shapes import Shape, ShapedServer

FOLDER = Path(os.environ.get("CATENA_SERVERS", "/nowhere")) / "responses"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="CATENA_SERVERS names no folder of recorded answers"
)
LABELS = ("very_positive", "positive", "neutral", "negative", "very_negative")


def recorded(pattern):
    """Return server and content of the recordings with this name."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob(pattern))}
    return {name: record for name, record in found.items() if isinstance(record.get("response"), dict)}


def read(record):
    """Read a recorded answer with an openai link."""
    task = chain_task(
        {"name": "a", "kind": "openai", "model": "m", "base_url": "http://x", "price": "free"}, labels=LABELS
    )
    return open_link(task.chain[0], task).read(msgspec.json.encode(record["response"]), 1.0)


@pytest.mark.parametrize(("name", "record"), recorded("*__chat_*.json").items())
def test_chat(name, record):
    """A 200 answer whose text is a label is a vote for it or for a likelier label; any other is a failure, never a wrong body."""
    if record["status"] != 200 or "choices" not in record["response"]:
        pytest.skip("not an answer")
    answer = read(record)
    text = (record["response"]["choices"][0]["message"]["content"] or "").strip()
    if text in LABELS and record["response"]["choices"][0]["finish_reason"] == "stop":
        assert isinstance(answer, Vote), answer
        assert answer.label == text or answer.source == "label_logprobs"
    elif not isinstance(answer, Vote):
        assert answer.reason in {"no_label", "many_labels", "empty", "cut"}, answer
    if isinstance(answer, Vote) and answer.confidence is not None:
        assert answer.confidence >= 0


@pytest.mark.parametrize("server", ["vllm", "llamaserver", "llamacpp"])
def test_five(server):
    """The same question at temperature 0 has the same label on all servers, with log-probabilities."""
    (record,) = recorded(f"{server}__chat_five.json").values()
    answer = read(record)
    assert (answer.label, answer.source) == ("very_positive", "label_logprobs")
    assert answer.logprobs[0] is not None


def test_transformers_serve():
    """Transformers serve gives no log-probabilities: a vote without confidence."""
    (record,) = recorded("tfserve__chat_five.json").values()
    answer = read(record)
    assert (answer.label, answer.confidence, answer.source) == ("very_positive", None, "none")


@pytest.mark.parametrize(("name", "record"), recorded("*__err_long.json").items())
def test_too_long(name, record):
    """A prompt beyond the model's context is too_long, on every server that refuses it."""
    if record["status"] == 200:
        pytest.skip("this server accepts it")
    failure = status_failure(record["status"], json.dumps(record["response"]), None)
    assert (failure.reason, failure.retryable) == ("too_long", False), failure


@pytest.mark.parametrize(("name", "record"), recorded("*__err_*.json").items())
def test_errors_are_one_line(name, record):
    """Every recorded error becomes one line with its status."""
    if record["status"] == 200:
        pytest.skip("this server accepts it")
    failure = status_failure(record["status"], json.dumps(record["response"]), None)
    assert failure.message.startswith(f"HTTP {record['status']}: ")
    assert "\n" not in failure.message


REFUSED = {
    "vllm": "stops",
    "llamaserver": "accepts",
    "llamacpp": "accepts",
    "tfserve": "bad_request",
    "litellm": "bad_request",
}


def replayed(name):
    """Ask a server that gives a recorded answer over HTTP, with the address that the page of providers has for it."""
    (record,) = recorded(f"{name}.json").values()
    with ShapedServer(Shape("/v1/chat/completions", key=None)) as server:
        server.instead = (record["status"], {}, record["response"])
        given = {"name": "a", "kind": "openai", "model": "tiny", "base_url": server.base_url, "price": "free"}
        task = chain_task(given, labels=LABELS)
        link = open_link(task.chain[0], task)

        async def work():
            try:
                return await link.ask(["What?"])
            finally:
                await link.close()

        return asyncio.run(work())[0], record


@pytest.mark.parametrize("server", REFUSED)
def test_a_vote_over_http(server):
    """Each recorded answer is the same vote when it comes over HTTP, with the tokens that the server counted."""
    answer, record = replayed(f"{server}__chat_five")
    assert answer.label == "very_positive"
    assert answer.source == ("none" if server == "tfserve" else "label_logprobs")
    used = record["response"]["usage"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        used["prompt_tokens"],
        used["completion_tokens"],
    )


@pytest.mark.parametrize(("server", "expected"), REFUSED.items())
def test_an_unknown_model_over_http(server, expected):
    """It stops the run where the server says 404, is a failure where it says 400, and a vote where it does not mind."""
    if expected == "stops":
        with pytest.raises(LinkError, match=r"HTTP 404.*Check model and base_url"):
            replayed(f"{server}__err_model")
        return
    answer, _ = replayed(f"{server}__err_model")
    assert isinstance(answer, Vote) if expected == "accepts" else answer.reason == expected


@pytest.mark.parametrize("server", ["vllm", "llamaserver", "llamacpp", "litellm", "litellm_vllm"])
def test_too_long_over_http(server):
    """A prompt beyond the context fails its item alone, and is not asked again."""
    answer, _ = replayed(f"{server}__err_long")
    assert (answer.reason, answer.retryable) == ("too_long", False)
