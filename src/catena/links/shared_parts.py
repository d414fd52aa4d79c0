"""Prompts as tokens, where what all of them begin and end with is tokenised once.

A tokenizer looks at the characters around a token and not at those far away. So texts are cut in what they share, at a
space and well away from where they part: what is around a cut is the same in all of them. Cuts are used where the tokens of
all texts at hand are those of the parts, one after the other.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from catena.links.label_tokens import ENDING_CHARS, Tokens, common

__all__ = ["SharedParts"]

ENOUGH_TEXTS = 16  # to see what texts share, and that a cut is one
LEAST_CHARS = 64  # that are worth it


class SharedParts:
    """Tokenises texts that begin and end alike.

    Args:
        encode: Returns the tokens of texts; the second argument says whether they go on with a text.
    """

    def __init__(self, encode: Callable[[Sequence[str], bool], list[Tokens]]) -> None:
        self._encode = encode
        self._frame: _Frame | None = None
        self._looking = True

    def read(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""
        frame = self._frame
        if frame and all(map(frame.holds, texts)):
            middles = self._encode([frame.middle(text) for text in texts], True)
            return [frame.before + middle + frame.behind for middle in middles]
        found = self._encode(texts, False)
        if self._looking and len(texts) >= ENOUGH_TEXTS:
            self._frame = self._found(texts, found, frame)
            self._looking = self._frame is not None
        return found

    def _found(self, texts: Sequence[str], tokens: Sequence[Tokens], old: "_Frame | None") -> "_Frame | None":
        """Return where texts may be cut, if anywhere; what they share becomes shorter and never longer, so that this ends."""
        start = _begin(texts if old is None else [*texts, old.start])
        end = _begin([text[::-1] for text in texts] + ([] if old is None else [old.end[::-1]]))[::-1]
        first, last = start.rfind(" ", 0, len(start) - ENDING_CHARS), end.find(" ", ENDING_CHARS)
        if first < LEAST_CHARS:
            return None
        chars = len(end) - last if 0 <= last <= len(end) - LEAST_CHARS else 0
        for behind in (chars, 0):
            for space in (0, 1):  # some tokenizers count it to the word behind it, others add one to a text
                cut = _Frame(start, end if behind else "", first + space, behind)
                after = end[len(end) - behind + space :] if behind else ""
                frame = self._tried(cut, after, texts, tokens)
                if frame:
                    return frame
        return None

    def _tried(
        self, cut: "_Frame", after: str, texts: Sequence[str], tokens: Sequence[Tokens]
    ) -> "_Frame | None":
        """Return a frame with its tokens; None where the tokens of a text are not those of the parts."""
        *middles, behind = self._encode([*map(cut.middle, texts), after], True)
        before = tokens[0][: len(tokens[0]) - len(middles[0]) - len(behind)]
        same = all(whole == before + middle + behind for whole, middle in zip(tokens, middles, strict=True))
        return cut._replace(before=before, behind=behind) if same and all(map(cut.holds, texts)) else None


class _Frame(NamedTuple):
    """What all texts begin and end with, how many characters of it are cut off, and their tokens."""

    start: str
    end: str
    first: int
    last: int
    before: Tokens = ()
    behind: Tokens = ()

    def holds(self, text: str) -> bool:
        """Whether a text has it around it."""
        return len(text) >= self.first + self.last and text.startswith(self.start) and text.endswith(self.end)

    def middle(self, text: str) -> str:
        """Return what a text has between the cuts."""
        return text[self.first : len(text) - self.last]


def _begin(texts: Sequence[str]) -> str:
    """Return what all texts begin with."""
    low, high = min(texts), max(texts)
    return low[: common(low, high)]
