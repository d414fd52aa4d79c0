"""Anthropic's cache: the mark stands where the rows begin to differ, and what is written and read has its price."""

import pytest
from genai_prices import Usage as Listed
from genai_prices import calc_price

from catena.links import open_link
from catena.links.anthropic import FOR_MINUTES
from catena.testing.provider import FakeProvider
from catena.types import Item, Vote
from chains import BATCH, LABELS, answers_in, anthropic, chain_task, execute, open_alone, rows_of, texts

PRICE = {"input": 10.0, "output": 100.0, "cached": 1.0}
LONG = "Read with care, and weigh every word. " * 150
MARK = {"type": "ephemeral"}


def link_of(keys=None, **options):
    """Return an anthropic link at an address where nothing is."""
    given = {
        "name": "a",
        "kind": "anthropic",
        "model": "m",
        "price": PRICE,
        "base_url": "http://127.0.0.1:9/v1",
    }
    return open_alone(given | options, **{"instruction": LONG, **(keys or {})})


def asked(link, text="Fine.", **fields):
    """Return the content of a question about a text, and its request."""
    request = link.question(link.render(Item(0, "1", text, fields)))
    return request["messages"][0]["content"], request


def test_the_mark_ends_what_all_rows_share():
    """Instruction, labels and examples stand before it, the text behind it; together they are the question as it was."""
    link = link_of({"examples": [{"text": "I like it.", "label": "favor"}]})
    (static, own), _ = asked(link)
    assert static["cache_control"] == MARK
    assert static["text"].endswith("Answer: favor\n\n<text>\n")
    assert own["text"].startswith("Fine.\n</text>")
    assert "cache_control" not in own
    assert static["text"] + own["text"] == link.render(Item(0, "1", "Fine."))
    assert asked(link, "Others.")[0][0] == static


def test_what_differs_from_row_to_row_is_behind_it():
    """A column in the instruction moves the mark before it."""
    instruction = f"{LONG}\nThe {{{{ mood }}}} one?\nLonger still."
    (static, own), _ = asked(link_of({"instruction": instruction}), mood="glad")
    assert static["text"] == f"{LONG}\n"
    assert own["text"].startswith("The glad one?")


def test_a_row_that_begins_otherwise_has_none():
    """A template that looks at its columns is not cut where it does not fit."""
    keys = {"instruction": f"{{% if mood == 'glad' %}}Now.\n{{% endif %}}{LONG}"}
    link = link_of(keys)
    assert isinstance(asked(link, mood="glad")[0], str)
    assert isinstance(asked(link, mood="sad")[0], list)


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({"instruction": "Short?"}, {}),
        ({}, {"cache": False}),
        ({}, {"body": {"cache_control": MARK}}),
        ({"prompt": "{{ text }} and {{ question }}"}, {}),
        ({"prompt": LONG + "\n{{ n.split('-')[1] }} {{ text }}"}, {}),
    ],
)
def test_no_mark(keys, options):
    """Where it would not pay, is not wanted, or nothing is the same for every row."""
    content, request = asked(link_of(keys, **options), n="3-4")
    assert isinstance(content, str)
    assert "system" not in request


def test_a_long_system_message_is_marked_itself():
    """Where the questions share nothing it ends what is the same."""
    keys = {"system": LONG, "prompt": "{{ text }} and {{ question }}", "instruction": "What?"}
    content, request = asked(link_of(keys))
    assert isinstance(content, str)
    assert request["system"] == [{"type": "text", "text": LONG, "cache_control": MARK}]
    content, request = asked(link_of({"system": LONG, "instruction": "What?"}))
    assert content[0]["cache_control"] == MARK
    assert request["system"] == LONG


def test_it_shapes_no_vote():
    """The model reads the same text: a run may go on with it or without."""
    assert link_of().fingerprint == link_of(cache=False).fingerprint


def test_reading_is_cheap_and_writing_dear(tmp_path):
    """The first row writes the static part at 1.25 times its price, all others read it at a tenth; every bound holds."""
    with FakeProvider(labels=list(LABELS), cache_block=64) as provider:
        task = chain_task(
            anthropic(provider, price=PRICE, concurrency=1), instruction=LONG, data={"id": "id"}
        )
        execute(task, rows_of(texts(6)), tmp_path / "r")
        link = open_link(task.chain[0], task)
        static = len(asked(link)[0][0]["text"]) // 4 // 64 * 64
        most = link.most(link.render(Item(0, "1", texts(6)[0]))).cost_usd
    answers = list(answers_in(tmp_path / "r", "small").values())
    for at, answer in enumerate(answers):
        used = answer.usage
        plain = (10 * used.prompt_tokens + 100 * used.completion_tokens) / 1e6
        assert used.cost_usd == pytest.approx(plain + (9 * -static if at else 2.5 * static) / 1e6)
        assert used.cost_usd <= most
    assert static > 1000


@pytest.mark.parametrize(
    "options", [{"think": 50}, {"confidence": "samples", "samples": 2}, {"confidence": "verbalised"}, BATCH]
)
def test_it_goes_with_every_way_of_asking(tmp_path, options):
    """Thoughts, samples, percentages and batches: rows are labelled or fail as without, and most of the prompt is cached."""
    with FakeProvider(labels=list(LABELS), cache_block=64) as provider:
        task = chain_task(
            anthropic(provider, price=PRICE, concurrency=1, **options), instruction=LONG, data={"id": "id"}
        )
        execute(task, rows_of(texts(4)), tmp_path / "r")
    answers = list(answers_in(tmp_path / "r", "small").values())
    assert all(isinstance(answer, Vote) for answer in answers)
    if options is not BATCH:  # the fake's batches have no cache
        assert answers[-1].usage.cost_usd < 5 * answers[-1].usage.prompt_tokens / 1e6


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"])
def test_the_list_has_the_same_prices(model):
    """What is written costs 1.25 times the input, in the price list too."""
    usages = (Listed(input_tokens=1000), Listed(input_tokens=1000, cache_write_tokens=1000))
    plain, written = (
        float(calc_price(usage, model_ref=model, provider_id="anthropic").total_price) for usage in usages
    )
    assert written == pytest.approx((1 + FOR_MINUTES) * plain)
