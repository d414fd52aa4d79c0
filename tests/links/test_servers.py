"""Recorded answers of real servers are read as the votes and failures that they are."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from catena.links import open_link
from catena.links.wire import status_failure
from catena.types import Vote
from chains import chain_task

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
