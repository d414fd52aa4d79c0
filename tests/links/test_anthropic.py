"""The anthropic link: the Messages API as it is, and no malformed answer becomes a label."""

import datetime as dt
import json
import time

import pytest

from catena.errors import LinkError, TaskError
from catena.links import open_link
from catena.links.anthropic import rate
from catena.testing import check_link
from catena.testing.provider import FakeProvider
from catena.types import Failure, Item, Vote
from chains import LABELS, anthropic, ask, chain_task, open_alone, texts

CANARY = "sk-ant-canary/7f3a9"
RETRIED = {"timeout": "timeout", "reset": "transport", "garbage": "bad_body", "empty_body": "bad_body",
           "500": "server", "503": "overloaded", "429": "rate_limit", "429_retry_after": "rate_limit"}  # fmt: skip
FINAL = {"refusal": "refused", "filtered": "refused", "no_label": "no_label", "two_labels": "many_labels",
         "empty_answer": "empty", "no_choices": "empty", "cut": "cut", "400": "bad_request"}  # fmt: skip


def link_to(provider, task=None, **options):
    """Return an anthropic link to the provider."""
    return open_alone(anthropic(provider, **options), **(task or {}))


def test_keeps_the_contract_of_links():
    """`check_link` passes."""
    with FakeProvider(labels=list(LABELS)) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(3))]
        check_link(link_to(provider), items, list(LABELS))


def test_votes():
    """The label is the one that the model finds likeliest; there is no confidence; tokens are counted and paid."""
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        link = link_to(provider, price={"input": 1.0, "output": 10.0})
        prompts = [link.render(Item(0, "1", text)) for text in texts(20)]
        for prompt, vote in zip(prompts, ask(link, *prompts), strict=True):
            truth = provider.distribution(prompt, "small")
            assert isinstance(vote, Vote)
            assert (vote.confidence, vote.source, vote.logprobs) == (None, "none", None)
            assert (vote.label, vote.model) == (max(truth, key=truth.get), "small")
            used = vote.usage
            assert used.cost_usd == pytest.approx((used.prompt_tokens + 10 * used.completion_tokens) / 1e6)
            assert used.cost_usd <= link.most(prompt).cost_usd


@pytest.mark.parametrize(("fault", "reason"), (RETRIED | FINAL).items())
def test_malformed_answers(fault, reason):
    """Every malformed answer is a failure with its reason, retryable only where asking again may help."""
    with FakeProvider(labels=list(LABELS), faults={fault: 1}) as provider:
        (answer,) = ask(link_to(provider, timeout=0.5 if fault == "timeout" else 30), "What?")
    assert isinstance(answer, Failure), answer
    assert (answer.reason, answer.retryable) == (reason, fault in RETRIED)


def test_request_is_anthropics(monkeypatch):
    """System prompt, max_tokens and body fields stand where the Messages API has them; null takes one out."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(
            provider, {"system": "Be brief."}, body={"temperature": None, "top_k": 1}, max_tokens=7
        )
    assert link.question("Hi \ud800") == {
        "messages": [{"role": "user", "content": "Hi ?"}],
        "model": "small",
        "max_tokens": 7,
        "system": "Be brief.",
        "top_k": 1,
    }


def test_key(monkeypatch):
    """The key goes into x-api-key; a wrong one stops the run in a line that names its variable and not the key."""
    with FakeProvider(labels=list(LABELS), api_key=CANARY) as provider:
        with pytest.raises(LinkError, match=r"HTTP 401.*api_key_env"):
            ask(link_to(provider), "What?")
        monkeypatch.setenv("KEY", CANARY)
        (vote,) = ask(link_to(provider, api_key_env="KEY"), "What?")
        assert isinstance(vote, Vote)
        monkeypatch.setenv("KEY", f"{CANARY}-wrong")
        with pytest.raises(LinkError, match=r"HTTP 401.*Check the key in KEY") as error:
            ask(link_to(provider, api_key_env="KEY"), "What?")
        assert CANARY not in str(error.value)


def test_own_address_wants_its_key(monkeypatch):
    """At Anthropic's own address the key is in ANTHROPIC_API_KEY, and the price in the list."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    task = chain_task({"name": "a", "kind": "anthropic", "model": "claude-haiku-4-5"})
    link = open_link(task.chain[0], task)
    assert link.most("x" * 1000).cost_usd > 0.001
    with pytest.raises(LinkError, match=r"no key in ANTHROPIC_API_KEY"):
        link.ready()


@pytest.mark.parametrize("field", ["model", "messages", "system", "stream"])
def test_body_cannot_take_over_the_call(field):
    """What the link sets itself is refused in `body`."""
    with FakeProvider() as provider, pytest.raises(TaskError, match=f"body: {field} can't be set"):
        link_to(provider, body={field: "x"})


def test_no_balance_stops_the_run():
    """An empty account is refused with status 400: that is no fault of the item."""
    with FakeProvider() as provider:
        link = link_to(provider)
        said = {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "Your credit balance is too low."},
        }
        from catena.links.client import Reply

        with pytest.raises(LinkError, match="Check the account's balance"):
            link._refused(Reply(400, json.dumps(said).encode(), lambda _: None))


def test_limits_of_the_headers():
    """Anthropic's rate-limit headers are read; nonsense is none."""
    soon = dt.datetime.fromtimestamp(time.time() + 30, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": soon,
        "anthropic-ratelimit-tokens-limit": "many",
        "anthropic-ratelimit-tokens-remaining": "1",
    }
    found = rate(headers.get)
    assert (found.requests.most, found.requests.left, found.tokens) == (50, 49, None)
    assert 20 < found.requests.reset <= 31
    assert rate({}.get) is None


def test_mode_shapes_no_vote():
    """A link keeps its votes when it changes its mode."""
    with FakeProvider() as provider:
        assert link_to(provider, mode="batch", shard=5, poll=1).fingerprint == link_to(provider).fingerprint
