"""Verbalised confidence: one strict line; no number is no confidence, and no label is no label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.confidence import LabelScorer
from catena.errors import TaskError
from catena.links import open_link
from catena.links.verbalised import read_verbalised
from catena.testing import check_link
from catena.testing.provider import Annotator, FakeProvider, Reply
from catena.types import Failure, Item, Vote
from chains import BATCH, KINDS, LABELS, answers_in, chain_task, execute, open_alone, openai, rows_of, texts

kinds = pytest.mark.parametrize("kind", KINDS)
TASK = ["pro", "pro-war", "against"]

LINES = {
    "pro | 85": ("pro", 0.85),
    "pro|100": ("pro", 1.0),
    " Pro-War  |  0 % \n": ("pro-war", 0.0),
    "**against** | 7%": ("against", 0.07),
    "Answer: against | 70": ("against", 0.7),
    "pro": ("pro", None),
    "pro |": ("pro", None),
    "pro | 101": ("pro", None),
    "pro | 99999": ("pro", None),
    "pro | 0.85": ("pro", None),
    "pro | 85.5 %": ("pro", None),
    "pro | %": ("pro", None),
    '{"label": "pro"}': ("pro", None),
}
"""What is said, the label, and its probability where there is one."""

WRONG = {
    "": "empty",
    "85": "no_label",
    "| 85": "no_label",
    "LABEL | PERCENT": "no_label",
    "LABEL | 85": "no_label",
    "maybe | 85": "no_label",
    "not pro | 85": "no_label",
    "pro or against | 50": "many_labels",
    "pro | against": "many_labels",
    "pro | 60 against | 40": "many_labels",
    "pro | 60\nagainst | 40": "many_labels",
    "pro | 60 | 40": "no_label",
    "pro | high": "no_label",
    "pro | not at all": "no_label",
    "pro | 8.5e1": "no_label",
    "pro | -5": "no_label",
    "pro | ８５": "no_label",  # full-width digits
    "85 | pro": "no_label",
    "proness | 85": "no_label",
}
"""What is said, and why it is no vote."""


def verbal(labels=LABELS, *, percent=None):
    """Return a model that names its likeliest label and that one's probability."""
    model = Annotator(list(labels), other=0.0)

    def answer(request):
        shares = model.distribution(request["messages"], request["model"])
        label = max(shares, key=shares.get)
        return Reply(f"{label} | {percent or round(100 * shares[label])}")

    return answer, model


def link_to(provider, kind, labels=LABELS, **options):
    """Return a link whose model names its confidence."""
    return open_alone(KINDS[kind](provider, confidence="verbalised", **options), labels=labels)


@pytest.mark.parametrize("text", LINES)
def test_lines(text):
    """The label stands before the bar, the percentage after it; without one there is a vote without a confidence."""
    said = read_verbalised(LabelScorer(TASK), text, cut=False)
    label, probability = LINES[text]
    assert (said.label, said.confidence) == (label, probability)
    assert said.source == ("none" if probability is None else "verbalised")
    assert said.logprobs is None


@pytest.mark.parametrize("text", WRONG)
def test_malformed_lines(text):
    """Anything else is a failure with its reason."""
    said = read_verbalised(LabelScorer(TASK), text, cut=False)
    assert isinstance(said, Failure), said
    assert said.reason == WRONG[text]


@pytest.mark.parametrize(("text", "label"), [("pro | 8", "pro"), ("pro | 85", "pro"), ("pro |", "pro"), ("pro ", None), ("pro-w", None)])  # fmt: skip
def test_cut_lines(text, label):
    """The bar ends a label, so that a cut after it costs the number only; a cut before it may have cost the label."""
    said = read_verbalised(LabelScorer(TASK), text, cut=True)
    if label is None:
        assert said.reason == "cut"
    else:
        assert (said.label, said.confidence, said.source) == (label, None, "none")


@given(st.text(st.sampled_from("pro-wa gint|019% \n.:*{}\"'"), max_size=24))
def test_no_line_is_misread(text):
    """Whatever is said, a vote's label is what the text before the bar, or the whole of it, names."""
    scorer = LabelScorer(TASK)
    said = read_verbalised(scorer, text, cut=False)
    if isinstance(said, Vote):
        named = {getattr(scorer.parse(part), "label", None) for part in (text, text.split("|")[0])}
        assert said.label in named
        assert said.confidence is None or 0 <= said.confidence <= 1
    else:
        assert said.reason in {"empty", "no_label", "many_labels"}


@kinds
def test_keeps_the_contract_of_links(kind):
    """`check_link` passes."""
    with FakeProvider(verbal()[0], labels=list(LABELS)) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(3))]
        check_link(link_to(provider, kind), items, list(LABELS))


@kinds
@pytest.mark.parametrize("mode", [{}, BATCH])
def test_votes(tmp_path, kind, mode):
    """Each vote has the model's label, the probability that it names, and where that comes from; in batches too."""
    answer, model = verbal()
    with FakeProvider(answer, labels=list(LABELS)) as provider:
        task = chain_task(KINDS[kind](provider, confidence="verbalised", **mode))
        link = open_link(task.chain[0], task)
        execute(task, rows_of(texts(20)), tmp_path / "r")
    votes = answers_in(tmp_path / "r", "small")
    for at, text in enumerate(texts(20)):
        truth = model.distribution(link.render(Item(at, str(at), text)), "small")
        assert votes[at].label == max(truth, key=truth.get)
        assert votes[at].confidence == pytest.approx(max(truth.values()), abs=0.0051)
        assert (votes[at].source, votes[at].usage.calls) == ("verbalised", 1)


@kinds
def test_question(kind):
    """The question ends with the form of the answer, whatever the prompt, and leaves room for it in the answer."""
    with FakeProvider() as provider:
        link = link_to(provider, kind)
        task = chain_task(KINDS[kind](provider), prompt="{{ text }}: one label.")
        plain = open_link(task.chain[0], task)
        own = chain_task(KINDS[kind](provider, confidence="verbalised"), prompt="{{ text }}: one label.")
        asked = open_link(own.chain[0], own)
    item = Item(0, "1", "Hi")
    assert link.render(item).endswith("\nLABEL | PERCENT")
    assert asked.render(item).startswith(plain.render(item) + "\n\n")
    assert link.capabilities.confidence == "verbalised"
    assert link.fingerprint != plain.fingerprint
    assert "logprobs" not in link.question("?")
    assert link.question("?")["max_tokens"] == plain.question("?")["max_tokens"] + 8


@kinds
def test_a_label_with_a_bar(kind):
    """A label that contains the bar is refused: its line could not be told apart."""
    with FakeProvider() as provider, pytest.raises(TaskError, match=r"the label 'a\|b' contains"):
        link_to(provider, kind, labels=["a|b", "c"])


def test_shares_with_few_values(tmp_path):
    """A model that is always equally sure breaks no quota: each link keeps exactly its share."""
    with FakeProvider(verbal(percent=90)[0], labels=list(LABELS)) as provider:
        links = [openai(provider, name, confidence="verbalised") for name in ("small", "middle", "big")]
        labels = execute(chain_task(*links), rows_of(texts(90)), tmp_path / "r")
    assert {answer.confidence for answer in answers_in(tmp_path / "r", "small").values()} == {0.9}
    assert [len(answers_in(tmp_path / "r", name)) for name in ("small", "middle", "big")] == [90, 60, 30]
    assert all(row["status"] == "labelled" for row in labels)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {},
            "gives no log-probabilities: such votes have no confidence and rank lowest; `confidence: auto` finds a way to one.",
        ),
        (
            {"confidence": "verbalised"},
            "names no probability beside some of its labels: such votes have no confidence",
        ),
    ],
)
def test_votes_without_a_confidence_are_noticed(tmp_path, options, said):
    """A run says once that a link's votes have no confidence, and why; where the task can help, how."""
    with FakeProvider(lambda _: Reply("favor"), no_logprobs=True) as provider:
        task, warned = chain_task(openai(provider, **options)), []
        execute(task, rows_of(texts(3)), tmp_path / "r", watch=lambda run: warned.append(run.warnings))
    assert len([warning for warning in warned[-1] if said in warning]) == 1
