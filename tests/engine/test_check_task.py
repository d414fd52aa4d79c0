"""What `catena check` finds out, with a few calls per link."""

import asyncio

import pytest

from catena.data.rows import read_rows
from catena.engine.check import _call, check_task
from catena.testing.provider import FakeProvider
from catena.types import Capabilities, Failure, Item, Usage, Vote
from chains import LABELS, chain_task, openai, rows_of
from tables import vote, write_votes


@pytest.mark.parametrize(
    ("faults", "answered"), [({}, True), ({"no_label": 1}, False), ({"refusal": 1}, False)]
)
def test_a_link_works_when_its_answer_names_a_label(faults, answered):
    """An answer that is no label is not what a run needs."""
    with FakeProvider(labels=list(LABELS), faults=faults) as provider:
        (link,) = check_task(chain_task(openai(provider)), None)["links"]
    assert link["answered"] is answered


def test_a_replay_link_may_lack_the_one_vote(tmp_path):
    """The item that is asked about need not be recorded for the link to work."""
    votes = write_votes(tmp_path, [vote("a", "old", "favor")])
    task = chain_task({"name": "old", "kind": "replay", "votes": str(votes)})
    (link,) = check_task(task, None)["links"]
    assert (link["answered"], link["label"]) == (True, None)


def test_a_row_that_the_template_fails_on_costs_nothing():
    """It will be a failed row without a call; the others are bounded."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(
            openai(provider, price={"input": 1.0, "output": 1.0}),
            data={"id": "id"},
            instruction="{{ 1 / (0 if year == 'x' else 1) }}?",
        )
        rows = read_rows(rows_of(["a", "b"], year=["1", "x"]), task.data, task.labels)
        assert check_task(task, rows)["most_usd"] > 0


def test_one_odd_answer_says_little_of_a_model():
    """The next item is asked about; what both calls cost is counted."""
    said = [
        Failure("no_label", "answered 'hm'", usage=Usage(cost_usd=0.5)),
        Vote("favor", usage=Usage(cost_usd=0.25)),
    ]

    class Odd:
        name, capabilities = "odd", Capabilities(model="m")

        def ready(self):
            pass

        def render(self, item):
            return item.text

        async def ask(self, prompts):
            assert prompts == ["one" if len(said) == 2 else "two"]
            return [said.pop(0)]

    found = asyncio.run(_call(Odd(), [Item(0, "a", "one"), Item(1, "b", "two"), Item(2, "c", "three")]))
    assert (found["answered"], found["label"], found["error"], found["paid_usd"]) == (
        True,
        "favor",
        None,
        0.75,
    )


def test_what_the_check_itself_costs_is_told():
    """All its calls, as the provider was paid for them."""
    price = {"input": 1.0, "output": 2.0}
    with FakeProvider(labels=list(LABELS)) as provider:
        result = check_task(chain_task(openai(provider, price=price)), None)
        calls = [call for call in provider.calls() if call.status == 200]
    assert len(calls) > 1
    (link,) = result["links"]
    assert 0 < link["gives"]["cost_usd"] < link["paid_usd"] == result["paid_usd"]


def test_what_a_server_offers_is_named_with_its_calls():
    """A link that says nothing is told what it might say; one that has the server score labels is not."""
    serves = ["tokenize", "logprob_token_ids", "prompt_logprobs", "systemone"]
    with FakeProvider(labels=list(LABELS), serves=serves, quirk="vllm") as provider:
        plain, scored = (
            check_task(chain_task(openai(provider, **options)), None)["links"][0]
            for options in ({}, {"scoring": "likelihood"})
        )
        auto = check_task(chain_task(openai(provider, scoring="auto")), None)["links"][0]
    assert [(each["options"], each["calls"]) for each in plain["offered"]] == [
        ({"scoring": "first-token"}, 1),
        ({"scoring": "likelihood"}, len(LABELS)),
        ({"scoring": "systemone"}, 1),
    ]
    assert plain["recommended"]["options"] == {"confidence": "logprobs"}
    assert scored["offered"] == auto["offered"] == []
    assert auto["recommended"]["options"] == {"scoring": "first-token"}
