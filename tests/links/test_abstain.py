"""A word for none of the labels: naming it is a failure that moves the item on, and never a label."""

import math

import msgspec
import pytest

from catena.engine.check import check_task
from catena.engine.run import Run
from catena.errors import ChangedError, TaskError
from catena.links import open_link
from catena.prompts import Prompter
from catena.task import parse_task
from catena.testing import check_link
from catena.testing.provider import FakeProvider, Reply
from catena.types import Failure, Item, Vote
from chains import KINDS, LABELS, answers_in, ask, chain_task, execute, open_alone, openai, rows_of, texts

WORD = "unclear"
ALL = [*LABELS, WORD]
kinds = pytest.mark.parametrize("kind", KINDS)


def link_to(provider, kind="openai", **keys):
    """Return a link whose task has the word."""
    return open_alone(KINDS[kind](provider), **({"abstain": WORD} | keys))


@kinds
def test_the_word_is_a_failure_and_the_rest_are_votes(kind):
    """Where the model finds the word likeliest the link abstains, once and for all; elsewhere it votes for a label."""
    with FakeProvider(labels=ALL, other=0.0) as provider:
        link = link_to(provider, kind)
        prompts = [link.render(Item(0, "1", text)) for text in texts(40)]
        named = [max(truth, key=truth.get) for truth in (provider.distribution(p, "small") for p in prompts)]
        answers = ask(link, *prompts)
    assert WORD in named
    for said, answer in zip(named, answers, strict=True):
        if said == WORD:
            assert isinstance(answer, Failure)
            assert (answer.reason, answer.retryable, answer.text.strip()) == ("abstained", False, WORD)
            assert answer.usage.prompt_tokens
        else:
            assert isinstance(answer, Vote)
            assert answer.label == said


@kinds
def test_keeps_the_contract_of_links(kind):
    """`check_link` passes."""
    with FakeProvider(labels=ALL) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(8))]
        check_link(link_to(provider, kind), items, list(LABELS))


def test_confidence_knows_of_the_word():
    """Log-probabilities are those of the labels alone, as the model has them; the word is a rival in the margin."""
    with FakeProvider(labels=ALL, other=0.0, sharpness=3.0) as provider:
        link = link_to(provider)
        prompts = [link.render(Item(0, "1", text)) for text in texts(40)]
        rivals = 0
        for prompt, vote in zip(prompts, ask(link, *prompts), strict=True):
            if isinstance(vote, Failure):
                continue
            truth = provider.distribution(prompt, "small")
            assert [math.exp(x) for x in vote.logprobs] == pytest.approx([truth[x] for x in LABELS], abs=1e-3)
            second = sorted(truth, key=truth.get)[-2]
            assert vote.confidence == pytest.approx(math.log(truth[vote.label] / truth[second]), abs=1e-2)
            rivals += second == WORD
        assert rivals


def test_the_likelier_word_wins():
    """An answer that begins with a label which the model finds less likely than the word is no vote for it."""
    with FakeProvider() as provider:
        link = link_to(provider)
    top = [{"token": "favor", "logprob": math.log(0.3)}, {"token": WORD, "logprob": math.log(0.6)}]
    content = [{**top[0], "top_logprobs": top}]
    choice = {"message": {"content": "favor"}, "finish_reason": "stop", "logprobs": {"content": content}}
    answer = link.read(msgspec.json.encode({"choices": [choice]}))
    assert (answer.reason, answer.text) == ("abstained", "favor")


def test_the_item_moves_on(tmp_path):
    """What one link would not tell, the next one labels; where none does, the row failed and says why."""

    def answer(request):
        asked = request["messages"][-1]["content"]
        return Reply(WORD if request["model"] == "small" or "number 0" in asked else "against")

    with FakeProvider(answer, labels=ALL) as provider:
        chain = [openai(provider, "small"), openai(provider, "big")]
        keys = {"abstain": WORD, "policy": {"threshold": [0.5]}, "data": {"id": "id"}}
        labels = execute(chain_task(*chain, **keys), rows_of(texts(70)), tmp_path / "r")
        assert len(provider.calls()) == 140
    assert [row["label"] for row in labels[1:]] == ["against"] * 69
    assert (labels[0]["status"], labels[0]["label"]) == ("failed", None)
    assert "abstained: answered 'unclear'" in labels[0]["reason"]
    assert {answer.reason for answer in answers_in(tmp_path / "r", "small").values()} == {"abstained"}


def test_without_it_the_word_names_no_label():
    """Nothing is an abstention unless the task says so."""
    with FakeProvider(lambda _: Reply(WORD), labels=ALL) as provider:
        (answer,) = ask(link_to(provider, abstain=None), "What?")
    assert answer.reason == "no_label"


def test_models_are_told():
    """The default prompts offer the word; a prompt of the task that does not is refused, a link's own is not."""
    for more in ({}, {"examples": [{"text": "a", "label": "favor"}]}):
        asked = Prompter(chain_task({"name": "a", "kind": "replay"}, abstain=WORD, **more))(Item(0, "1", "b"))
        assert f"- {WORD}: it can't be told which\n" in asked
        assert f"(favor, against, none), or with {WORD}, and nothing else." in asked
    with pytest.raises(TaskError, match="abstain: the task's prompt does not offer it"):
        Prompter(chain_task({"name": "a", "kind": "replay"}, abstain=WORD, prompt="{{ text }}"))
    link = openai(FakeProvider(), prompt="{{ text }}")
    task = chain_task(link, abstain=WORD)
    assert open_link(task.chain[0], task).render(Item(0, "1", "b")) == "b"


@kinds
def test_it_shapes_votes(kind, tmp_path):
    """Another word makes other votes, and a begun run says so."""
    with FakeProvider(labels=ALL) as provider:
        found = {link_to(provider, kind, abstain=word).fingerprint for word in (None, WORD, "other")}
        assert len(found) == 3
        rows = rows_of(["a"])
        execute(chain_task(KINDS[kind](provider)), rows, tmp_path / "r")
        with pytest.raises(ChangedError):
            Run(chain_task(KINDS[kind](provider), abstain=WORD), rows, tmp_path / "r").execute()


def test_a_link_that_abstains_works():
    """`catena check` does not take its answer for a fault."""
    with FakeProvider(lambda _: Reply(WORD), labels=ALL) as provider:
        (link,) = check_task(chain_task(openai(provider), abstain=WORD), None)["links"]
    assert (link["answered"], link["label"]) == (True, None)


@pytest.mark.parametrize(
    ("word", "fault"),
    [("FAVOR", "is a label, or as good as one"), ("''", "it is empty"), ("[a]", "abstain: ")],
)
def test_a_wrong_word_is_refused(word, fault):
    """It must be told from every label."""
    text = (
        f"instruction: Which?\nlabels: [favor, against]\nabstain: {word}\nchain: [{{name: a, kind: replay}}]"
    )
    with pytest.raises(TaskError, match=fault):
        parse_task(text)


def test_its_spelling_is_kept():
    """`no` is a word, not false."""
    text = "instruction: Which?\nlabels: [yes, never]\nabstain: no\nchain: [{name: a, kind: replay}]"
    assert parse_task(text).abstain == "no"


@kinds
@pytest.mark.parametrize("said", [f"{WORD} | 85", WORD, f"Answer: {WORD}"])
def test_beside_a_verbalised_confidence(kind, said):
    """However sure the model is that it can't tell, that is no vote."""
    with FakeProvider(lambda _: Reply(said), labels=ALL) as provider:
        task = chain_task(KINDS[kind](provider, confidence="verbalised"), abstain=WORD)
        (answer,) = ask(open_link(task.chain[0], task), "What?")
    assert answer.reason == "abstained"


@kinds
def test_among_samples(kind):
    """Samples that abstain are samples without a label: where most do, so does the link."""
    for words, expected in (([WORD, "favor", WORD], "abstained"), ([WORD, "favor", "favor"], "favor")):
        left = list(words)
        with FakeProvider(lambda _, left=left: Reply(left.pop(0)), labels=ALL) as provider:
            task = chain_task(KINDS[kind](provider, confidence="samples", samples=3), abstain=WORD)
            (answer,) = ask(open_link(task.chain[0], task), "What?")
        assert getattr(answer, "label", None) or answer.reason == expected
        assert answer.usage.calls == 3 - len(left)


def test_codes_have_none_for_it():
    """Both together are refused."""
    task = chain_task(openai(FakeProvider(), codes=True), abstain=WORD)
    with pytest.raises(TaskError, match="codes: there is none for abstain"):
        open_link(task.chain[0], task)
