"""Prompts as tokens, where what all of them begin with is tokenised once.

A tokenizer looks at the characters around a token and not at those far away. So texts are cut in what they share, at a
space and well before they part: what is around the cut is the same in all of them. A cut is used where the tokens of all
texts at hand are those of the two parts, one after the other.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from catena.links.label_tokens import ENDING_CHARS, Tokens, common

__all__ = ["Beginnings"]

ENOUGH_TEXTS = 16  # to see what texts share, and that a cut is one
LEAST_CHARS = 64  # that are worth it


class Beginnings:
    """Tokenises texts that begin alike.

    Args:
        encode: Returns the tokens of texts; the second argument says whether they go on with a text.
    """

    def __init__(self, encode: Callable[[Sequence[str], bool], list[Tokens]]) -> None:
        self._encode = encode
        self._known: _Beginning | None = _Beginning("", 0, ())

    def read(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""
        known = self._known
        if known and known.cut and all(text.startswith(known.shared) for text in texts):
            rests = self._encode([text[known.cut :] for text in texts], True)
            return [known.tokens + rest for rest in rests]
        found = self._encode(texts, False)
        if known and len(texts) >= ENOUGH_TEXTS:
            seen = [*texts, known.shared] if known.cut else texts  # it only becomes shorter: the search ends
            low, high = min(seen), max(seen)
            self._known = self._beginning(low[: common(low, high)], texts, found)
        return found

    def _beginning(self, shared: str, texts: Sequence[str], found: Sequence[Tokens]) -> "_Beginning | None":
        """Return where to cut what all texts begin with; None where that is too short or the tokens are others then."""
        space = shared.rfind(" ", 0, len(shared) - ENDING_CHARS)
        # To some tokenizers a space belongs to the word behind it, others add one to what begins a text.
        for cut in (space, space + 1):
            if cut >= LEAST_CHARS:
                rests = self._encode([text[cut:] for text in texts], True)
                tokens = found[0][: len(found[0]) - len(rests[0])]
                if all(ids == tokens + rest for ids, rest in zip(found, rests, strict=True)):
                    return _Beginning(shared, cut, tokens)
        return None


class _Beginning(NamedTuple):
    """What all texts begin with, where it is cut, and the tokens before the cut."""

    shared: str
    cut: int
    tokens: Tokens
