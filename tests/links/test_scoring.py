"""Servers that score labels themselves: the scores are the model's, and what a server can't do is said."""

import asyncio
import json
import math
import os
from pathlib import Path

import msgspec
import pytest

from catena.confidence import LabelScorer
from catena.errors import LinkError, TaskError
from catena.links import open_link
from catena.links.likelihood import Likely, label_logprob
from catena.links.scoring import read_choice, read_first_token
from catena.testing import check_link
from catena.testing.provider import FakeProvider
from catena.types import Item, Vote
from chains import LABELS, chain_task, openai, texts

SERVES = ["tokenize", "logprob_token_ids", "prompt_logprobs", "systemone"]
ALIKE = ("pro", "pro-war", "pro-peace", "neutral")
FOLDER = Path(os.environ.get("CATENA_SERVERS", "/nowhere")) / "responses"
THREE = ["positive", "negative", "neutral"]


def recorded(name):
    """Return a recorded answer's body, or skip."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip("CATENA_SERVERS names no folder of recorded answers")
    return json.loads(path.read_text("utf-8"))["response"]


def link_to(provider, labels=LABELS, **options):
    """Return a link to the provider; `abstain` is the task's."""
    more = {"abstain": options.pop("abstain")} if "abstain" in options else {}
    task = chain_task(openai(provider, **options), labels=labels, **more)
    return open_link(task.chain[0], task)


def ask(link, *prompts):
    """Ask about prompts, and close."""

    async def work():
        try:
            return [(await link.ask([prompt]))[0] for prompt in prompts]
        finally:
            await link.close()

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("scoring", "labels", "source"),
    [
        ("first-token", LABELS, "first_token_logprobs"),
        ("likelihood", ALIKE, "label_likelihood"),
        ("likelihood", LABELS, "label_likelihood"),
        ("systemone", ALIKE, "systemone"),
    ],
)
def test_scores_are_the_models(scoring, labels, source):
    """Every label's probability, its bounds and the label are those of the known distribution."""
    with FakeProvider(labels=list(labels), serves=SERVES, quirk="vllm", other=0.0) as provider:
        link = link_to(provider, labels, scoring=scoring)
        prompts = [link.render(Item(0, "1", text)) for text in texts(12)]
        votes = ask(link, *prompts)
        for prompt, vote in zip(prompts, votes, strict=True):
            truth = provider.distribution(prompt, "small")
            # What is answered as written; other spellings have their share of a label in this model.
            share = 0.8 if scoring == "likelihood" else 1.0
            assert vote.source == source
            assert vote.label == max(truth, key=truth.get)
            for label, logprob in zip(labels, vote.logprobs, strict=True):
                assert math.exp(logprob) == pytest.approx(share * truth[label], abs=1e-3)
            first, second = sorted(truth.values())[:-3:-1]
            assert vote.confidence == pytest.approx(math.log(first / second), abs=0.05)
            if vote.lower:
                for low, label, high in zip(vote.lower, labels, vote.upper, strict=True):
                    assert low - 1e-6 <= share * truth[label] <= high + 1e-6


def test_a_label_takes_a_call():
    """The likelihood of k labels takes k calls, all of them counted and bounded."""
    price = {"input": 1.0, "output": 1.0}
    with FakeProvider(labels=list(ALIKE), serves=SERVES, quirk="vllm") as provider:
        link = link_to(provider, ALIKE, scoring="likelihood", price=price)
        assert link.capabilities.calls == len(ALIKE)
        (vote,) = ask(link, "Which one?")
        most = link.most("Which one?")
        assert len(provider.calls()) == vote.usage.calls == most.calls == len(ALIKE)
    assert vote.usage.cost_usd <= most.cost_usd


def test_labels_that_share_their_first_token_are_refused():
    """First tokens can't tell them apart: the line names them and the other way."""
    with FakeProvider(labels=list(ALIKE), serves=SERVES, quirk="vllm") as provider:
        link = link_to(provider, ALIKE, scoring="first-token")
        with pytest.raises(LinkError, match=r"share their first token: pro, pro-war.*likelihood"):
            ask(link, "Which one?")


def test_more_labels_than_are_listed():
    """A server lists 20 tokens at most: labels beyond that are refused, other spellings are left out."""
    many = [f"{chr(97 + at)}bc" for at in range(24)]
    with FakeProvider(labels=many, serves=SERVES, quirk="vllm", other=0.0) as provider:
        with pytest.raises(LinkError, match="24 labels are more than the server lists"):
            ask(link_to(provider, many, scoring="first-token"), "Which one?")
        provider.control(labels=many[:12])
        link = link_to(provider, many[:12], scoring="first-token")
        for prompt, vote in zip(texts(6), ask(link, *texts(6)), strict=True):
            truth = provider.distribution(prompt, "small")
            assert all(low <= truth[label] for low, label in zip(vote.lower, many, strict=False))
            assert all(truth[label] <= high + 1e-9 for label, high in zip(many, vote.upper, strict=False))


@pytest.mark.parametrize("scoring", ["first-token", "likelihood", "systemone"])
def test_it_costs_what_its_tokens_cost(scoring):
    """Every way is priced, so that a budget knows of it."""
    with FakeProvider(labels=list(LABELS), serves=SERVES) as provider:
        (vote,) = ask(link_to(provider, scoring=scoring, price={"input": 10, "output": 30}), "Which?")
    used = vote.usage
    assert used.prompt_tokens
    assert used.cost_usd == pytest.approx((used.prompt_tokens * 10 + used.completion_tokens * 30) / 1e6)


@pytest.mark.parametrize(("scoring", "says"), [("first-token", "/tokenize"), ("systemone", "/systemone")])
def test_a_server_that_has_no_such_page(scoring, says):
    """It is no fault of an item: the link is unusable, and the line says why."""
    with FakeProvider(labels=list(LABELS)) as provider, pytest.raises(LinkError, match=says):
        ask(link_to(provider, scoring=scoring), "Which one?")


@pytest.mark.parametrize("scoring", ["first-token", "likelihood"])
def test_a_server_that_ignores_the_request(scoring):
    """An answer without what was asked for is a failure, never a label."""
    with FakeProvider(labels=list(LABELS), serves=["tokenize"], no_logprobs=True) as provider:
        (answer,) = ask(link_to(provider, scoring=scoring), "Which one?")
    assert (answer.reason, answer.retryable) == ("no_label", False)


@pytest.mark.parametrize("scoring", ["first-token", "likelihood", "systemone"])
def test_keeps_the_contract_of_links(scoring):
    """`check_link` passes."""
    with FakeProvider(labels=list(LABELS), serves=SERVES, quirk="vllm", sharpness=20.0) as provider:
        link = link_to(provider, scoring=scoring)
        check_link(link, [Item(at, str(at), text) for at, text in enumerate(texts(3))], list(LABELS))


@pytest.mark.parametrize("scoring", ["first-token", "likelihood", "systemone"])
def test_abstaining(scoring):
    """The word for none of the labels is scored beside them, and is no label."""
    answers = [*LABELS, "unclear"]
    with FakeProvider(labels=answers, serves=SERVES, quirk="vllm", other=0.0) as provider:
        link = link_to(provider, scoring=scoring, abstain="unclear")
        prompts = [f"text {at}" for at in range(24)]
        for prompt, answer in zip(prompts, ask(link, *prompts), strict=True):
            truth = provider.distribution(prompt, "small")
            best = max(truth, key=truth.get)
            assert (answer.label if isinstance(answer, Vote) else answer.reason) == (
                "abstained" if best == "unclear" else best
            )
            assert not isinstance(answer, Vote) or len(answer.logprobs) == len(LABELS)


@pytest.mark.parametrize(
    "other", [{"codes": True}, {"think": 20}, {"mode": "batch"}, {"confidence": "samples"}]
)
def test_what_does_not_go_with_it(other):
    """A line names both options."""
    with pytest.raises(TaskError, match=f"scoring: likelihood does not go with {next(iter(other))}"):
        link_to(type("", (), {"base_url": "http://localhost:1/v1"}), scoring="likelihood", **other)


def test_it_shapes_votes():
    """Another way to score makes other votes; saying the usual one does not."""
    server = type("", (), {"base_url": "http://localhost:1/v1"})
    found = {way: link_to(server, scoring=way).fingerprint for way in ("answer", "likelihood", "first-token")}
    assert len(set(found.values())) == 3
    assert link_to(server).fingerprint == found["answer"]


def test_recorded_first_tokens():
    """VLLM's recorded answer lists exactly the tokens that were asked for."""
    said = msgspec.convert(recorded("vllm__x_lp_token_ids"), Likely)
    vote = read_first_token(said, LabelScorer(THREE))
    assert vote.label == "positive"
    assert [round(value, 4) for value in vote.logprobs] == [-0.1764, -5.0319, -5.1559]
    assert vote.upper[1] == pytest.approx(1 - math.exp(-0.17641665) - math.exp(-5.15594), abs=1e-3)


def test_recorded_prompt():
    """The log-probability of a label of three tokens is read from the end of vLLM's recorded prompt."""
    (choice,) = recorded("vllm__x_comp_prompt_lp")["choices"]
    tokens = msgspec.convert(
        {"choices": [], "prompt_logprobs": choice["prompt_logprobs"]}, Likely
    ).prompt_logprobs
    exact = [next(iter(each.values())).logprob for each in tokens[-3:]]
    assert label_logprob(tokens, "very_positive") == pytest.approx(sum(exact))
    assert label_logprob(tokens, "very_negative") is None


@pytest.mark.parametrize(("server", "best"), [("tfserve", 0.93783), ("vllmproc", 0.37438)])
def test_recorded_choices(server, best):
    """Transformers serve and vLLM choose among options, with a probability of each."""
    body = recorded(f"{server}__x_systemone")
    body["answers"] = {"label": body["answers"]["s"]}
    vote = read_choice(json.dumps(body).encode(), 1.0, THREE)
    assert (vote.label, round(math.exp(vote.logprobs[0]), 5)) == ("positive", best)
    assert vote.usage.prompt_tokens > 0
