"""An answer is a label or a miss, never a guess."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.confidence import Found, LabelParser, Missed, parse_answer
from catena.confidence.answer import DECORATION, LEAD_FILLERS, LEAD_NOUNS, fold

STANCE = ("favor", "against", "none")
WAR = ("pro", "pro-war", "pro-peace", "neutral")

NAMED = [
    ("favor", STANCE, "favor", 0),
    (" \n Favor.\n", STANCE, "favor", 3),
    ("FAVOR!", STANCE, "favor", 0),
    ('"favor".', STANCE, "favor", 1),
    ("**favor**", STANCE, "favor", 2),
    ("**_Favor._**", STANCE, "favor", 3),
    ("`favor`", STANCE, "favor", 1),
    ("(favor)", STANCE, "favor", 1),
    ("「favor」", STANCE, "favor", 1),
    ("Label: favor", STANCE, "favor", 7),
    ("**Answer:** favor", STANCE, "favor", 12),
    ("**Answer**: favor", STANCE, "favor", 12),
    ("**Answer: favor**", STANCE, "favor", 10),
    ("Answer: **favor**.", STANCE, "favor", 10),
    ("Final answer: favor", STANCE, "favor", 14),
    ("The final answer is: favor", STANCE, "favor", 21),
    ("Label:\nfavor", STANCE, "favor", 7),
    ("答案：favor", STANCE, "favor", 3),
    ('{"label": "favor"}', STANCE, "favor", 11),
    ('```json\n{"label": "favor"}\n```', STANCE, "favor", 19),
    ("```\nfavor\n```", STANCE, "favor", 4),
    ('{"reason": "he is against it, {so}", "label": "none"}', STANCE, "none", 47),
    ('{"meta": {"label": "x"}, "answer": "favor"}', STANCE, "favor", 36),
    ('{"stance": "favor", "confidence": 0.9}', STANCE, "favor", 12),
    ('{"label": "caf\\u00e9"}', ("café", "bar"), "café", 11),
    ("pro-war", WAR, "pro-war", 0),
    ("pro", WAR, "pro", 0),
    ("non-negative", ("negative", "non-negative"), "non-negative", 0),
    ("negative", ("negative", "non-negative"), "negative", 0),
    ("not sure", ("yes", "no", "none", "not sure"), "not sure", 0),
    ('"quoted"', ('"quoted"', "quoted"), '"quoted"', 0),
    ("C.", ("C", "C."), "C.", 0),
    ("a_b", ("a_b", "b"), "a_b", 0),
    ("*", ("*", "**"), "*", 0),
    ("**", ("*", "**"), "**", 0),
    ("Topic: sport", ("topic: sport", "sport"), "topic: sport", 0),
    ("Answer: 1", ("1", "2"), "1", 8),
    ("cafe\u0301", ("café", "bar"), "café", 0),
    ("STRASSE", ("straße", "weg"), "straße", 0),
    ("支持。", ("支持", "反对"), "支持", 0),
]

MISSED = [
    ("", "empty"),
    (" \n\t ", "empty"),
    ("fav", "no_label"),
    ("I'm sorry, but I can't help with that.", "no_label"),
    ("favorable", "no_label"),
    ("disfavor", "no_label"),
    ("favor favor", "no_label"),
    ("not favor", "no_label"),
    ("Not: favor", "no_label"),
    ("Not the answer: favor", "no_label"),
    ("Wrong label: favor", "no_label"),
    ("The author is in favor.", "no_label"),
    ("favor or against", "many_labels"),
    ("favor, against", "many_labels"),
    ("Label: favor\nLabel: against", "many_labels"),
    ("favor?", "no_label"),
    ("~~favor~~", "no_label"),
    ('"favor', "no_label"),
    ("f\u0430vor", "no_label"),
    ("ｆａｖｏｒ", "no_label"),
    ("fa\u200bvor", "no_label"),
    ("favor\x00", "no_label"),
    ('{"label": "favor", "label": "against"}', "many_labels"),
    ('{"label": "favor", "answer": "against"}', "many_labels"),
    ('{"label": "favor", "second": "against"}', "many_labels"),
    ('{"label": "favor", "label": null}', "many_labels"),
    ('{"label": ["favor"]}', "no_label"),
    ('{"label": null, "other": "favor"}', "no_label"),
    ('{"label": "favor"', "no_label"),
    ('{"label": "favor"} {"label": "favor"}', "no_label"),
    ('{"ruled_out": "favor", "reason": "he says so"}', "no_label"),
    ("{}", "no_label"),
    ("{" * 100_000, "no_label"),
    ("[" * 5_000 + "favor" + "]" * 5_000, "no_label"),
    ("```json\n```", "no_label"),
    ("```\nfavor\n```\n```\nagainst\n```", "many_labels"),
    ('positive"}', "no_label"),
    ("\ud800", "no_label"),
]


@pytest.mark.parametrize(("text", "labels", "label", "start"), NAMED)
def test_names_the_label_where_it_starts(text, labels, label, start):
    """An answer that is a label gives that label and the offset of its first character."""
    found = parse_answer(text, labels)
    assert isinstance(found, Found)
    assert (found.label, found.start) == (label, start)
    assert labels[found.index] == label


@pytest.mark.parametrize(("text", "reason"), MISSED)
def test_anything_else_is_a_typed_miss(text, reason):
    """Every malformed answer has a reason and no label."""
    assert parse_answer(text, STANCE) == Missed(reason)


def test_a_fence_is_not_a_label():
    """The language of an empty code fence isn't taken for the label `json`."""
    assert parse_answer("```json\n```", ("json", "yaml")) == Missed("no_label")


def test_two_ways_to_undress_an_answer_are_many_labels():
    """Where taking off decoration passes two labels, neither is chosen."""
    assert parse_answer('"C."', ("C", "C.")) == Missed("many_labels")


def test_a_lead_in_that_is_a_label_counts_as_one():
    """`Answer: favor` names two labels where `answer` is a label too."""
    assert parse_answer("Answer: favor", ("answer", "favor")) == Missed("many_labels")


@pytest.mark.parametrize(
    ("text", "still_open"), [("pro", True), ('"pro"', False), ("pro.", False), ("Label: pro", True)]
)
def test_tells_that_a_longer_label_may_have_been_cut(text, still_open):
    """`open` is true where a longer label begins with the found one and nothing closes it."""
    found = parse_answer(text, WAR)
    assert isinstance(found, Found)
    assert found.open is still_open


LABELS = st.lists(
    st.text(st.sampled_from('abéßAİ日本-_.*"1 '), min_size=1, max_size=6).filter(str.strip),
    min_size=1,
    max_size=5,
    unique_by=lambda label: fold(label).strip(),
).filter(lambda labels: all(fold(label).strip() for label in labels))


@st.composite
def answers(draw):
    """Draw labels and an answer: pieces of labels, decoration, lead-ins and noise in any order."""
    labels = draw(LABELS)
    noise = st.sampled_from(
        [*DECORATION, *"[]{}:,\n ", "```", "not ", "Answer: ", "Final answer: ", '{"label": "', '"}', "x"]
    )
    pieces = draw(st.lists(st.one_of(st.sampled_from(labels), noise), max_size=6))
    return labels, "".join(pieces)


@settings(max_examples=500, deadline=None)
@given(answers())
def test_never_returns_a_label_that_is_not_the_whole_answer(case):
    """Before the found label stands only decoration or a lead-in, after it only decoration."""
    labels, text = case
    found = LabelParser(labels).parse(text)
    if isinstance(found, Missed):
        return
    rest = text[found.start :]
    ends = [n for n in range(len(rest) + 1) if fold(rest[:n]).strip() == fold(found.label).strip()]
    assert ends
    assert any(not rest[end:].strip("".join(DECORATION) + "}\n ") for end in ends)
    before = "".join(char for char in text[: found.start] if char.isalpha() or char.isspace())
    assert set(fold(before).split()) <= {"label", "json", *LEAD_NOUNS, *LEAD_FILLERS}
    assert "not" not in before


@settings(max_examples=1_000, deadline=None)
@given(st.text(), LABELS)
def test_takes_any_text(text, labels):
    """Any text at all gives a label or a miss, never an exception."""
    assert isinstance(LabelParser(labels).parse(text), Found | Missed)


@settings(max_examples=1_000, deadline=None)
@given(LABELS, st.data())
def test_every_label_is_found_as_itself(labels, data):
    """An answer that is exactly a label names it, whatever characters it has."""
    label = data.draw(st.sampled_from(labels))
    found = LabelParser(labels).parse(f" {label}\n")
    assert isinstance(found, Found)
    assert found.label == label
