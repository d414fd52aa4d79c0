"""The parser of answers against malformed ones by the thousand: none becomes a label."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from soak import figure, many

from catena.confidence import Found, LabelScorer
from catena.confidence.answer import fold
from catena.links.reading import read_label
from catena.links.verbalised import read_verbalised
from catena.types import Failure, Vote

CASES = many(400, 10_000)
SETS = [
    ("favor", "against", "none"),
    ("negative", "non-negative"),
    ("pro", "pro-war", "pro-peace"),
    ("yes", "no", "not sure"),
    ("1", "2", "10"),
    ("支持", "反对", "中立"),
    ("İstanbul", "straße", "café"),
    ("very good", "good", "bad", "very bad"),
    tuple(f"class {at}" for at in range(200)),
]
TWINS = str.maketrans("aceopxyi", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456")
WRAPS = [
    ("", ""),
    (" ", "\n"),
    ("**", "**"),
    ('"', '"'),
    ("(", ")"),
    ("`", "`"),
    ("", "."),
    ('"', '".'),
    ("\n", ""),
]
LEADS = ["", "Answer: ", "Label: ", "**Answer:** ", "Final answer: "]
SEEN = Counter()


def spoilt(random, labels):
    """Return an answer that names no single label, and what is wrong with it."""
    label, other = random.sample(labels, 2)
    ways = {
        "two labels": f"{label}{random.choice([' or ', ', ', ' / ', chr(10), ' and ', ' vs. '])}{other}",
        "denied": f"{random.choice(['not ', 'never ', 'neither ', 'hardly ', 'Not: '])}{label}",
        "in a sentence": random.choice(
            ["I would say {}", "It is {} I think", "{} because of it", "Maybe {}?"]
        ).format(label),
        "a longer word": random.choice(["{}ness", "un{}", "{}s", "x{}", "{}2"]).format(label),
        "look-alikes": label.translate(TWINS),
        "an invisible character": f"{label[:1]}\u200b{label[1:]}" if len(label) > 1 else f"{label}\u200b",
        "cut": label[: random.randrange(len(label))],
        "a question": f"{label}?",
        "twice in JSON": f'{{"label": "{label}", "answer": "{other}"}}',
        "none in JSON": f'{{"label": null, "was": "{label}"}}',
        "half a JSON": f'{{"label": "{label}"',
        "a list": f'["{label}", "{other}"]',
        "the labels again": ", ".join(labels[:9]),
    }
    what = random.choice(list(ways))
    return what, ways[what]


def is_one(text, labels):
    """Tell whether a text is a label after all, as `no` and a cut `not sure` are."""
    folded = fold(text).strip().strip("\"'`*_()[]{}.! \n")
    return folded in {fold(label).strip() for label in labels} or folded.startswith(("answer", "label"))


@settings(max_examples=CASES, deadline=None)
@given(st.integers(0, 1 << 60))
def test_no_malformed_answer_is_a_label(seed):
    """Whatever stands around it, an answer that names none or several labels is a failure with a reason."""
    random = Random(seed)
    labels = random.choice(SETS)
    what, text = spoilt(random, labels)
    if what in {"cut", "look-alikes", "a longer word", "a question"} and (
        is_one(text, labels) or text in labels
    ):
        return
    if what == "denied" and fold(text) in map(fold, labels):
        return
    before, behind = random.choice(WRAPS)
    answer = before + (random.choice(LEADS) if not text.startswith(("{", "[")) else "") + text + behind
    scorer = LabelScorer(labels)
    for read in (
        read_label(scorer, answer, cut=False),
        read_label(scorer, answer, cut=True),
        read_verbalised(scorer, answer, cut=False),
        read_verbalised(scorer, f"{answer} | 85", cut=False),
    ):
        assert isinstance(read, Failure), (what, answer, read)
        assert read.reason in {"empty", "no_label", "many_labels", "cut"}
        assert "\n" not in read.message
    SEEN[what] += 1


@settings(max_examples=CASES, deadline=None)
@given(st.integers(0, 1 << 60))
def test_a_label_is_still_one(seed):
    """The same decorations and lead-ins around a label alone leave it that label, so that misses are no habit."""
    random = Random(seed)
    labels = random.choice(SETS)
    label = random.choice(labels)
    before, behind = random.choice(WRAPS)
    answer = before + random.choice(LEADS) + label + behind
    scorer = LabelScorer(labels)
    found = read_label(scorer, answer, cut=False)
    assert isinstance(found, Found), answer
    assert found.label == label
    vote = read_verbalised(scorer, f"{label} | 85", cut=False)
    assert vote == Vote(label, 0.85, "verbalised")


def test_all_ways_were_met():
    """Every way to be malformed was met."""
    assert len(SEEN) == 13
    figure(
        "silent labels",
        f"{sum(SEEN.values()):,} malformed answers of {len(SEEN)} kinds, read four ways: 0 labels",
    )
