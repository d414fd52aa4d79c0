"""Each provider's documented entry works against a server that behaves as its public reference says."""

import math
import re
from pathlib import Path

import pytest
import yaml

from catena.errors import LinkError, TaskError
from catena.links import open_link
from catena.links.providers import PROVIDERS, written_out
from catena.task import LinkSpec
from catena.types import Failure, Item, Vote
from chains import LABELS, ask, chain_task, open_alone, texts
from shapes import KEY, SHAPES, ShapedServer

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
SECTIONS = {
    title.lower(): re.findall(r"```yaml\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
}  # fmt: skip
PRICE = {"input": 10.0, "output": 100.0, "cached": 1.0}


def entry(name):
    """Return the entry that the page has for a shape: the second one of its section where a shape's name goes on."""
    section = next(title for title in SECTIONS if name.startswith(title))
    (found,) = yaml.safe_load(SECTIONS[section][name != section])
    return found


def link_at(server, options, monkeypatch, **more):
    """Return the link of an entry, with its address on this machine and its key a canary."""
    written = written_out(LinkSpec(options["name"], options["kind"], options), "link")
    own = {key: value for key, value in written.options.items() if key not in {"name", "kind"}}
    given = options | own | {"base_url": server.base_url, "price": PRICE} | more
    for variable in {given.get("api_key_env"), "OPENAI_API_KEY"} - {None}:
        monkeypatch.setenv(variable, KEY)
    if server.shape.key and "api_key_env" not in given:
        given["api_key_env"] = "OPENAI_API_KEY"
    return open_alone(given)


@pytest.fixture(params=SHAPES)
def served(request, monkeypatch):
    """A server of each shape, and the link that the page has for it."""
    with ShapedServer(SHAPES[request.param]) as server:
        yield server, link_at(server, entry(request.param), monkeypatch)


def test_the_documented_entry_gets_votes(served):
    """Path, key, query and fields are what the provider takes; where it gives log-probabilities they are its own."""
    server, link = served
    prompts = [link.render(Item(0, "1", text)) for text in texts(6)]
    answers = ask(link, *prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert isinstance(answer, (Vote, Failure)), answer
        if not server.shape.logprobs:
            continue
        truth = server.annotator.distribution(prompt, server.asked[0]["model"])
        assert answer.source == "label_logprobs", answer
        assert answer.label == max(truth, key=truth.get)
        found = [math.exp(x) for x in answer.logprobs if x is not None]
        assert max(found) == pytest.approx(max(truth.values()), abs=1e-3)
    if not server.shape.logprobs:
        assert not any("logprobs" in asked for asked in server.asked)
        assert link.capabilities.confidence in {"samples", "verbalised"}
        assert any(getattr(answer, "reason", "no_label") for answer in answers)


def test_the_documented_confidence_is_one(served):
    """Every entry's votes have a confidence, whatever the provider gives."""
    server, link = served
    if link.capabilities.confidence == "verbalised":  # the fake names no percentages by itself
        said = {"choices": [{"message": {"content": "favor | 80"}, "finish_reason": "stop"}]}
        server.instead = (200, {}, said)
    (answer,) = ask(link, link.render(Item(0, "1", "text number 1")))
    assert isinstance(answer, Vote), answer
    assert answer.confidence is not None
    assert answer.source == link.capabilities.confidence


def test_tokens_are_counted(served, monkeypatch):
    """Reasoning is paid as answer wherever it is counted, and what came from the cache costs what that costs."""
    server, _ = served
    shape = server.shape
    link = link_at(server, {"name": "a", "kind": "openai", "model": "m"} | kept(shape), monkeypatch)
    (answer,) = ask(link, link.render(Item(0, "1", "text number 1")))
    bare = len(server.annotator({**server.asked[0], "temperature": 0}).positions) - 1
    assert answer.usage.completion_tokens == bare + shape.reasoning
    prompt = answer.usage.prompt_tokens
    paid = (10 * (prompt - shape.cached) + shape.cached + 100 * answer.usage.completion_tokens) / 1e6
    assert answer.usage.cost_usd == pytest.approx(paid)


def kept(shape):
    """Return the options that a plain link at this shape needs."""
    options = {"top_logprobs": 0} if not shape.logprobs else {}
    if shape.key and shape.key[0] != "authorization":
        options["key_header"] = shape.key[0]
    if "max_tokens" in shape.refuses:
        options["body"] = {"max_tokens": None, "temperature": None}
    return options | ({"query": shape.query} if shape.query else {})


def test_limits_are_read(served):
    """The headers of each provider say how many requests are left; -1 says that there is no limit."""
    server, link = served
    (answer,) = ask(link, link.render(Item(0, "1", "text number 1")))
    if server.shape.limits is None:
        assert answer.rate is None
    else:
        assert (answer.rate.requests.most, answer.rate.requests.left) == server.shape.limits
        assert answer.rate.requests.reset >= 0


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.busy])
def test_busy_is_asked_again(name, monkeypatch):
    """A provider without room is asked again, when it says."""
    shape = SHAPES[name]
    with ShapedServer(shape) as server:
        server.instead = (shape.busy.status, shape.busy.headers, shape.busy.body)
        (answer,) = ask(link_at(server, entry(name), monkeypatch), "What?")
    assert (answer.reason, answer.retryable) == (shape.busy.reason, True)
    assert answer.retry_after == shape.busy.wait
    assert "{" not in answer.message


FAULTS = [(name, *fault) for name, shape in SHAPES.items() for fault in shape.errors]


@pytest.mark.parametrize(
    ("name", "status", "body", "expected"), FAULTS, ids=[f"{f[0]} {f[1]} {f[3]}" for f in FAULTS]
)
def test_errors_are_what_they_are(name, status, body, expected, monkeypatch):
    """A fault of one item is its failure; one of key, model or account stops the run; both in one line."""
    with ShapedServer(SHAPES[name]) as server:
        server.instead = (status, {}, body)
        link = link_at(server, entry(name), monkeypatch)
        if expected.startswith("Check"):
            with pytest.raises(LinkError, match=expected) as error:
                ask(link, "What?")
            said = str(error.value)
        else:
            (answer,) = ask(link, "What?")
            assert answer.reason == expected, answer
            assert answer.retryable == (expected in {"server", "overloaded", "rate_limit"})
            said = answer.message
    assert len(said.splitlines()) == 1
    assert KEY not in said


@pytest.mark.parametrize("name", ["openai reasoning", "groq", "mistral", "gemini"])
def test_a_refused_field_says_what_to_write(name, monkeypatch):
    """A link that asks for what the provider refuses gets a line with the option that leaves it out."""
    with ShapedServer(SHAPES[name]) as server:
        options = entry(name) | {"top_logprobs": 20, "confidence": "logprobs", "samples": None}
        options["body"] = {"max_tokens": None, "temperature": None}
        (answer,) = ask(link_at(server, options, monkeypatch), "What?")
    assert answer.reason == "bad_request"
    assert answer.message.endswith("write top_logprobs: 0"), answer.message


@pytest.mark.parametrize(
    ("field", "advice"),
    [("max_tokens", "max_completion_tokens: 2000}"), ("temperature", "body: {temperature: null}")],
)
def test_reasoning_models_refuse_more(field, advice, monkeypatch):
    """The line names the field to leave out, and what takes its place."""
    body = {"max_tokens": None, "temperature": None}
    del body[field]
    with ShapedServer(SHAPES["openai reasoning"]) as server:
        link = link_at(
            server,
            {"name": "a", "kind": "openai", "model": "m", "top_logprobs": 0, "body": body},
            monkeypatch,
        )
        (answer,) = ask(link, "What?")
    assert answer.message.endswith(advice), answer.message


def test_chosen_tokens_alone_are_bounds(monkeypatch):
    """A model of Together's that lists no alternatives has votes with the label's own probability and a rough margin."""
    lists = {"tokens": ["favor"], "token_logprobs": [-0.1]}
    said = {
        "choices": [{"message": {"content": "favor"}, "finish_reason": "stop", "logprobs": lists}],
    }
    with ShapedServer(SHAPES["together"]) as server:
        server.instead = (200, {}, said)
        (answer,) = ask(link_at(server, entry("together"), monkeypatch), "What?")
    assert (answer.label, answer.source) == ("favor", "label_logprobs")
    assert answer.logprobs[0] == pytest.approx(-0.1, abs=1e-6)
    assert answer.confidence > 0


@pytest.mark.parametrize("lists", [{"tokens": ["favor"], "token_logprobs": []}, {"tokens": ["a"], "token_logprobs": [None]},
                                   {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [None, None]}])  # fmt: skip
def test_lists_that_do_not_fit_tell_nothing(lists, monkeypatch):
    """Then the vote has no confidence, as without any."""
    said = {"choices": [{"message": {"content": "favor"}, "finish_reason": "stop", "logprobs": lists}]}
    with ShapedServer(SHAPES["together"]) as server:
        server.instead = (200, {}, said)
        (answer,) = ask(link_at(server, entry("together"), monkeypatch), "What?")
    assert (answer.label, answer.source, answer.confidence) == ("favor", "none", None)


class TestPresets:
    """`PROVIDER/MODEL` in the place of address, key and what the provider refuses."""

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_it_is_what_it_stands_for(self, provider):
        """The link is the one whose options are written out; so are its votes."""
        task = chain_task({"name": "a", "kind": "openai", "model": f"{provider}/org/m:1", "price": "free"})
        written = chain_task(
            {"name": "a", "kind": "openai", "model": "org/m:1", "price": "free"} | PROVIDERS[provider]
            | ({} if provider != "openai" else {"base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY"})
        )  # fmt: skip
        links = [open_link(each.chain[0], each) for each in (task, written)]
        assert links[0].fingerprint == links[1].fingerprint
        assert links[0].capabilities == links[1].capabilities

    def test_what_the_task_says_counts(self):
        """Its own options take the place of the provider's, `body` field by field."""
        given = {"model": "together/m", "api_key_env": "MINE", "body": {"logprobs": 3, "seed": 1}}
        options = written_out(LinkSpec("a", "openai", given), "link").options
        assert options["api_key_env"] == "MINE"
        assert options["body"] == {"logprobs": 3, "top_logprobs": None, "seed": 1}

    def test_beside_an_address_a_model_is_as_the_server_calls_it(self):
        """Many servers have slashes in the names of their models."""
        given = {"model": "groq/llama", "base_url": "http://localhost:1/v1"}
        assert written_out(LinkSpec("a", "openai", given), "link").options == given

    def test_an_unknown_provider_is_refused(self):
        """In a line that names those there are."""
        task = chain_task({"name": "a", "kind": "openai", "model": "qroq/llama", "price": "free"})
        with pytest.raises(
            TaskError, match=r"link 'a': model: 'qroq' before the / is no provider.*groq.*base_url"
        ):
            open_link(task.chain[0], task)

    def test_every_section_has_an_entry(self):
        """And every provider that has a name has a section."""
        assert all(SECTIONS.values())
        page = PAGE.read_text("utf-8")
        assert [name for name in PROVIDERS if f"`{name}/`" not in page] == []


def test_labels_have_a_distribution():
    """The servers' answers are drawn from labels of the tests' tasks."""
    with ShapedServer(SHAPES["ollama"]) as server:
        assert sum(server.annotator.distribution("x").values()) == pytest.approx(1)
        assert set(server.annotator.distribution("x")) == set(LABELS)
