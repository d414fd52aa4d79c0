"""A failure is not a label: whatever malformed thing a model says, it has its reason, and the item moves on."""

import asyncio

import pytest
from soak import figure

from catena.links import open_link
from catena.testing.provider import FakeProvider, Reply
from catena.types import Failure
from chains import answers_in, anthropic, chain_task, execute, openai, rows_of
from tables import vote, write_votes

LABELS = ("pro", "pro-war", "against", "İstanbul", "no label")

ANSWERS = {
    "nothing": (Reply(""), "empty"),
    "null": (Reply(None), "empty"),
    "spaces": (Reply(" \n\t "), "empty"),
    "quotes around nothing": (Reply('""'), "no_label"),
    "a refusal": (Reply(None, refusal="I'm sorry, but I can't help with that."), "refused"),
    "a refusal beside a label": (Reply("pro", refusal="I can't."), "refused"),
    "the content filter": (Reply("", finish_reason="content_filter"), "filtered"),
    "the content filter after a label": (Reply("pro", finish_reason="content_filter"), "filtered"),
    "cut before it began": (Reply("", finish_reason="length"), "cut"),
    "cut within a label": (Reply("agai", finish_reason="length"), "cut"),
    "cut where a longer label may follow": (Reply("pro", finish_reason="length"), "cut"),
    "cut in a sentence": (Reply("The text is clearly", finish_reason="length"), "cut"),
    "two labels": (Reply("pro or against"), "many_labels"),
    "two labels on two lines": (Reply("pro-war\nagainst"), "many_labels"),
    "two labels in JSON": (Reply('{"label": "pro", "answer": "against"}'), "many_labels"),
    "the same key twice in JSON": (Reply('{"label": "pro", "label": "against"}'), "many_labels"),
    "a list of labels": (Reply('["pro", "against"]'), "many_labels"),
    "look-alike letters": (Reply("рrо"), "no_label"),  # Cyrillic er and o
    "full-width letters": (Reply("ｐｒｏ"), "no_label"),
    "an invisible space inside": (Reply("pr\u200bo"), "no_label"),
    "a combining mark more": (Reply("pro\u0301"), "no_label"),
    "another letter's case": (Reply("Istanbul"), "no_label"),
    "a longer word": (Reply("proness"), "no_label"),
    "a shorter word": (Reply("pr"), "no_label"),
    "a label with another tail": (Reply("pro-wars"), "no_label"),
    "a label inside a sentence": (Reply("I would say pro"), "no_label"),
    "a denied label": (Reply("not pro"), "no_label"),
    "a denied lead": (Reply("Wrong label: pro"), "no_label"),
    "something else": (Reply("maybe"), "no_label"),
    "a number": (Reply("1"), "no_label"),
    "a description": (Reply("The author supports it."), "no_label"),
    "a JSON without a label": (Reply('{"label": null}'), "no_label"),
    "a JSON with another label": (Reply('{"label": "maybe"}'), "no_label"),
    "a hedge in JSON": (Reply('{"label": "pro", "confidence": "low", "answer": "none"}'), "no_label"),
    "half a JSON": (Reply('{"label": "pro"'), "no_label"),
    "the question again": (
        Reply("Answer with exactly one of the labels (pro, pro-war, against)"),
        "many_labels",
    ),
    "a null character": (Reply("pro\0"), "no_label"),
}
"""What is said, and why it is no label."""

RIGHT = {
    "pro": "pro", " Pro-War. ": "pro-war", "**AGAINST**": "against", '{"label": "pro"}': "pro",
    "Answer: pro-war": "pro-war", "i\u0307stanbul": "İstanbul", "No Label": "no label",
}  # fmt: skip
"""Answers that do name a label: in another case, in decoration, in Unicode's other form."""


def said_about(task_answers):
    """Return a model that answers each text with its own reply; the dear one always with a label."""

    def answer(request):
        if request["model"] == "big":
            return Reply("against")
        prompt = request["messages"][-1]["content"]
        return next(reply for text, reply in task_answers.items() if f"<text>\n{text}\n</text>" in prompt)

    return answer


BATCH = {"mode": "batch", "poll": 0.02}
WAYS = {
    "logprobs": (openai, {}),
    "samples": (openai, {"confidence": "samples", "samples": 3}),
    "verbalised": (openai, {"confidence": "verbalised"}),
    "codes": (openai, {"codes": True}),
    "auto": (openai, {"confidence": "auto"}),
    "after thoughts": (openai, {"think": 50}),
    "in a batch": (openai, BATCH),
    "verbalised in a batch": (openai, BATCH | {"confidence": "verbalised"}),
    "anthropic": (anthropic, {}),
    "anthropic, samples": (anthropic, {"confidence": "samples", "samples": 3}),
    "anthropic, verbalised": (anthropic, {"confidence": "verbalised"}),
    "anthropic, after thoughts": (anthropic, {"think": 50}),
    "anthropic, in a batch": (anthropic, BATCH),
}
"""Kinds of links that read answers, and their ways to a confidence: none makes a label of an answer that is none."""

ANTHROPIC = {"filtered": "refused"}
"""Its API has one word for both."""


def thoughtful(model):
    """Return the model, with thoughts before its answer where it is asked for them."""

    def answer(request):
        asked = request["messages"][-1]["content"]
        if "Do not answer yet" in asked:
            return Reply("There is much to be said.")
        if len(request["messages"]) > 1:
            request = request | {"messages": request["messages"][:1]}
        return model(request)

    return answer


def malformed(way):
    """Return each malformed answer's reason as a link of this kind has it."""
    kind, _ = WAYS[way]
    words = ANTHROPIC if kind is anthropic else {}
    return {what: words.get(reason, reason) for what, (_, reason) in ANSWERS.items()}


@pytest.mark.parametrize("way", WAYS)
def test_each_has_its_reason_and_moves_on(tmp_path, way):
    """The outcome is typed, the next link labels the item, and a label that is named is taken."""
    kind, options = WAYS[way]
    # What is surely a label comes first: the first rows show what a server gives.
    replies = {said: Reply(said) for said in RIGHT} | {what: reply for what, (reply, _) in ANSWERS.items()}
    with FakeProvider(thoughtful(said_about(replies)), labels=list(LABELS)) as provider:
        links = kind(provider, "small", **options), openai(provider, "big")
        share = {"share": [f"{len(RIGHT)}/{len(replies)}", f"{len(ANSWERS)}/{len(replies)}"]}
        task = chain_task(*links, labels=LABELS, data={"id": "id"}, policy=share, aggregate="last")
        labels = execute(task, rows_of(replies), tmp_path / "r")
    said = dict(zip(replies, answers_in(tmp_path / "r", "small").values(), strict=True))
    wrong = {
        what: said[what]
        for what, reason in malformed(way).items()
        if not isinstance(said[what], Failure) or said[what].reason != reason
    }
    assert not wrong
    assert {text: said[text].label for text in RIGHT} == RIGHT
    ended = dict(zip(replies, labels, strict=True))
    assert {ended[what]["link"] for what in ANSWERS} == {"big"}
    assert {ended[what]["link"] for what in RIGHT} == {"small"}
    assert all("\n" not in answer.message for answer in said.values() if isinstance(answer, Failure))
    ways = f"{len(ANSWERS)} kinds of malformed answers x {len(WAYS)} ways to ask"
    figure("failures", f"{ways}: each with its own reason, 0 silent labels")


def test_recorded_answers_that_are_no_label(tmp_path):
    """A replay link takes a recorded label as it is written: what is none is a failure, whatever its confidence."""
    said = {what: reply.text for what, (reply, _) in ANSWERS.items()}
    votes = [vote(f"i{at}", "small", text, 0.99) for at, text in enumerate(said.values())]
    texts = [*said]
    folder = write_votes(tmp_path / "votes", [each for each in votes if each["label"] not in LABELS])
    with FakeProvider(labels=list(LABELS)) as provider:
        links = {"name": "small", "kind": "replay", "votes": str(folder)}, openai(provider, "big")
        task = chain_task(*links, labels=LABELS, data={"id": "id"}, aggregate="last")
        execute(task, rows_of(texts), tmp_path / "r")
    answers = answers_in(tmp_path / "r", "small").values()
    assert {type(answer) for answer in answers} == {Failure}
    assert {answer.reason for answer in answers} == {"no_label", "missing"}


@pytest.mark.parametrize("scoring", ["first-token", "likelihood"])
@pytest.mark.parametrize(("reply", "reason"), [("a refusal", "refused"), ("the content filter", "filtered")])
def test_a_server_that_scores_labels_may_refuse(scoring, reply, reason):
    """Its answer's text is not read, but that it refused is."""
    model = ANSWERS[reply][0]
    with FakeProvider(lambda _: model, labels=list(LABELS), serves=["tokenize"]) as provider:
        task = chain_task(openai(provider, scoring=scoring), labels=["pro", "against"])
        link = open_link(task.chain[0], task)

        async def work():
            try:
                return await link.ask(["What?"])
            finally:
                await link.close()

        (answer,) = asyncio.run(work())
    assert (type(answer), answer.reason) == (Failure, reason)


def test_alone_each_is_a_failed_row(tmp_path):
    """Where no link is left, the row comes out failed, with the reason, and without a label."""
    replies = {what: reply for what, (reply, _) in ANSWERS.items()} | {"fine": Reply("pro")}
    with FakeProvider(said_about(replies), labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, "small"), labels=LABELS, data={"id": "id"})
        labels = execute(task, rows_of(replies), tmp_path / "r")
    assert [row["status"] for row in labels] == ["failed"] * len(ANSWERS) + ["labelled"]
    assert [row["label"] for row in labels] == [None] * len(ANSWERS) + ["pro"]
    assert all(row["reason"].startswith("link 'small': ") for row in labels[:-1])
