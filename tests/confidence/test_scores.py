"""The probabilities of all labels from tokens with alternatives."""

import json
import os
from math import exp, inf, isfinite, log, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.confidence import Found, LabelScorer, LabelScores, Listed, Token, score_labels
from catena.confidence.answer import fold

SERVERS = os.environ.get("CATENA_SERVERS")
END = "<|im_end|>"


def _token(text, mass, others=(), raw=None):
    """Build a token with the alternatives (text, probability); the generated one is listed first."""
    top = [Listed(text, raw, log(mass)), *[Listed(other, None, log(p)) for other, p in others]]
    return Token(text, raw, log(mass), top)


def _close(scores, expected):
    for logprob, mass in zip(scores.logprobs, expected, strict=True):
        assert (logprob is None and mass is None) or exp(logprob) == pytest.approx(mass, abs=1e-9)


def test_surfaces_are_merged():
    """Case, leading space and quotes of one label add up, so that the best label may differ from the generated one."""
    tokens = [
        _token("negative", 0.3, [("Positive", 0.25), (" positive", 0.2), ('"positive', 0.1), ("A", 0.1)])
    ]
    scores = score_labels(tokens, ["positive", "negative"], 0)
    _close(scores, [0.55, 0.3])
    assert scores.best == 0
    assert scores.margin == pytest.approx(log(0.55 / 0.3))
    assert scores.upper == pytest.approx((0.6, 0.35))


def test_labels_that_share_their_first_token_are_parted():
    """`pro-war` and `pro-peace` are told apart at the token where they part."""
    labels = ["pro-war", "pro-peace", "neutral"]
    tokens = [_token("pro", 0.8, [("neutral", 0.2)]), _token("-", 1.0), _token("war", 0.7, [("peace", 0.3)])]
    _close(score_labels(tokens, labels, 0), [0.56, 0.24, 0.2])


@pytest.mark.parametrize("end", [END, "</s>", "<|eot_id|>", "", "."])
def test_an_end_token_closes_the_shorter_label(end):
    """After `pro`, an end token means `pro` and `-war` means `pro-war`."""
    tokens = [_token("pro", 1.0), _token(end, 0.6, [("-war", 0.3), ("fessional", 0.1)])]
    scores = score_labels(tokens, ["pro", "pro-war"], 0)
    _close(scores, [0.6, 0.3])
    assert scores.lower == pytest.approx((0.6, 0.3))


def test_without_an_end_token_the_text_itself_is_the_estimate_only():
    """Where the tokens stop at `pro`, the longer label stays possible in the bounds."""
    scores = score_labels([_token("pro", 0.9, [("x", 0.1)])], ["pro", "pro-war"], 0)
    _close(scores, [0.9, None])
    assert scores.lower == (0.0, 0.0)
    assert scores.upper == pytest.approx((0.9, 0.9))


def test_pro_hyphen_is_not_pro():
    """`pro-` goes on to the longer label."""
    _close(
        score_labels([_token("neutral", 0.6, [("pro-", 0.4)])], ["pro", "pro-war", "neutral"], 0),
        [None, 0.4, 0.6],
    )


def test_contained_labels_do_not_mix():
    """`negative` at the end of `non-negative` gives nothing to `negative`."""
    tokens = [_token("non", 0.7, [("negative", 0.3)]), _token("-", 1.0), _token("negative", 1.0)]
    _close(score_labels(tokens, ["negative", "non-negative"], 0), [0.3, 0.7])


def test_nested_words():
    """yes, no, none and not sure are told apart by what follows."""
    labels = ["yes", "no", "none", "not sure"]
    tokens = [
        _token("no", 0.5, [("yes", 0.2), ("none", 0.2), ("not", 0.1)]),
        _token(END, 0.8, [("ne", 0.1), ("t", 0.1)]),
    ]
    _close(score_labels(tokens, labels, 0), [0.2, 0.4, 0.25, 0.15])


def test_an_alternative_of_several_labels_is_split_and_bounded():
    """An ambiguous alternative is shared in the estimate and whole in the upper bounds."""
    scores = score_labels([_token("neutral", 0.6, [("pro", 0.4)])], ["pro-war", "pro-peace", "neutral"], 0)
    _close(scores, [0.2, 0.2, 0.6])
    assert scores.lower == pytest.approx((0, 0, 0.6))
    assert scores.upper == pytest.approx((0.4, 0.4, 0.6))


def test_an_alternative_of_decoration_only_is_left_out():
    """A quote or a space tells nothing about the label."""
    scores = score_labels([_token("yes", 0.6, [('"', 0.3), ("no", 0.1)])], ["yes", "no"], 0)
    _close(scores, [0.6, 0.1])
    assert scores.upper == pytest.approx((0.9, 0.4))


@pytest.mark.parametrize(
    ("labels", "own", "others", "expected"),
    [
        (["no", "none", "not sure"], "none", [("no", 0.5), ("not", 0.1)], [0.5, 0.4, 0.1]),
        (["no", "none", "not sure", "yes"], "none", [("no", 0.3), (" not", 0.3)], [0.3, 0.4, 0.3, None]),
        (["toxic", "toxicity"], "toxicity", [("toxic", 0.6)], [0.6, 0.4]),
        (["agree", "agree strongly"], "agree strongly", [("agree", 0.6)], [0.6, 0.4]),
    ],
)
def test_a_label_with_a_longer_token_takes_nothing_of_a_shorter_one(labels, own, others, expected):
    """`no` stays with `no` where `none` and `not` are tokens of their own, whether or not all labels begin so."""
    scores = score_labels([_token(own, 0.4, others)], labels, 0)
    _close(scores, expected)
    assert scores.best == max(range(len(labels)), key=lambda index: expected[index] or 0)


@pytest.mark.parametrize("more", [[], [("None", 0.05)]])
def test_another_dress_without_a_longer_token_is_shared_as_the_first_one_is(more):
    """Where `none` and `not` are tokens beside `no`, and `None` is none beside `No`, that may become any of the three."""
    scores = score_labels(
        [_token("none", 0.4, [("no", 0.3), ("No", 0.15), ("not", 0.1), *more])], ["no", "none", "not sure"], 0
    )
    if more:  # `None` is a token: `No` becomes `no` or `not sure`
        _close(scores, [0.3 + 0.15 * 0.75, 0.45, 0.1 + 0.15 * 0.25])
    else:
        _close(scores, [0.3 + 0.15 * 0.375, 0.4 + 0.15 * 0.5, 0.1 + 0.15 * 0.125])
    assert scores.upper == pytest.approx((0.45, 0.9, 0.55) if more else (0.5, 0.9, 0.6), abs=1e-6)


@pytest.mark.parametrize(("own", "other"), [("il", "ili"), ("ili", "il")])
def test_a_space_before_two_labels_is_shared_as_they_are_without_it(own, other):
    """Whichever of `il` and `ilil` the answer is: ` il` is shared by both as `il` and `ili` are."""
    tokens = [_token(own, 0.5, [(other, 0.3), (" il", 0.2)]), _token(END, 1.0)]
    if own == "ili":
        tokens.insert(1, _token("l", 1.0))
    scores = score_labels(tokens, ["il", "ilil"], 0)
    _close(scores, [0.625, 0.375] if own == "il" else [0.375, 0.625])
    assert scores.lower == pytest.approx((0.5, 0.3) if own == "il" else (0.0, 0.5))


def test_a_token_of_another_dress_follows_only_to_the_labels_that_it_may_become():
    """After ` no` the answer goes on to `none` and `not`; `no` has longer tokens for both, so it is `no`."""
    labels = ["no", "none", "not"]
    others = [("no", 0.2), ("none", 0.1), ("not", 0.1)]
    tokens = [_token(" no", 0.6, others), _token("ne", 0.5, [(END, 0.3), ("t", 0.2)])]
    _close(score_labels(tokens, labels, 1), [0.18 + 0.2, 0.3 + 0.1, 0.12 + 0.1])


def test_the_case_of_a_label_tells_it_from_others():
    """`non` begins `non-no` as that is written, `Non` begins `Nonback`."""
    tokens = [_token("Non", 0.6, [("non", 0.3), ("x", 0.1)]), _token("back", 1.0), _token(END, 1.0)]
    _close(score_labels(tokens, ["Nonback", "non-no"], 0), [0.6, 0.3])


def test_a_mark_may_change_the_last_character():
    """A model without a token for `é` writes `e` and an accent: `cafe` may become `café`, and no bound says otherwise."""
    accent = "\u0301"
    tokens = [_token("cafe", 0.9, [("tea", 0.1)]), _token(accent, 0.7, [(END, 0.3)])]
    scores = score_labels(tokens, ["cafe", "café", "tea"], 0)
    _close(scores, [0.27, 0.63, 0.1])
    assert scores.lower == pytest.approx((0.27, 0.63, 0.1))
    other = score_labels([_token("tea", 0.9, [("cafe", 0.1)])], ["cafe", "café", "tea"], 0)
    _close(other, [0.1, None, 0.9])
    assert other.upper == pytest.approx((0.1, 0.1, 0.9), abs=1e-6)


def test_a_label_left_aside_by_a_token_of_its_own():
    """Where `bomb` begins `bombom` beside `bo`, an answer that goes on from `bo` with `m` is `bom`."""
    tokens = [_token("bo", 0.8, [("bomb", 0.2)]), _token("ms", 0.5, [("m", 0.5)])]
    _close(score_labels(tokens, ["bombom", "bomsus", "bom"], 0), [0.2, 0.4, 0.4])


def test_no_list_tells_whose_another_dress_is():
    """Two models with one list: of the first, ` il` is `il` alone, of the other `ilil`; the bounds hold both."""
    listed = [_token("il", 0.5, [("ili", 0.3), (" il", 0.2)]), _token(END, 1.0)]
    scores = score_labels(listed, ["il", "ilil"], 0)
    for truth in ([0.7, 0.3], [0.5, 0.5]):
        for low, mass, high in zip(scores.lower, truth, scores.upper, strict=True):
            assert low - 1e-9 <= mass <= high + 1e-9
    assert scores.least == 0.0


def test_a_label_without_a_longer_token_keeps_its_share():
    """Where only `none` is listed as a token of its own, `no` may still become `not sure`."""
    scores = score_labels([_token("none", 0.4, [("no", 0.6)])], ["no", "none", "not sure"], 0)
    _close(scores, [0.3, 0.4, 0.3])


def test_the_bounds_of_an_ambiguous_alternative_know_no_longer_token():
    """That `none` is a token of its own moves the estimate; `no` counts whole in the upper bound of every label."""
    scores = score_labels([_token("none", 0.4, [("no", 0.5), ("not", 0.1)])], ["no", "none", "not sure"], 0)
    assert scores.lower == pytest.approx((0.0, 0.4, 0.1))
    assert scores.upper == pytest.approx((0.5, 0.9, 0.6))


def test_a_label_with_its_full_stop_leaves_the_label_in():
    """`no.` is a longer token of `no`, but `no` is that label already and keeps its share."""
    scores = score_labels(
        [_token("none", 0.4, [("no", 0.3), ("no.", 0.2), ("not", 0.1)])], ["no", "none", "not sure"], 0
    )
    _close(scores, [0.5, 0.4, 0.1])


def test_an_alternative_of_longer_tokens_only_is_shared_as_they_are():
    """`n` is no label, and all labels it begins have a longer token: it is shared in proportion to those."""
    scores = score_labels([_token("none", 0.4, [("n", 0.2), ("not", 0.1)])], ["none", "not sure"], 0)
    _close(scores, [0.56, 0.14])


def test_a_beginning_of_all_labels_is_shared():
    """An alternative with letters says more than a quote, even where all labels begin with it."""
    scores = score_labels([_token("?", 0.6, [("pro", 0.4)])], ["pro-war", "pro-peace"], 0)
    _close(scores, [0.2, 0.2])


def test_part_characters_are_parted_by_whole_ones():
    """The first byte of `é` and `è` is left to `è` where `é` is a token of its own."""
    top = [Listed("\ufffd", "é".encode()[:1], log(0.3))]
    _close(score_labels([Token("é", None, log(0.7), top)], ["ét", "èt"], 0), [0.7, 0.3])


def test_other_surfaces_of_an_ambiguous_token_go_on_as_it_does():
    """`Very` is taken to part between the labels as `very` does, in the estimate only."""
    labels = ["very good", "very bad", "fair"]
    tokens = [_token("very", 0.6, [("Very", 0.2), ("fair", 0.2)]), _token(" good", 0.9, [(" bad", 0.1)])]
    scores = score_labels(tokens, labels, 0)
    _close(scores, [0.72, 0.08, 0.2])
    assert scores.lower == pytest.approx((0.54, 0.06, 0.2))
    assert scores.upper == pytest.approx((0.74, 0.26, 0.2))


def test_the_start_conditions_on_the_tokens_before_it():
    """The label's own token is scored, a JSON frame before it isn't."""
    tokens = [
        _token('{"label":', 0.01),
        _token(' "', 0.5),
        _token("yes", 0.9, [("no", 0.1)]),
        _token('"}', 1.0),
    ]
    _close(score_labels(tokens, ["yes", "no"], 11), [0.9, 0.1])


def test_what_stands_before_the_label_in_its_token_is_taken_off():
    """Alternatives that share the frame inside the token are compared without it."""
    _close(score_labels([_token("=yes", 0.9, [("=no", 0.1)])], ["yes", "no"], 1), [0.9, 0.1])


def test_bytes_part_characters():
    """Tokens that split a character are followed by their bytes."""
    own, other = "é".encode(), "è".encode()
    top = [Listed("", own[1:], log(0.7)), Listed("", other[1:], log(0.3))]
    tokens = [_token("", 1.0, raw=own[:1]), Token("", own[1:], log(0.7), top), _token("t", 1.0)]
    _close(score_labels(tokens, ["ét", "èt"], 0), [0.7, 0.3])


def test_bytes_win_over_the_text():
    """A server that shows token ids as text is read by its bytes."""
    _close(
        score_labels([_token("token_id:503", 0.8, [("no", 0.2)], raw=b"yes")], ["yes", "no"], 0), [0.8, 0.2]
    )


@pytest.mark.parametrize(
    "top", [None, (), [Listed("yes", None, log(0.9))], [Listed("yes", None, log(0.9))] * 2]
)
def test_the_generated_token_counts_once(top):
    """Missing from the list, alone in it or twice in it: the generated token has its mass once."""
    scores = score_labels([Token("yes", None, log(0.9), top)], ["yes", "no"], 0)
    _close(scores, [0.9, None])
    assert scores.upper == pytest.approx((1.0, 0.1))
    assert scores.margin == pytest.approx(log(0.9 / 0.1))


def test_equal_texts_of_other_ids_add_up():
    """Two ids of one text are two surfaces."""
    _close(
        score_labels([_token("yes", 0.5, [("no", 0.2), ("no", 0.1), ("yes", 0.2)])], ["yes", "no"], 0),
        [0.7, 0.3],
    )


@pytest.mark.parametrize("bad", [-9999.0, -inf, nan])
def test_impossible_alternatives_count_as_unlisted(bad):
    """Banned tokens have no mass, and no infinity gets out."""
    token = Token("yes", None, 1e-6, [Listed("no", None, bad)])
    scores = score_labels([token], ["yes", "no"], 0)
    assert scores.logprobs == (0.0, None)
    assert scores.margin == pytest.approx(-log(1e-7))


def test_an_unlisted_label_counts_with_the_least_listed():
    """The rival of the margin is never larger than what the list ends with."""
    scores = score_labels([_token("yes", 0.5, [("x", 0.04)])], ["yes", "no"], 0)
    assert scores.upper[1] == pytest.approx(0.46)
    assert scores.margin == pytest.approx(log(0.5 / 0.04))


@pytest.mark.parametrize(
    "tokens", [[], [Token("", b"", 0.0)], [Token("xx", None, 0.0)], [Token("yes", None, nan)]]
)
def test_nothing_known_is_no_confidence(tokens):
    """Tokens that say nothing about labels give no estimate and margin 0."""
    scores = score_labels(tokens, ["yes", "no"], 0)
    assert scores.logprobs == (None, None)
    assert scores.margin == 0.0


ANY_LOGPROB = st.one_of(st.floats(), st.floats(-20, 0.01), st.just(-9999.0))
ANY_LISTED = st.builds(
    Listed,
    st.sampled_from(["pro", "-", "war", "", "\ufffd", " x", "é", END, "\ud800"]),
    st.none() | st.binary(max_size=3),
    ANY_LOGPROB,
)


@settings(max_examples=1_000, deadline=None)
@given(
    st.lists(
        st.builds(lambda a, top: Token(*a, top), ANY_LISTED, st.none() | st.lists(ANY_LISTED, max_size=5)),
        max_size=4,
    ),
    st.integers(0, 9),
)
def test_takes_any_tokens(tokens, start):
    """Whatever a server lists, results are finite, ordered and sum to at most 1."""
    scores = score_labels(tokens, ["pro", "pro-war", "é", "日"], start)
    _check_sane(scores)


def _check_sane(scores: LabelScores):
    point = [0.0 if logprob is None else exp(logprob) for logprob in scores.logprobs]
    assert isfinite(scores.margin)
    assert scores.margin >= 0
    assert sum(point) <= 1 + 1e-9
    assert sum(scores.lower) <= 1 + 1e-9
    for low, mass, high in zip(scores.lower, point, scores.upper, strict=True):
        assert 0 <= low <= mass + 1e-9 <= high + 2e-9 <= 1 + 2e-9


WORDS = st.lists(st.sampled_from(["a", "b", "pro", "non", "é", "ß", "日本", "1"]), min_size=1, max_size=3)
LABEL = st.builds(lambda words, gap: gap.join(words), WORDS, st.sampled_from(["", "-", " ", "_"]))
LEADS = ["", " ", '"', ' "', "**", "“"]
TAILS = ["", ".", "\n"]


@st.composite
def worlds(draw):
    """Draw a model: labels, and token sequences (ended) with their label (None: junk) and probability."""
    labels = draw(st.lists(LABEL, min_size=2, max_size=5, unique_by=fold))
    in_bytes = draw(st.booleans())
    sequences = {}
    for _ in range(draw(st.integers(2, 12))):
        index = draw(st.sampled_from([*range(len(labels)), None]))
        name = (
            "zq" if index is None else draw(st.sampled_from([str, str.upper, str.capitalize]))(labels[index])
        )
        text = draw(st.sampled_from(LEADS)) + name + draw(st.sampled_from(TAILS))
        text = text.encode() if in_bytes else text
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if text[a:b]]
        sequences[(*parts, END.encode() if in_bytes else END)] = (index, draw(st.floats(0.01, 1)))
    total = sum(mass for _, mass in sequences.values())
    return labels, {tokens: (index, mass / total) for tokens, (index, mass) in sequences.items()}


def _below(sequences, path):
    return {tokens: of for tokens, of in sequences.items() if tokens[: len(path)] == path}


def _children(sequences, path):
    """Return the probability of each next token after the path."""
    below = _below(sequences, path)
    total = sum(mass for _, mass in below.values())
    children = {}
    for tokens, (_, mass) in below.items():
        children[tokens[len(path)]] = children.get(tokens[len(path)], 0.0) + mass / total
    return children


def _listed(part, mass):
    return (
        Listed(part, None, log(mass))
        if isinstance(part, str)
        else Listed(part.decode(errors="replace"), part, log(mass))
    )


def _greedy(sequences, keep, shuffle):
    """Return the greedy path and its tokens, each with its `keep` likeliest alternatives in some order."""
    path, tokens, complete = (), [], True
    while path not in sequences:
        children = _children(sequences, path)
        own = max(children, key=children.get)
        listed = sorted(children, key=children.get, reverse=True)[:keep]
        complete &= len(listed) == len(children)
        top = shuffle([_listed(part, children[part]) for part in listed])
        tokens.append(Token(*_listed(own, children[own]), top))
        path = (*path, own)
    return path, tokens, complete


def _naive(text, labels):
    """Return the labels that a text may be or become, by the definition."""
    text = fold(text).lstrip().lstrip('"*“')
    names = [fold(label) for label in labels]
    becoming = {i for i, name in enumerate(names) if name.startswith(text)}
    is_one = {
        i
        for i, name in enumerate(names)
        if text.startswith(name) and not text[len(name) : len(name) + 1].isalnum()
    }
    return becoming or set(sorted(is_one, key=lambda i: len(names[i]))[-1:])


@settings(max_examples=2_000, deadline=None)
@given(worlds(), st.integers(1, 8), st.randoms(use_true_random=False), st.booleans())
def test_bounds_hold_the_truth_and_estimates_equal_it_where_all_is_listed(world, keep, random, ends):
    """The known probability of each label lies in the bounds; where every parting is listed it is the estimate."""
    labels, sequences = world
    path, tokens, complete = _greedy(sequences, keep, lambda top: random.sample(top, len(top)))
    text = (b"" if isinstance(path[0], bytes) else "").join(path)
    text = text.decode() if isinstance(text, bytes) else text
    start = len(text) - len(text.lstrip(' "*“'))
    size, first = 0, 0
    unit = text[:start].encode() if isinstance(path[0], bytes) else text[:start]
    while size + len(path[first]) <= len(unit):
        size, first = size + len(path[first]), first + 1
    below = _below(sequences, path[:first])
    total = sum(mass for _, mass in below.values())
    truth = [sum(mass for of, mass in below.values() if of == index) / total for index in range(len(labels))]
    scores = LabelScorer(labels).score(tokens if ends else tokens[:-1], start)
    _check_sane(scores)
    for low, mass, high in zip(scores.lower, truth, scores.upper, strict=True):
        assert low - 1e-9 <= mass <= high + 1e-9
    if complete and ends and _parts_plainly(labels, sequences, path, first):
        point = [0.0 if logprob is None else exp(logprob) for logprob in scores.logprobs]
        assert sum(abs(a - b) for a, b in zip(point, truth, strict=True)) <= 2e-9


def _parts_plainly(labels, sequences, path, first):
    """Tell whether every alternative to the path leads to at most one label."""
    for at in range(first, len(path)):
        for part in _children(sequences, path[:at]):
            text = (b"" if isinstance(part, bytes) else "").join((*path[first:at], part))
            if isinstance(text, bytes):
                try:
                    text = text.decode()
                except UnicodeDecodeError:
                    return False
            if part != path[at] and len(_naive(text, labels)) > 1:
                return False
    return True


def _recorded(name):
    if not SERVERS:
        pytest.skip("CATENA_SERVERS names no folder with recorded answers")
    files = [path for path in Path(SERVERS).rglob(f"*__{name}.json") if path.is_file()]
    if not files:
        pytest.skip(f"no recorded {name} in CATENA_SERVERS")
    for path in sorted(files):
        response = json.loads(path.read_text())["response"]
        choice = (response.get("choices") or [{}])[0] if isinstance(response, dict) else {}
        content = (choice.get("logprobs") or {}).get("content")
        if content and choice["message"]["content"]:
            yield (
                path.stem,
                choice["message"]["content"],
                [Token(*_read(t), [Listed(*_read(a)) for a in t["top_logprobs"]]) for t in content],
            )


def _read(entry):
    raw = entry.get("bytes")
    return entry["token"], None if raw is None else bytes(raw), entry["logprob"]


def _reference(name):
    path = Path(SERVERS or ".").resolve().parent / "tiny_llm" / "reference.json"
    path = (
        path
        if path.exists()
        else Path(SERVERS or ".").resolve().parent.parent / "tiny_llm" / "reference.json"
    )
    if not path.exists():
        pytest.skip("no tiny_llm/reference.json beside CATENA_SERVERS")
    return json.loads(path.read_text())[name]


THREE = ["positive", "negative", "neutral"]
FIVE = ["very_positive", "positive", "neutral", "negative", "very_negative"]


@pytest.mark.parametrize(
    ("name", "labels", "reference"),
    [
        ("chat_lp20", THREE, "chat_lp20"),
        ("chat_mixed", THREE, "chat_mixed"),
        ("chat_five", FIVE, "chat_five"),
        ("chat_unicode", THREE, "unicode"),
    ],
)
def test_recorded_answers_agree_with_the_exact_model(name, labels, reference):
    """Every server's recorded answer gives the exact model's label probabilities, merged over surfaces, to 1e-3."""
    scorer, exact, seen = LabelScorer(labels), _reference(reference), 0
    for server, text, tokens in _recorded(name):
        if server.startswith("vllmproc"):
            continue  # its log-probabilities are those after temperature and masks
        found = scorer.parse(text)
        assert isinstance(found, Found)
        scores = scorer.score(tokens, found.start)
        for index, label in enumerate(labels):
            own = sum(
                exp(logprob) for surface, logprob, _ in exact["top20"] if surface.strip().lower() == label
            )
            # `very_Positive` and `very_positive` are one label; the reference knows only the second.
            own, more = (exp(exact["labels"][label]["sum"]), 0.005) if "very" in label else (own, 0.0)
            assert scores.lower[index] - more - 1e-3 <= own <= scores.upper[index] + 1e-3
            assert own - 1e-3 <= exp(scores.logprobs[index]) <= own + more + 1e-3
            if not more:
                assert scores.logprobs[index] == pytest.approx(log(own), abs=1e-3)
        seen += 1
    assert seen >= 1


@pytest.mark.parametrize(
    "name",
    [
        "chat_lp5",
        "chat_lp100",
        "chat_lp0",
        "chat_no_lp",
        "chat_json_free",
        "chat_json_schema",
        "x_tokids",
        "chat_temp1",
    ],
)
def test_every_recorded_answer_has_a_label_and_finite_scores(name):
    """Answers with few, many or no alternatives, in JSON or in ids give a label and sane scores with that label best."""
    scorer = LabelScorer(THREE)
    for server, text, tokens in _recorded(name):
        found = scorer.parse(text)
        assert isinstance(found, Found), server
        scores = scorer.score(tokens, found.start)
        _check_sane(scores)
        assert scores.logprobs[found.index] is not None
