"""What a run has cost is all of it: tries, samples, unseen thoughts, cached tokens and the discount of batches."""

import msgspec
import pytest

from catena.ledger import Ledger
from catena.links import open_link
from catena.testing.answers import Annotator, Reply
from catena.testing.provider import FakeProvider
from chains import BATCH, KINDS, LABELS, answers_in, chain_task, execute, openai, rows_of, texts

PRICE = {"input": 2.0, "output": 20.0}
ROWS = 30

kinds = pytest.mark.parametrize("kind", KINDS)


def used(tmp_path, provider, kind, rows=ROWS, **options):
    """Run one link and return the usage of each vote, and what the ledger says of all."""
    task = chain_task(KINDS[kind](provider, price=PRICE, **options), data={"id": "id"})
    execute(task, rows_of(texts(rows)), tmp_path / "r")
    with Ledger(tmp_path / "r") as ledger:
        ((number, _),) = ledger.links().values()
        spent = ledger.spent(number)
    return [answer.usage for answer in answers_in(tmp_path / "r", "small").values()], spent


def price(usage):
    """What these tokens cost."""
    return (2 * usage.prompt_tokens + 20 * usage.completion_tokens) / 1e6


@kinds
def test_every_try_is_counted(tmp_path, kind):
    """With faults, the calls of the votes are the requests that the server saw, and the run's cost is that of its votes."""
    with FakeProvider(labels=list(LABELS), faults={"500": 0.2, "429": 0.1}) as provider:
        votes, spent = used(tmp_path, provider, kind)
        requests = provider.stats()["requests"]
    assert requests > ROWS
    assert sum(vote.calls for vote in votes) == spent["calls"] == requests
    assert spent["cost_usd"] == pytest.approx(sum(map(price, votes)))


@kinds
def test_an_answer_that_names_no_label_is_paid(tmp_path, kind):
    """A failed vote has used its tokens all the same."""
    with FakeProvider(labels=list(LABELS), faults={"no_label": 1.0}) as provider:
        votes, spent = used(tmp_path, provider, kind, most_failed=1.0)
    assert spent["cost_usd"] == pytest.approx(sum(map(price, votes)))
    assert all(vote.completion_tokens and vote.cost_usd for vote in votes)


@kinds
def test_samples_are_all_paid(tmp_path, kind):
    """A vote of five samples costs five calls."""
    with FakeProvider(labels=list(LABELS)) as provider:
        votes, spent = used(tmp_path, provider, kind, confidence="samples")
        alone, _ = used(tmp_path / "alone", provider, kind)
    assert spent["calls"] == 5 * ROWS
    assert [vote.prompt_tokens for vote in votes] == [5 * vote.prompt_tokens for vote in alone]
    assert spent["cost_usd"] == pytest.approx(sum(map(price, votes)))


@kinds
def test_unseen_thoughts_are_paid(tmp_path, kind):
    """Tokens that a reasoning model thinks before its answer are tokens of the answer."""
    model = Annotator(list(LABELS))

    def thinks(asked):
        return msgspec.structs.replace(model(asked), thought=300)

    with FakeProvider(thinks, labels=list(LABELS)) as provider:
        votes, spent = used(tmp_path, provider, kind, max_tokens=1000)
    assert all(vote.completion_tokens > 300 for vote in votes)
    assert spent["cost_usd"] == pytest.approx(sum(map(price, votes)))


def test_thoughts_that_only_the_total_tells_are_paid():
    """Some servers leave them out of completion_tokens; prompt and answer then don't add up to the total."""
    task = chain_task(openai(FakeProvider(), price=PRICE))
    link = open_link(task.chain[0], task)
    said = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 402}
    said |= {"completion_tokens_details": {"reasoning_tokens": 300}}
    body = {"choices": [{"message": {"content": "favor"}, "finish_reason": "stop"}], "usage": said}
    found = link.read(msgspec.json.encode(body)).usage
    assert (found.completion_tokens, found.cost_usd) == (302, pytest.approx(6240 / 1e6))


def test_tokens_from_the_cache_are_cheaper_in_the_run(tmp_path):
    """The run's cost is that of full price less what the cache saved."""
    long = {"instruction": "Read with care. " * 200}
    with FakeProvider(labels=list(LABELS), cache_block=64) as provider:
        task = chain_task(openai(provider, price=PRICE | {"cached": 0.2}, concurrency=1), **long)
        execute(task, rows_of(texts(5)), tmp_path / "r")
    votes = [answer.usage for answer in answers_in(tmp_path / "r", "small").values()]
    saved = 4 * (2.0 - 0.2) * (len(long["instruction"]) // 4 // 64 * 64) / 1e6
    assert sum(vote.cost_usd for vote in votes) == pytest.approx(sum(map(price, votes)) - saved)


@kinds
def test_a_run_in_batches_costs_half(tmp_path, kind):
    """All of its votes, and so the run."""
    with FakeProvider(labels=list(LABELS)) as provider:
        votes, spent = used(tmp_path, provider, kind, **BATCH)
    assert spent["cost_usd"] == pytest.approx(sum(map(price, votes)) / 2)
    assert Reply("favor").thought == 0
