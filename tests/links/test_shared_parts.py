"""Prompts as tokens: what they begin and end with is tokenised once, and the tokens are those of the whole text."""

import pytest

from catena.links.label_tokens import common
from catena.links.shared_parts import ENDING_CHARS, SharedParts
from tiny_models import byte_tokenizer, piece_tokenizer

QUESTION = (
    "What is the stance of the author of this text towards the new bridge over the old river? Read it twice. "
)
START = f"{QUESTION}Answer with exactly one of the labels. "
OTHER = f"{QUESTION}Say nothing else. "
END = " </text> Answer with exactly one of the labels that were given above (favor, against, neutral) and nothing else."
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


def texts_of(start, end=""):
    """Return texts that begin and end alike, enough of them for that to be seen."""
    return [f"{start}{text}{n}{end}" for n in range(2) for text in TEXTS]


@pytest.mark.parametrize("end", ["", END])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_are_those_of_the_whole_text(kind, end):
    """Whatever is in the middle, the tokens are the tokenizer's own, and what is around it is tokenised once."""
    tokenizer = Tokenizer(kind)
    read = SharedParts(tokenizer).read
    texts = texts_of(START, end)
    whole = tokenizer(texts, False)
    assert read(texts) == whole
    tokenizer.asked.clear()
    assert read(texts[::-1]) == whole[::-1]
    ((middles, begun),) = tokenizer.asked
    assert begun
    (left_out,) = {len(text) - len(middle) for text, middle in zip(texts[::-1], middles, strict=True)}
    around = START.rfind(" ", 0, len(START) - ENDING_CHARS), len(end) - end.find(" ", ENDING_CHARS)
    assert left_out - (sum(around) if end else around[0]) in {0, 1}
    assert read([START + end]) == tokenizer([START + end], False)


def test_what_does_not_hold_becomes_shorter():
    """Texts that are framed otherwise are tokenised whole; from then on it is what all texts had in common."""
    tokenizer = Tokenizer("bytes")
    read = SharedParts(tokenizer).read
    one, other = texts_of(START, END), texts_of(OTHER, f" Once more.{END}")
    read(one)
    assert read(other) == tokenizer(other, False)
    for texts in (one, other):
        tokenizer.asked.clear()
        assert read(texts) == tokenizer(texts, False)
        (middles, begun), _ = tokenizer.asked
        assert begun
        assert 0 < texts[0].index(middles[0]) <= common(START, OTHER) - ENDING_CHARS


@pytest.mark.parametrize("texts", [texts_of("Short. ", END), texts_of("x" * 200), [START] * 15])
def test_too_little_in_common(texts):
    """Where texts begin with little that is the same, or no space is in it, or texts are few, they are tokenised whole."""
    tokenizer = Tokenizer("bytes")
    read = SharedParts(tokenizer).read
    assert read(texts) == read(texts)
    assert not any(begun for _, begun in tokenizer.asked)


def test_texts_without_a_middle():
    """Texts that are all the same, and then one that is shorter than what was cut off of them, have their own tokens."""
    tokenizer = Tokenizer("bytes")
    read = SharedParts(tokenizer).read
    assert read([START] * 20) == tokenizer([START] * 20, False)
    for texts in ([START] * 20, [START[:-40]], texts_of(START)):
        assert read(texts) == tokenizer(texts, False)


def test_a_tokenizer_whose_texts_can_not_be_cut():
    """Where the parts' tokens are not those of the whole, the cuts are tried once and no text is ever cut."""
    tokenizer = Tokenizer("far")
    read = SharedParts(tokenizer).read
    texts = texts_of(START, END)
    for _ in range(3):
        assert read(texts) == tokenizer(texts, False)
    tried = [asked for asked, begun in tokenizer.asked if begun]
    assert len(tried) == 4  # before the space and behind it, with and without the end
