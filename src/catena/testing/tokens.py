"""How the fake model speaks: a small tokenizer and the exact next-token probabilities of a set of labels.

A label is said in one of three ways (`label`, ` label`, `Label`) with fixed shares of its probability, and a
small `other` mass goes to tokens that lead to no label. All of it is one tree of token sequences, so that every
probability shown is the exact conditional one, and the product along a path is the probability of that text.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

__all__ = ["END", "LabelTree", "Position", "Vocabulary", "tokenise"]

END = "<|im_end|>"
SHARES = {"label": 0.8, " label": 0.15, "Label": 0.05}
JUNK = [
    *(
        "The",
        "I",
        "This",
        "It",
        "Answer",
        "A",
        "Based",
        "Sure",
        '"',
        "**",
        "Label",
        "As",
        "In",
        "Sorry",
        "Un",
    ),
    *("\n", " ", ".", ",", ":", "!", "-", "(", "</", "Ok", "We", "My", "You", "Given", "To", "Here", "0"),
]
JUNK_DECAY = 0.7  # each junk token is this much rarer than the one before
LEAST = -9999.0  # what OpenAI reports for a probability of 0
PIECES = re.compile(r" ?\w{1,4}| ?[^\w\s]|\s")


def tokenise(text: str) -> list[str]:
    """Cut a text into pieces of up to four letters with their leading space; joined they are the text again.

    >>> tokenise("pro-war"), tokenise(" very positive")
    (['pro', '-', 'war'], [' very', ' posi', 'tive'])
    """
    return PIECES.findall(text)


class Vocabulary:
    """Cuts texts into the longest tokens of a vocabulary, and into single characters where none fits.

    Args:
        tokens: With the leading space that they have.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = frozenset(tokens)
        self._longest = max(map(len, self._tokens), default=1)

    def __call__(self, text: str) -> list[str]:
        """Return the tokens; joined they are the text again."""
        found, at = [], 0
        while at < len(text):
            sizes = range(min(self._longest, len(text) - at), 1, -1)
            size = next((size for size in sizes if text[at : at + size] in self._tokens), 1)
            found.append(text[at : at + size])
            at += size
        return found


class Position(msgspec.Struct, frozen=True, gc=False):
    """One generated token with its log-probability and all alternatives, likeliest first."""

    token: str
    logprob: float
    alternatives: list[tuple[str, float]]


class Node:
    """A place in the tree; each mass is a sparse sum over labels, {label's index: share of its probability}."""

    __slots__ = ("children", "ends", "junk", "junk_tokens", "mass")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.mass: dict[int, float] = {}
        self.ends: dict[int, float] = {}
        self.junk: dict[int, float] = {}
        self.junk_tokens: list[tuple[str, float]] = []

    def __iter__(self) -> Iterator["Node"]:
        yield self
        for child in self.children.values():
            yield from child


def add(sums: dict[int, float], label: int, mass: float) -> None:
    sums[label] = sums.get(label, 0.0) + mass


def total(sums: dict[int, float], probabilities: Sequence[float]) -> float:
    return sum(share * probabilities[label] for label, share in sums.items())


def log(probability: float) -> float:
    return math.log(probability) if probability > 0 else LEAST


class LabelTree:
    """The token sequences of all labels in all their surface forms.

    Args:
        labels: The labels, distinct.
        other: The share of all probability that goes to texts which name no label, in [0, 1): half of it at the
            first token, the rest spread over the later ones.
        cut: Cuts a text into tokens.
    """

    def __init__(
        self, labels: Sequence[str], other: float = 0.02, cut: Callable[[str], list[str]] = tokenise
    ) -> None:
        self.root = Node()
        for index, label in enumerate(labels):
            for text, share in surfaces(label, labels).items():
                self._plant(index, cut(text), share, other)
        for node in self.root:
            free = [token for token in JUNK if token not in node.children]
            scale = sum(JUNK_DECAY**n for n in range(len(free)))
            node.junk_tokens = [(token, JUNK_DECAY**n / scale) for n, token in enumerate(free)]

    def _plant(self, label: int, tokens: list[str], share: float, other: float) -> None:
        node, left = self.root, share
        add(node.mass, label, left)
        leaving = other * share / 2
        for token in tokens:
            add(node.junk, label, leaving)
            left -= leaving
            node = node.children.setdefault(token, Node())
            add(node.mass, label, left)
            leaving = other * share / 2 / len(tokens)
        add(node.junk, label, leaving)
        add(node.ends, label, left - leaving)

    def speak(
        self,
        probabilities: Sequence[float],
        prefix: Iterable[str] = (),
        limit: int | None = None,
        pick: Callable[[list[tuple[str, float]], int], tuple[str, float]] | None = None,
    ) -> tuple[list[Position], bool]:
        """Generate a text, the likeliest token at each step unless `pick` says which.

        Args:
            probabilities: Of each label, in the order of the labels; they sum to 1.
            prefix: Tokens already said (a prefilled answer).
            limit: The most tokens to say.
            pick: Chooses among the next tokens and their log-probabilities, given how many tokens are said.

        Returns:
            The positions, the end token as the last one unless the limit came first; whether the end was reached.
        """
        node: Node | None = self.root
        for token in prefix:
            node = node and node.children.get(token)
        said: list[Position] = []
        while limit is None or len(said) < limit:
            listed = alternatives(node, probabilities)
            token, logprob = pick(listed, len(said)) if pick else listed[0]
            said.append(Position(token, logprob, listed))
            if token == END:
                return said, True
            node = node and node.children.get(token)
        return said, False


def alternatives(node: Node | None, probabilities: Sequence[float]) -> list[tuple[str, float]]:
    """List every next token with its log-probability, likeliest first; off the tree only the end follows."""
    if node is None:
        return [(END, 0.0)]
    mass = total(node.mass, probabilities) or 1.0
    found = [(token, total(child.mass, probabilities) / mass) for token, child in node.children.items()]
    if node.ends:
        found.append((END, total(node.ends, probabilities) / mass))
    junk = total(node.junk, probabilities) / mass
    if junk > 0:
        found += [(token, junk * share) for token, share in node.junk_tokens]
    found.sort(key=lambda pair: -pair[1])
    return [(token, log(probability)) for token, probability in found]


def surfaces(label: str, labels: Sequence[str]) -> dict[str, float]:
    """Share a label's probability among the ways to write it; a way that is another label's falls to the label.

    >>> surfaces("favor", ["favor", "Favor"])
    {'favor': 0.85, ' favor': 0.15}
    """
    others = {text for other in labels if other != label for text in (other, f" {other}")}
    shares: dict[str, float] = {}
    for text, share in zip((label, f" {label}", label[:1].upper() + label[1:]), SHARES.values(), strict=True):
        way = label if text in others else text
        shares[way] = round(shares.get(way, 0.0) + share, 12)
    return shares
