"""What a few calls find out of a server, and the tokens in what it says."""

import asyncio

import pytest

from catena.confidence.parting import parts_at, sharing
from catena.links import open_link
from catena.links.openai_probe import REPEAT
from catena.links.probe import tokens_in
from catena.testing.provider import FakeProvider, Reply
from chains import chain_task, openai

LABELS = ("pro", "pro-war", "neutral")


def probe(provider, labels=LABELS, **options):
    """Return what is found out."""
    task = chain_task(openai(provider, **options), labels=labels)
    link = open_link(task.chain[0], task)

    async def work():
        try:
            return await link.probe("Which one?")
        finally:
            await link.close()

    return asyncio.run(work())


@pytest.mark.parametrize("quirk", ["", "vllm", "llamacpp"])
def test_by_the_servers_own_tokenizer(quirk):
    """Tokens of labels, where they part and which share their first token."""
    serves = ["tokenize", "json_schema"]
    with FakeProvider(labels=list(LABELS), serves=serves, quirk=quirk) as provider:
        found = probe(provider)
    assert (found.logprobs, found.listed, found.structured) == (True, 20, True)
    assert found.tokens_from == "tokenizer"
    assert found.tokens == {"pro": ["pro"], "pro-war": ["pro", "-", "war"], "neutral": ["neut", "ral"]}
    assert found.parts_at == {"pro": 2, "pro-war": 2, "neutral": 1}
    assert found.shared == [["pro", "pro-war"]]


def test_by_what_a_model_repeats():
    """Where no tokenizer can be asked, the model says the labels and its tokens are looked at."""

    def model(request):
        said = request["messages"][-1]["content"]
        return Reply(said.removeprefix(f"{REPEAT}\n") if said.startswith(REPEAT) else "pro")

    with FakeProvider(model, labels=list(LABELS)) as provider:
        found = probe(provider)
        assert found.calls == len(provider.calls())
    assert (found.tokens_from, found.structured) == ("answer", False)
    assert found.tokens["pro-war"] == ["pro", "-", "war"]


def test_a_model_that_repeats_nothing():
    """Tokens are unknown then, and nothing is made up."""
    with FakeProvider(lambda _: Reply("Sure! Here you are."), labels=list(LABELS)) as provider:
        assert (probe(provider).tokens, probe(provider).parts_at) == ({}, {})


def test_a_server_without_log_probabilities():
    """One that leaves them out, and one that refuses to be asked for any."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        found = probe(provider)
        assert (found.logprobs, found.refused) == (False, "")
        provider.control(no_logprobs=False, most_logprobs=3)
        found = probe(provider)
    assert (found.logprobs, found.listed) == (False, None)
    assert "greater than max allowed: 3" in found.refused


def test_a_server_that_allows_few():
    """One that refuses 20 alternatives gives five."""
    with FakeProvider(labels=list(LABELS), most_logprobs=5) as provider:
        assert (probe(provider).logprobs, probe(provider).listed) == (True, 5)


@pytest.mark.parametrize(
    ("lines", "said", "expected"),
    [
        (["a b", "c"], ["a", " b", "\n", "c"], {"a b": ["a", " b"], "c": ["c"]}),
        (["a", "b"], ["a\n", "b"], {"a": ["a"], "b": ["b"]}),
        (["a", "b"], ["a", "\nb"], {"a": ["a"], "b": ["b"]}),
        (["a", "b"], ["a", "x"], {"a": ["a"]}),
        (["ab"], ["a"], {}),
        (["ab"], ["abc"], {}),
        (["a"], [], {}),
    ],
)
def test_tokens_in_lines(lines, said, expected):
    """Lines are found in order, as far as they are said."""
    assert tokens_in(lines, said) == expected


def test_parting():
    """A label that another one goes on from parts from it at its end."""
    tokens = {"a": ["x"], "b": ["x", "y"], "c": ["x", "y", "z"], "d": ["w"]}
    assert parts_at(tokens) == {"a": 2, "b": 3, "c": 3, "d": 1}
    assert sharing(tokens) == [["a", "b", "c"]]
    assert (parts_at({}), sharing({})) == ({}, [])
