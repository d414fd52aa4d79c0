"""Prompts as tokens: what they begin with is tokenised once, and the tokens are those of the whole text."""

import pytest

from catena.links.beginnings import ENDING_CHARS, Beginnings
from catena.links.label_tokens import common
from tiny_models import byte_tokenizer, piece_tokenizer

QUESTION = (
    "What is the stance of the author of this text towards the new bridge over the old river? Read it twice. "
)
START = f"{QUESTION}Answer with exactly one of the labels. "
OTHER = f"{QUESTION}Say nothing else. "
TEXTS = (
    "Lovely",
    "",
    " Dreadful! ",
    "\n\n1 2",
    "нет, 日本",
    "e\u0301",
    "  two",
    "labels.",
    "'s",
    "<|im_end|>",
)
TOKENIZERS = {"bytes": byte_tokenizer, "pieces": piece_tokenizer}


class Tokenizer:
    """Encodes as the link does, and keeps what it was asked."""

    def __init__(self, kind):
        pytest.importorskip("transformers")
        self.fast = TOKENIZERS[kind]().backend_tokenizer if kind in TOKENIZERS else None
        self.asked = []

    def __call__(self, texts, begun):
        """Return the tokens of each text."""
        self.asked.append([texts, begun])
        if self.fast is None:  # whatever a token is, what is far away decides about it
            return [tuple(len(text) % 7 + ord(letter) for letter in text) for text in texts]
        return [tuple(each.ids) for each in self.fast.encode_batch(list(texts), add_special_tokens=False)]


def texts_of(start):
    """Return texts that begin alike, enough of them for that to be seen."""
    return [f"{start}{text}{n}" for n in range(2) for text in TEXTS]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_are_those_of_the_whole_text(kind):
    """Whatever follows the beginning, the tokens are the tokenizer's own, and the beginning is tokenised once."""
    tokenizer = Tokenizer(kind)
    read = Beginnings(tokenizer).read
    texts = texts_of(START)
    whole = tokenizer(texts, False)
    assert read(texts) == whole
    tokenizer.asked.clear()
    assert read(texts[::-1]) == whole[::-1]
    ((rests, begun),) = tokenizer.asked
    assert begun
    assert {len(text) - len(rest) for text, rest in zip(texts[::-1], rests, strict=True)} <= {
        START.rfind(" ", 0, len(START) - ENDING_CHARS) + more for more in (0, 1)
    }
    assert read([START]) == tokenizer([START], False)


def test_a_beginning_that_does_not_hold_becomes_shorter():
    """Texts that leave it are tokenised whole; from then on it is what all texts had in common."""
    tokenizer = Tokenizer("bytes")
    read = Beginnings(tokenizer).read
    one, other = texts_of(START), texts_of(OTHER)
    read(one)
    assert read(other) == tokenizer(other, False)
    for texts in (one, other):
        tokenizer.asked.clear()
        assert read(texts) == tokenizer(texts, False)
        assert tokenizer.asked[0][1]
        assert len(texts[0]) - len(tokenizer.asked[0][0][0]) <= common(START, OTHER) - ENDING_CHARS


@pytest.mark.parametrize("texts", [texts_of("Short. "), texts_of("x" * 200), [START] * 15])
def test_too_little_in_common(texts):
    """Where little is shared, or no space is in it, or texts are few, they are tokenised whole."""
    tokenizer = Tokenizer("bytes")
    read = Beginnings(tokenizer).read
    assert read(texts) == read(texts)
    assert not any(begun for _, begun in tokenizer.asked)


def test_a_tokenizer_that_can_not_be_cut():
    """Where the parts' tokens are not those of the whole, no text is ever cut."""
    tokenizer = Tokenizer("far")
    read = Beginnings(tokenizer).read
    texts = texts_of(START)
    for _ in range(3):
        assert read(texts) == tokenizer(texts, False)
    assert (
        sum(begun for _, begun in tokenizer.asked) == 2
    )  # one before the space and one behind it were tried
