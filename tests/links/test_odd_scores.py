"""Log-probabilities of servers that are wrong, odd or lying: never a label, a bound or a confidence that they don't carry."""

import json
from math import exp, log
from unicodedata import normalize

import msgspec
import pytest

from catena.errors import TaskError
from catena.links import open_link
from catena.types import Failure, Vote
from chains import chain_task

LABELS = ("favor", "against", "none")


def read(content, tokens, labels=LABELS, *, finish="stop", raw=None):
    """Return what an openai link reads from an answer with these tokens: (text, log-probability, alternatives)."""
    listed = [
        {
            "token": text,
            "logprob": own,
            "bytes": None,
            "top_logprobs": [dict(zip(("token", "logprob"), each, strict=True)) for each in top],
        }
        for text, own, top in tokens
    ]
    choice = {"message": {"content": content}, "finish_reason": finish, "logprobs": {"content": listed}}
    entry = {
        "name": "a",
        "kind": "openai",
        "model": "m",
        "base_url": "http://127.0.0.1:1/v1",
        "price": "free",
    }
    task = chain_task(entry, labels=labels)
    return open_link(task.chain[0], task).read(raw or json.dumps({"choices": [choice]}).encode(), 1.0)


def sane(vote, labels=LABELS):
    """See that a vote is one of the labels with finite, ordered numbers."""
    assert isinstance(vote, Vote), vote
    assert vote.label in labels
    msgspec.json.encode(vote)
    if vote.logprobs is None:
        return
    assert vote.confidence >= 0
    assert vote.confidence < 100
    for low, logprob, high in zip(vote.lower, vote.logprobs, vote.upper, strict=True):
        assert 0 <= low <= high <= 1
        assert logprob is None or low - 1e-9 <= exp(logprob) <= high + 1e-9


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), float("inf"), 3.0, -9999.0])
@pytest.mark.parametrize("where", ["own", "other", "both"])
def test_numbers_that_are_none(bad, where):
    """NaN, infinities (as Python's servers write them), a positive and a banned one: a vote with sane numbers, or none."""
    own, other = (
        bad if where in {name, "both"} else value for name, value in (("own", log(0.6)), ("other", log(0.4)))
    )
    vote = read("favor", [("favor", own, [("favor", own), ("against", other)])])
    sane(vote)
    if bad < -700 and where == "other":
        assert vote.label == "favor"
        assert vote.logprobs[1] is None


def test_infinity_in_another_place_is_no_answer():
    """A body that only looks like one is a failure."""
    for raw in (b'{"choices": [{"message": {"content": NaN}}]}', b"{NaN", b'{"choices": Infinity}'):
        answer = read("", [], raw=raw)
        assert isinstance(answer, Failure)
        assert answer.reason in {"bad_body", "no_label"}


def test_a_token_that_is_listed_twice_counts_once():
    """A server that repeats itself makes a label no likelier."""
    top = [("favor", log(0.5)), ("against", log(0.3)), ("against", log(0.3)), ("favor", log(0.5))]
    vote = read("favor", [("favor", log(0.5), top)])
    assert [round(exp(each), 6) for each in vote.logprobs[:2]] == [0.5, 0.3]
    assert vote.upper[1] == pytest.approx(0.5)


def test_thoughts_among_the_tokens_are_not_scored():
    """Tokens of thoughts that the answer leaves out name a label: those of the answer are scored."""
    thoughts = [("against", log(0.9), [("favor", log(0.05))]), ("? No.", 0.0, []), ("</think>", 0.0, [])]
    vote = read(
        "favor",
        [*thoughts, ("\n\n", 0.0, []), ("favor", log(0.7), [("against", log(0.3))]), ("<|im_end|>", 0.0, [])],
    )
    sane(vote)
    assert vote.label == "favor"
    assert [round(exp(each), 6) for each in vote.logprobs[:2]] == [0.7, 0.3]


def test_tokens_of_another_text_give_no_confidence():
    """What the answer says is the label; tokens that don't say it tell nothing of it."""
    vote = read("favor", [("against", log(0.9), [("favor", log(0.1))])])
    assert (vote.label, vote.confidence, vote.source, vote.logprobs) == ("favor", None, "none", None)


@pytest.mark.parametrize("lists", [[], [("against", log(0.1))], [("x", log(1e-6))] * 3])
def test_a_list_without_the_generated_token(lists):
    """Fewer alternatives than were asked for, none at all, and none of the generated token."""
    vote = read("favor", [("favor", log(0.6), lists)])
    sane(vote)
    assert vote.label == "favor"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("😀", "😢", "👍", "👍🏽"), ["👍", "🏽"]),
        (("نعم", "لا"), ["لا"]),
        (("می\u200cخواهم", "نمی\u200cخواهم"), ["نمی", "\u200c", "خواهم"]),
        (("pro ", "contra "), ["contra"]),
        (("a", "ab", "abc", "abd"), ["ab", "d"]),
        (tuple(f"class {at}" for at in range(200)), ["class", " 1", "99"]),
        (("cafe", "cafe\u0301"), ["cafe", "\u0301"]),
    ],
    ids=["emoji", "rtl", "joiner", "trailing", "prefix", "200", "composed"],
)
def test_odd_labels(labels, said):
    """Each is found and scored, token by token, to the one that was said."""
    tokens = [(token, log(0.9), [(token, log(0.9)), ("?", log(0.01))]) for token in said]
    vote = read("".join(said), [*tokens, ("<|im_end|>", 0.0, [])], labels)
    sane(vote, labels)
    assert normalize("NFC", vote.label).strip() == normalize("NFC", "".join(said))
    at = labels.index(vote.label)
    assert 0.9 ** len(said) - 1e-9 <= exp(vote.logprobs[at]) <= 1.0
    assert vote.lower[at] > 0


@pytest.mark.parametrize(
    "labels",
    [
        ("pro", "pro\u200b"),
        ("\u200epro", "pro"),
        ("\ufeff", "x"),
        ("é", "e\u0301"),
        ("ab", "\u202eab"),
        ("pro", " pro"),
    ],
)
def test_labels_that_nobody_can_tell_apart_are_refused(labels):
    """Equal after composition, or but for what is not seen; a label of nothing that is seen is empty."""
    with pytest.raises(TaskError, match=r"what is not seen|is empty"):
        read("x", [], labels)


def test_joiners_are_seen():
    """They shape words and emoji, so they may tell labels apart."""
    assert read("👨‍👩", [], ("👨‍👩", "👨👩")).label == "👨‍👩"
