"""The checks for plug-in authors: the house's own links and policy pass, and each broken promise is named."""

# ruff: noqa: D102 - the methods are those of the protocols

import asyncio
import copy
import importlib.util
import inspect
import itertools
import math
import re
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from catena.errors import InputError, LinkError
from catena.links import open_link
from catena.routing import ShareStream, exact_shares, quotas, route_by_share
from catena.testing import BrokenContract, check_link, check_policy
from catena.testing.provider import FakeProvider
from catena.types import REASONS, Capabilities, Failure, Item, Usage, Vote
from catena.vectors.minilm import PACKAGE
from chains import chain_task, openai
from tables import vote, write_votes

LABELS = ("waste", "water")
TEXTS = ("the bins were not emptied", "the tap is leaking", "rubbish everywhere", "a burst pipe")
ITEMS = [Item(at, f"i{at}", text, gold=LABELS[at % 2]) for at, text in enumerate(TEXTS)]

needs_weights = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (PACKAGE, "safetensors", "tokenizers")),
    reason=f"{PACKAGE}, safetensors or tokenizers is not installed",
)


class Toy:
    """A link that keeps every promise; each test breaks one."""

    name = "toy"
    fingerprint = b"toy"
    capabilities = Capabilities("label_logprobs", batch=4, concurrency=2)

    def render(self, item):
        return item.text

    def most(self, prompt):
        return Usage(20, 2, 0.5)

    def ready(self):
        pass

    def one(self, prompt):
        label = LABELS[TEXTS.index(prompt) % 2] if prompt in TEXTS else "waste"
        return Vote(label, 1.0, "label_logprobs", (-0.25, None), prompt, Usage(10, 1, 0.25, 1.0))

    async def ask(self, prompts):
        return [self.one(prompt) for prompt in prompts]

    async def close(self):
        pass


def made(**parts):
    """Return a link with some parts of its own."""
    return type("Broken", (Toy,), parts)()


def said(**changes):
    """Return a link whose votes differ so."""
    return made(one=lambda self, prompt: msgspec.structs.replace(Toy.one(self, prompt), **changes))


def failing(**changes):
    """Return a link that fails on texts that it doesn't know, with a failure that differs so."""
    failure = msgspec.structs.replace(Failure("no_label", "no label"), **changes)
    return made(one=lambda self, prompt: Toy.one(self, prompt) if prompt in TEXTS else failure)


def link_of(labels=LABELS, **options):
    """Return one of the house's links."""
    task = chain_task({"name": "small"} | options, labels=labels)
    return open_link(task.chain[0], task)


class Counting(Toy):
    """Renders another prompt each time."""

    count = 0

    def render(self, item):
        self.count += 1
        return f"{self.count} {item.text}"


class Choking(Toy):
    """Can't write lone surrogates."""

    async def ask(self, prompts):
        return [self.one(prompt.encode().decode()) for prompt in prompts]


class Closing(Toy):
    """Has nothing left to close the second time."""

    client = True

    async def close(self):
        if not self.client:
            raise AttributeError("client")
        self.client = False


class Forgetful(Toy):
    """Breaks when asked after it was closed."""

    client = ("",)

    async def ask(self, prompts):
        return [self.one(prompt + self.client[0]) for prompt in prompts]

    async def close(self):
        self.client = ()


class Drifting(Toy):
    """Its fingerprint follows what it was asked."""

    async def ask(self, prompts):
        self.fingerprint = f"{prompts}".encode()[:64]
        return await super().ask(prompts)


class Unpriced(Toy):
    """Can't price a lone surrogate."""

    def most(self, prompt):
        return Usage(20, 2, len(prompt.encode()) + 1.0)


class Shouting(Toy):
    """Writes into the item's fields."""

    def render(self, item):
        item.fields["seen"] = True
        return item.text


async def backwards(self, prompts):
    """Answer in the wrong order."""
    return [self.one(prompt) for prompt in prompts][::-1]


async def first_only(self, prompts):
    """Give the first prompt's answer to all."""
    return [self.one(prompts[0]) for _ in prompts]


async def distinct(self, prompts):
    """Answer equal prompts once."""
    return [self.one(prompt) for prompt in dict.fromkeys(prompts)]


async def one_short(self, prompts):
    """Drop the last answer."""
    return [self.one(prompt) for prompt in prompts][: max(len(prompts) - 1, 1)]


async def not_none(self, prompts):
    """Need a first prompt."""
    return [self.one(prompts[0]), *map(self.one, prompts[1:])]


async def blocking(self, prompts):
    """Answer from a client that knows nothing of the loop."""
    time.sleep(1.5)  # noqa: ASYNC251 - that is what is wrong with it
    return [self.one(prompt) for prompt in prompts]


async def refusing(self, prompts):
    """Call the whole link unusable for one odd text."""
    if any("{" in prompt for prompt in prompts):
        raise LinkError("HTTP 400.")
    return [self.one(prompt) for prompt in prompts]


BROKEN = {
    "name is a text": made(name=""),
    "fingerprint is 1 to 64 bytes": made(fingerprint="toy"),
    "it has all of types.Link: there is no close": made(close=property()),
    "fingerprint and capabilities stay": Drifting(),
    "capabilities are a types.Capabilities": made(capabilities={"batch": 1}),
    "capabilities.batch is at least 1: 0": made(capabilities=Capabilities(batch=0)),
    "capabilities.concurrency is at least 1, or None: 0": made(capabilities=Capabilities(concurrency=0)),
    "render is the same each time": Counting(),
    "render is equal for equal items": made(render=lambda self, item: f"{item.text} {id(item)}"),
    "render changes nothing": Shouting(),
    "render does not look at gold": made(render=lambda self, item: f"{item.text} ({item.gold})"),
    "render returns a text: None": made(render=lambda self, item: None),
    "render does not raise: .* made it raise IndexError": made(render=lambda self, item: item.text[0] and item.text),
    "most.cost_usd is None or USD from 0: -1": made(most=lambda self, prompt: Usage(20, 2, -1.0)),
    "most does not raise: lone surrogates": Unpriced(),
    "most is an upper bound of the price": made(most=lambda self, prompt: Usage(20, 2, 0.1)),
    "most is an upper bound of the tokens": made(most=lambda self, prompt: Usage(5, 2, 0.5)),
    "most is None or a types.Usage: 0.5": made(most=lambda self, prompt: 0.5),
    "ready raises a CatenaError or nothing: it raised KeyError": made(ready=lambda self: {}["KEY"]),
    "ask answers in the order of the prompts: a batch has": made(ask=backwards),
    "ask answers in the order of the prompts: 2 of 4": made(ask=first_only),
    "as many answers as it got prompts: 1 for 2 .the same prompt twice": made(ask=distinct),
    "as many answers as it got prompts: 1 for 2": made(ask=one_short),
    "an empty list made it raise IndexError": made(ask=not_none),
    "template syntax made it raise LinkError": made(ask=refusing),
    "ask holds up nothing else.* at test_check.py, line .*, in blocking": made(ask=blocking),
    "ask returns a sequence of answers: None": made(ask=lambda self, prompts: asyncio.sleep(0)),
    "lone surrogates made it raise UnicodeEncodeError": Choking(),
    "every answer is a Vote or a Failure: 'waste'": made(one=lambda self, prompt: "waste"),
    "a vote's label is one of the task's: 'Waste' is none of waste, water": said(label="Waste"),
    "a vote's confidence is a finite float or None: nan": said(confidence=math.nan),
    "a vote's confidence is a finite float or None: '0.9'": said(confidence="0.9"),
    "a vote's logprobs are one per label: 1 for 2": said(logprobs=(-1.0,)),
    "a vote's logprobs are finite and at most 0, or None: 0.7": said(logprobs=(0.7, -1.0)),
    "a vote's logprobs are finite and at most 0, or None: -inf": said(logprobs=(-0.0, -math.inf)),
    "a vote's label probabilities sum to at most 1: 1.7": said(logprobs=(-0.1, -0.2)),
    "a vote's confidence has a source": said(confidence=0.5, source="none"),
    "a vote's bounds are one pair per label": said(lower=(0.5,), upper=(0.8,)),
    "a label's probability lies within its bounds: 0.778801 is not from 0.9 to 1.0": said(
        lower=(0.9, 0.0), upper=(1.0, 0.1)
    ),
    "usage.prompt_tokens is a count from 0: -1": said(usage=Usage(-1)),
    "usage.cost_usd is None or USD from 0: nan": said(usage=Usage(cost_usd=math.nan)),
    "usage.latency_ms is a finite number": said(usage=Usage(latency_ms=math.inf)),
    "a failure's reason is one of the known: 'oops' is none of abstained, bad_body,": failing(reason="oops"),
    "a failure's message is one line": failing(message="one\ntwo"),
    "a failure's message is one line: ''": failing(message=""),
    "retry_after is None or seconds from 0: -1": failing(retry_after=-1.0),
    "it labels at least one of the items: all 4 failed, first with server": made(
        one=lambda self, prompt: Failure("server", "HTTP 500")
    ),
    "close can be called twice: it raised AttributeError .* the second time": Closing(),
    "a closed link works again or raises a LinkError": Forgetful(),
}  # fmt: skip


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_link_is_told_which_promise(promise):
    """Each broken promise is named in one line that begins with the link."""
    items = copy.deepcopy([msgspec.structs.replace(item, fields={"n": item.row}) for item in ITEMS])
    with pytest.raises(BrokenContract, match=promise) as caught:
        check_link(BROKEN[promise], items, LABELS)
    assert str(caught.value).startswith("link ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "can", [Capabilities(), Capabilities(batch=2), Toy.capabilities, Capabilities(batch=1 << 20)]
)
def test_a_sound_link_passes(can):
    """A link that keeps its promises passes, whatever its batch, also where it fails on odd texts."""
    check_link(made(capabilities=can), ITEMS, LABELS)
    check_link(failing(), ITEMS[:1], LABELS)


def test_a_link_of_moods_is_not_blamed_for_the_order():
    """Votes that vary from call to call are no wrong order."""
    moods = itertools.cycle("abcde")
    one = lambda self, prompt: Vote("waste", text=next(moods))  # noqa: E731
    check_link(made(one=one), ITEMS, LABELS)


def test_a_closed_link_may_refuse():
    """A link that can't be opened again says so with a LinkError."""

    class Once(Forgetful):
        async def ask(self, prompts):
            if not self.client:
                raise LinkError("link 'toy' is closed.")
            return await super().ask(prompts)

    check_link(Once(), ITEMS, LABELS)


def test_an_unusable_link_says_why_itself(monkeypatch):
    """A missing key is the link's own error, not a broken promise."""
    monkeypatch.delenv("NO_KEY", raising=False)
    link = link_of(
        kind="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key_env="NO_KEY", price="free"
    )
    with pytest.raises(LinkError, match="NO_KEY"):
        check_link(link, ITEMS, LABELS)


def test_nothing_to_check_with():
    """Without items there is nothing to ask."""
    with pytest.raises(InputError, match="at least one item"):
        check_link(Toy(), [], LABELS)


@needs_weights
def test_the_embedding_link_passes():
    """The embedding link keeps its promises."""
    check_link(link_of(kind="embedding"), ITEMS, LABELS)


@pytest.mark.parametrize(
    "options", [{}, {"top_logprobs": 0}, {"price": {"input": 1.0, "output": 2.0}}], ids=str
)
def test_the_openai_link_passes(options):
    """The openai link keeps its promises, with and without log-probabilities and a price."""
    with FakeProvider(labels=list(LABELS)) as provider:
        check_link(link_of(**openai(provider, **options)), ITEMS, LABELS)


def test_the_replay_link_passes(tmp_path):
    """The replay link keeps its promises, also where votes are missing or failed."""
    votes = [
        vote("i0", label="waste", label_logprobs=[-0.25, None], cost_usd=0.25),
        vote("i1", label=None),
        vote("i2", label="water"),
    ]
    folder = write_votes(tmp_path / "v", votes, [item.id for item in ITEMS], labels=LABELS)
    check_link(link_of(kind="replay", votes=str(folder)), ITEMS, LABELS)


def test_the_reasons_are_the_documented_ones():
    """`types.Failure` documents each reason, and the check knows each of them."""
    described = inspect.getdoc(Failure).partition("reason:")[2].partition("message:")[0]
    assert set(re.findall(r"`(\w+)`", described)) == REASONS


def test_the_checks_are_imported_when_used():
    """The fake provider starts without NumPy."""
    code = "import sys, catena.testing; assert 'numpy' not in sys.modules; catena.testing.check_link"
    subprocess.run([sys.executable, "-c", code], check=True)


SHARES = exact_shares([0.5, 0.3, 0.2], 3)


def by_share(order):
    """Return the share policy's batch form for three links."""
    return route_by_share(order, SHARES)


def keeps(link, items):
    """Return the share policy's quota of a link."""
    return quotas(items, SHARES)[link][1]


def share_stream(link, items):
    """Return the share policy's stream."""
    return ShareStream(keeps(link, items))


@pytest.mark.parametrize("shares", [None, [0, 1], ["1/7", "2/7", "3/7", "1/7"]], ids=str)
def test_the_share_policy_passes(shares):
    """Its stream and its batch form keep the same items."""
    links = len(shares or "abc")
    exact = exact_shares(shares, links)
    check_policy(
        lambda order: route_by_share(order, exact),
        lambda link, items: ShareStream(quotas(items, exact)[link][1]),
        links=links,
    )


class FirstCome(ShareStream):
    """Keeps what comes first."""

    left = 0

    def offer(self, row, standing):
        self.left += 1
        return row if self.left > self._keeps else None


class Twice(ShareStream):
    """Releases the same row again."""

    last = None

    def offer(self, row, standing):
        out = super().offer(row, standing)
        self.last = out if self.last is None else self.last
        return self.last if out is not None else None


class Foresight(ShareStream):
    """Releases a row that has not come."""

    def offer(self, row, standing):
        return row + 1


class Hoarding(ShareStream):
    """Never lets go."""

    def offer(self, row, standing):
        return None


@pytest.mark.parametrize(
    ("stream", "promise"),
    [
        (FirstCome, "stream and batch form keep the same items"),
        (Hoarding, "stream and batch form keep the same items"),
        (Twice, "each forwarded item is released exactly once: .* a second time"),
        (Foresight, "each forwarded item is released exactly once: .* before it arrived"),
    ],
)
def test_a_broken_stream_is_told_which_promise(stream, promise):
    """A stream that depends on the arrival, or releases an item twice, early or never, is named."""
    with pytest.raises(BrokenContract, match=f"policy: {promise}"):
        check_policy(by_share, lambda link, items: stream(keeps(link, items)))


def in_place(order):
    """Sort what was given."""
    kept = by_share(order)
    order.sort()
    return kept


@pytest.mark.parametrize(
    ("route", "promise"),
    [
        (in_place, "the batch form changes nothing"),
        (lambda order: by_share(order)[:-1], "the batch form gives one link per item"),
        (lambda order: by_share(order) * 1.0, "the batch form gives one link per item"),
        (lambda order: by_share(order) + 1, "every item is kept by one of the links: 3 to 3 for 3"),
        (lambda order: np.random.default_rng().integers(0, 3, order.shape[1]), "the same"),
    ],
)
def test_a_broken_batch_form_is_told_which_promise(route, promise):
    """A batch form that changes its input, misses items, names no link or draws lots is named."""
    with pytest.raises(BrokenContract, match=f"policy: .*{promise}"):
        check_policy(route, share_stream, seed=1)
