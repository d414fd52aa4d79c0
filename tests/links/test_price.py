"""Prices: cached tokens cost what the provider takes for them, and no bound is below what is paid."""

import msgspec
import pytest

from catena.errors import TaskError
from catena.links import open_link
from catena.links.batch import half
from catena.links.price import Price, find_price
from catena.testing.provider import FakeProvider
from catena.types import Item
from chains import KINDS, LABELS, answers_in, ask, chain_task, execute, openai, rows_of, texts

PRICE = {"input": 10.0, "output": 100.0, "cached": 1.0}
LONG = "Read with care. " * 200


def test_tokens_from_the_cache_cost_less(tmp_path):
    """With a long static part, all calls but the first pay the cached price for it, and the votes' costs say so."""
    with FakeProvider(labels=list(LABELS), cache_block=64) as provider:
        task = chain_task(openai(provider, price=PRICE, concurrency=1), instruction=LONG, data={"id": "id"})
        execute(task, rows_of(texts(5)), tmp_path / "r")
    answers = answers_in(tmp_path / "r", "small")
    full = [
        Price(10.0, 100.0).usd(a.usage.prompt_tokens, a.usage.completion_tokens) for a in answers.values()
    ]
    paid = [answer.usage.cost_usd for answer in answers.values()]
    static = len(LONG) // 4 // 64 * 64
    assert paid[0] == pytest.approx(full[0])
    for one, whole in zip(paid[1:], full[1:], strict=True):
        assert one == pytest.approx(whole - 9.0 * static / 1e6)


@pytest.mark.parametrize(("keep", "surcharge"), [({}, 0.25), ({"ttl": "1h"}, 1.0)])
def test_anthropic_counts_what_it_reads_and_writes(keep, surcharge):
    """Its input tokens leave cached ones out: they are counted, reading is cheap, writing dear; the bound holds."""
    with FakeProvider(labels=list(LABELS), cache_block=64) as provider:
        cache = {"cache_control": {"type": "ephemeral", **keep}}
        task = chain_task(KINDS["anthropic"](provider, price=PRICE, body=cache), instruction=LONG)
        link = open_link(task.chain[0], task)
        prompt = link.render(Item(0, "1", "Good."))
        first, second = ask(link, prompt, prompt)
        plain = chain_task(KINDS["anthropic"](provider, price=PRICE), instruction=LONG)
        (alone,) = ask(open_link(plain.chain[0], plain), prompt)
    for answer in (first, second):
        assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
        assert answer.usage.cost_usd <= link.most(prompt).cost_usd
    blocks = alone.usage.prompt_tokens // 64 * 64
    assert first.usage.cost_usd == pytest.approx(alone.usage.cost_usd + surcharge * 10 * blocks / 1e6)
    assert second.usage.cost_usd == pytest.approx(alone.usage.cost_usd - 9 * blocks / 1e6)


@pytest.mark.parametrize(
    ("model", "provider"), [("gpt-4o-mini", "openai"), ("claude-haiku-4-5", "anthropic")]
)
def test_the_list_knows_the_cached_price(model, provider):
    """A listed model's cached tokens cost what the list says, which is less than its input."""
    price = find_price(None, model, None, "link 'a'", provider)
    assert 0 < price.cached < price.input


def test_a_batch_halves_it_too():
    """Each of the three prices is halved, and one that is not there stays away."""
    assert half(Price(2.0, 4.0, 1.0)) == Price(1.0, 2.0, 0.5)
    assert half(Price(2.0, 4.0)) == Price(1.0, 2.0)


def test_cached_is_never_dearer():
    """A cached price above that of input is refused: no bound of a call would hold."""
    link = openai(FakeProvider(), price={"input": 1.0, "output": 1.0, "cached": 2.0})
    task = chain_task(link)
    with pytest.raises(TaskError, match="cached tokens can't cost more than input"):
        open_link(task.chain[0], task)


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}, {"cached_tokens": 1 << 40}])
def test_odd_details_cost_at_most_the_whole(details):
    """A server that says nothing of its cache, or more than there is, makes no price negative."""
    task = chain_task(openai(FakeProvider(), price=PRICE))
    link = open_link(task.chain[0], task)
    said = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": details}
    body = {"choices": [{"message": {"content": "favor"}, "finish_reason": "stop"}], "usage": said}
    paid = link.read(msgspec.json.encode(body)).usage.cost_usd
    assert paid == pytest.approx((1100 if not (details or {}).get("cached_tokens") else 200) / 1e6)
