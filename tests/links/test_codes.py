"""Single-token option codes: the log-probabilities are those of the labels, whatever these are and wherever they stand."""

import math
from collections import Counter

import pytest

from catena.errors import ChangedError, TaskError
from catena.links import open_link
from catena.testing import check_link
from catena.testing.provider import Annotator, FakeProvider, Reply
from catena.testing.tokens import END, LabelTree
from catena.types import Failure, Item, Vote
from chains import (
    BATCH,
    LABELS,
    answers_in,
    anthropic,
    ask,
    chain_task,
    execute,
    open_alone,
    openai,
    rows_of,
    texts,
)

TASK = ["pro", "pro-war", "against"]
LONG = ["negative", "non-negative", "very positive", "very", "neither of both, as far as one can see", "否"]
ORDER = "What?\n\nA = against\nB = pro\nC = pro-war"

SAID = {
    "B": "pro", " b. ": "pro", "(C)": "pro-war", "**A**": "against", "Answer: A": "against",
    "A = against": "against", "B) pro": "pro", "C. Pro-War": "pro-war", '{"label": "C"}': "pro-war",
}  # fmt: skip
"""What is said, and the label whose code that is."""

WRONG = {
    "": "empty", "D": "no_label", "AB": "no_label", "A or B": "no_label", "A, B": "no_label", "Because": "no_label",
    "I would say A": "no_label", "not A": "no_label", "A is wrong": "no_label", "B = against": "no_label",
    "D = against": "no_label", "A = against or pro": "many_labels", "\u0410": "no_label", "Ａ": "no_label", "1": "no_label",
}  # fmt: skip
"""What is said, and why it is no vote."""


def coded(labels, other=0.0, bias=1.0):
    """Return a model that answers with codes, `bias` times likelier with the first, and its distribution by text."""
    model = Annotator(list(labels), sharpness=3.0)
    tree = LabelTree([chr(ord("A") + at) for at in range(len(labels))], other)

    def shares(prompt, name="small"):
        text = prompt.partition("<text>\n")[2].partition("\n</text>")[0]
        return model.distribution(text, name)

    def answer(request):
        prompt = request["messages"][-1]["content"]
        truth = shares(prompt, request["model"])
        order = [line[4:] for line in prompt.split("\n")[-len(labels) :]]
        weights = [truth[label] * (bias if at == 0 else 1.0) for at, label in enumerate(order)]
        positions, _ = tree.speak([weight / sum(weights) for weight in weights])
        return Reply("".join(p.token for p in positions if p.token != END), positions)

    return answer, shares


def link_to(provider, labels=LABELS, seed=0, **options):
    """Return a link that asks for codes."""
    return open_alone(openai(provider, codes=True, **options), labels=labels, seed=seed)


def rendered(link, count):
    """Return questions about that many texts."""
    return [link.render(Item(at, str(at), text)) for at, text in enumerate(texts(count))]


def codes_of(prompt, count):
    """Return the labels of a question in the order of their codes."""
    return [line[4:] for line in prompt.split("\n")[-count:]]


def test_keeps_the_contract_of_links():
    """`check_link` passes."""
    with FakeProvider(coded(LABELS)[0]) as provider:
        items = [Item(at, str(at), text) for at, text in enumerate(texts(3))]
        check_link(link_to(provider), items, list(LABELS))


@pytest.mark.parametrize("quirk", ["", "vllm", "llamacpp"])
@pytest.mark.parametrize("labels", [LABELS, LONG])
def test_label_probabilities(labels, quirk):
    """They are the model's distribution, for labels of many tokens, that contain each other, in any script."""
    answer, shares = coded(labels)
    with FakeProvider(answer, quirk=quirk) as provider:
        link = link_to(provider, labels)
        prompts = rendered(link, 20)
        for prompt, vote in zip(prompts, ask(link, *prompts), strict=True):
            truth = shares(prompt)
            assert (vote.label, vote.source) == (max(truth, key=truth.get), "code_logprobs")
            found = [math.exp(x) for x in vote.logprobs]
            assert found == pytest.approx(list(truth.values()), abs=1e-6)
            first, second = sorted(truth.values())[:-3:-1]
            assert vote.confidence == pytest.approx(math.log(first / second), abs=1e-6)


def test_without_log_probabilities():
    """A server that gives none makes votes without a confidence, of the labels whose codes are said."""
    answer, shares = coded(LABELS)
    with FakeProvider(answer, no_logprobs=True) as provider:
        link = link_to(provider)
        (prompt,) = rendered(link, 1)
        (vote,) = ask(link, prompt)
    assert vote.label == max(shares(prompt), key=shares(prompt).get)
    assert (vote.confidence, vote.source, vote.logprobs) == (None, "none", None)


def test_order_of_an_item():
    """It is drawn by the seed and the item's text: the same again for the same, and each label as often in each place."""
    with FakeProvider() as provider:
        link, other = link_to(provider), link_to(provider, seed=1)
        prompts = rendered(link, 600)
        assert prompts == rendered(link, 600)
        assert link.render(Item(7, "another id", texts(1)[0])) == prompts[0]
        assert link.fingerprint != other.fingerprint
        assert sum(map(str.__eq__, prompts, rendered(other, 600))) < 150  # one in six by chance
    for place in range(3):
        times = Counter(codes_of(prompt, 3)[place] for prompt in prompts)
        assert all(150 < times[label] < 250 for label in LABELS)
    listed = ["- " + label for label in codes_of(prompts[0], 3)]
    assert [line for line in prompts[0].split("\n") if line.startswith("- ")] == listed


def test_position_bias_favours_no_label():
    """A model that likes the first place gives it to all labels alike, so that no label wins by its place."""
    plain, _ = coded(LABELS)
    biased, _ = coded(LABELS, bias=20.0)
    named = []
    for answer in (plain, biased):
        with FakeProvider(answer) as provider:
            link = link_to(provider)
            prompts = rendered(link, 300)
            named.append([vote.label for vote in ask(link, *prompts)])
    assert sum(a != b for a, b in zip(*named, strict=True)) > 60
    firsts = sum(label == codes_of(prompt, 3)[0] for label, prompt in zip(named[1], prompts, strict=True))
    assert firsts > 200
    assert all(70 < count < 130 for count in Counter(named[1]).values())


@pytest.mark.parametrize("text", SAID)
def test_answers(text):
    """A code may stand in decoration, after a lead-in, or beside its own label."""
    with FakeProvider(lambda _: Reply(text)) as provider:
        (vote,) = ask(link_to(provider, TASK), ORDER)
    assert isinstance(vote, Vote), vote
    assert vote.label == SAID[text]


def test_a_label_without_its_code():
    """A label that is named itself counts, without a confidence."""
    with FakeProvider(lambda _: Reply("Pro-War.")) as provider:
        (vote,) = ask(link_to(provider, TASK), ORDER)
    assert (vote.label, vote.confidence, vote.source) == ("pro-war", None, "none")


@pytest.mark.parametrize("text", WRONG)
def test_malformed_answers(text):
    """Anything else is a failure with its reason."""
    with FakeProvider(lambda _: Reply(text)) as provider:
        (answer,) = ask(link_to(provider, TASK), ORDER)
    assert isinstance(answer, Failure), answer
    assert (answer.reason, answer.retryable) == (WRONG[text], False)


@pytest.mark.parametrize("text", ["A", "A = ag", "pro"])
def test_cut_answers(text):
    """A letter that was cut may begin any word; so it is none."""
    with FakeProvider(lambda _: Reply(text, finish_reason="length")) as provider:
        (answer,) = ask(link_to(provider, TASK), ORDER)
    assert (answer.reason, answer.text) == ("cut", text)


def test_a_question_without_codes():
    """A question that another link rendered can't be read by codes: a failure, and no label."""
    with FakeProvider(lambda _: Reply("A")) as provider:
        answers = ask(link_to(provider, TASK), "What?", ORDER.replace("pro-war", "con"), f"{ORDER}\n")
    assert [answer.reason for answer in answers] == ["template"] * 3


WRONG_TASKS = {
    "a letter": (["x", "yes"], {}, "the label 'x' is a letter itself"),
    "too many": ([f"label {at}" for at in range(27)], {}, "27 labels are more than there are letters"),
    "two lines": (["a\nb", "yes"], {}, "longer than a line"),
    "no alternatives": (LABELS, {"top_logprobs": 0}, "log-probabilities, which are not asked for"),
    "samples": (LABELS, {"confidence": "samples"}, "log-probabilities, which are not asked for"),
    "a batch": (LABELS, BATCH, "don't tell the order"),
}


@pytest.mark.parametrize("case", WRONG_TASKS)
def test_refused(case):
    """Where codes can't be given or read, one line says why."""
    labels, options, message = WRONG_TASKS[case]
    with FakeProvider() as provider, pytest.raises(TaskError, match=message):
        link_to(provider, labels, **options)


def test_only_where_there_are_log_probabilities():
    """`anthropic` links have no codes."""
    with FakeProvider() as provider:
        task = chain_task(anthropic(provider, codes=True))
    with pytest.raises(TaskError, match="unknown key 'codes'"):
        open_link(task.chain[0], task)


def test_shares(tmp_path):
    """A chain routes by them, and every vote says where its confidence comes from."""
    answer, _ = coded(LABELS, other=0.02)
    with FakeProvider(answer) as provider:
        task = chain_task(openai(provider, codes=True), openai(provider, "big", codes=True))
        labels = execute(task, rows_of(texts(40)), tmp_path / "r")
    votes = answers_in(tmp_path / "r", "small")
    assert {vote.source for vote in votes.values()} == {"code_logprobs"}
    margins = {at: vote.confidence for at, vote in votes.items()}
    forwarded = answers_in(tmp_path / "r", "big")
    assert len(forwarded) == 20
    assert max(margins[at] for at in forwarded) <= min(
        margins[at] for at in margins.keys() - forwarded.keys()
    )
    assert all(row["status"] == "labelled" for row in labels)


def test_another_seed_asks_anew(tmp_path):
    """The seed shapes the questions of such a link: a run folder of another one is refused, and says so."""
    with FakeProvider(coded(LABELS)[0]) as provider:
        tasks = [chain_task(openai(provider, codes=True), seed=seed) for seed in (0, 1)]
        execute(tasks[0], rows_of(texts(5)), tmp_path / "r")
        with pytest.raises(ChangedError, match="link 'small' has other settings"):
            execute(tasks[1], rows_of(texts(5)), tmp_path / "r")
        assert len(provider.calls()) == 5
