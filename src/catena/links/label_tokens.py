"""The tokens of labels as they follow a prompt, and the tree that they make.

A label has no tokens of its own: ` favor` after a text, `favor` after a header, and a tokenizer may join the prompt's
last characters with the label's first. So the prompt is tokenised with and without the label behind it: the label's tokens
are those from the first one on that differs.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError

__all__ = ["Continuations", "LabelTokens", "Spellings", "Tokens", "Tree", "common"]

ENDING = 8  # tokens of a prompt by which its end is known
ENDING_CHARS = 32

Spellings = Literal["written", "common"]
Tokens = tuple[int, ...]


class Continuations(msgspec.Struct, frozen=True, gc=False):
    """What may follow prompts that end alike.

    Args:
        dropped: How many of the prompt's last tokens a label changes; they are in the sequences instead.
        sequences: The tokens of every spelling of every label; all differ.
        owners: The label's index for each sequence.
    """

    dropped: int
    sequences: tuple[Tokens, ...]
    owners: tuple[int, ...]


class LabelTokens:
    """Finds the labels' tokens after a prompt; prompts that end alike are looked at once.

    Args:
        labels: The closed label set.
        spellings: `written` for the label as the task has it; `common` for its capitalised form too, and for both
            after a space.
        encode: Returns the tokens of a text, without an end token.
        where: Begins the message of an error.
    """

    def __init__(
        self, labels: Sequence[str], spellings: Spellings, encode: Callable[[str], Sequence[int]], where: str
    ) -> None:
        self._labels = labels
        self._spellings = spellings
        self._encode = encode
        self._where = where
        self._known: dict[tuple[str, Tokens], Continuations] = {}

    def after(self, text: str, ids: Tokens) -> tuple[Tokens, Continuations]:
        """Return the tokens of a text that labels follow, without those that they change, and the labels' tokens.

        Args:
            text: The text.
            ids: Its tokens.
        """
        ending = text[-ENDING_CHARS:], ids[-ENDING:]
        found = self._known.get(ending)
        if found is None:
            found = self._continuations(text, ids)
            if found.dropped < ENDING:
                self._known[ending] = found
        return ids[: len(ids) - found.dropped], found

    def alone(self) -> Continuations:
        """Return the labels' tokens as a decoder of its own writes them."""
        return self._continuations("", ())

    def _continuations(self, text: str, ids: Tokens) -> Continuations:
        spaced = text[-1:] in {"", " "}  # a further space would be a second one, or none
        written = [
            (owner, tuple(self._encode(text + spelling)))
            for owner, label in enumerate(self._labels)
            for spelling in spelled(label, self._spellings, spaced=spaced)
        ]
        kept = min(common(ids, joint) for _, joint in written)
        owners: dict[Tokens, int] = {}
        for owner, joint in written:
            tokens = joint[kept:]
            if not tokens or owners.setdefault(tokens, owner) != owner:
                self._refuse(owner, owners.get(tokens))
        return Continuations(len(ids) - kept, tuple(owners), tuple(owners.values()))

    def _refuse(self, owner: int, other: int | None) -> None:
        label = self._labels[owner]
        what = "has no tokens" if other is None else f"has the same tokens as '{self._labels[other]}'"
        raise LinkError(
            f"{self._where}: to the model's tokenizer the label '{label}' {what}.",
            "Rename it in the characters that the model knows.",
        )


class Tree:
    """Token sequences as one tree: what several begin with is there once.

    Args:
        sequences: At least one token each.
        merge: Whether to share beginnings; without it each sequence is a branch of its own.

    Attributes:
        tokens: Each node's token; a node stands behind the one before it.
        parents: The node before each node, -1 for the first of a sequence.
        depths: How many nodes are before each node in its sequence.
        leaves: The last node of each sequence.
    """

    def __init__(self, sequences: Sequence[Tokens], *, merge: bool = True) -> None:
        self.tokens, self.parents, self.depths, self.leaves = (
            list[int](),
            list[int](),
            list[int](),
            list[int](),
        )
        children: dict[tuple[int, int], int] = {}
        for sequence in sequences:
            node = -1
            for depth, token in enumerate(sequence):
                known = children.get((node, token)) if merge else None
                if known is None:
                    known = children[node, token] = len(self.tokens)
                    self.tokens.append(token)
                    self.parents.append(node)
                    self.depths.append(depth)
                node = known
            self.leaves.append(node)

    def paths(self) -> NDArray[np.bool_]:
        """Return which nodes lead to each node, itself included, [nodes, nodes]: also what it may attend to."""
        paths = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                paths[node] |= paths[parent]
        return paths


def spelled(label: str, spellings: Spellings, *, spaced: bool) -> list[str]:
    """Return the spellings of a label.

    >>> spelled("favor", "common", spaced=False)
    ['favor', 'Favor', ' favor', ' Favor']
    """
    if spellings == "written":
        return [label]
    forms = [label, label[:1].upper() + label[1:]]
    return list(dict.fromkeys(forms if spaced else [*forms, *(f" {form}" for form in forms)]))


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many first tokens, or characters, two sequences share."""
    most = min(len(one), len(other))
    return next((at for at in range(most) if one[at] != other[at]), most)
