"""The fake provider's prompt cache: which leading part of a prompt it has seen before."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from catena.testing.answers import text_of

__all__ = ["PromptCache"]

CHARACTERS = 4  # of a token


class PromptCache:
    """Remembers the leading blocks of all prompts, as providers do that charge less for what they have seen.

    Args:
        block: Tokens in a block; 0 for no cache.
    """

    def __init__(self, block: int) -> None:
        self._block = block * CHARACTERS
        self._seen = set[bytes]()

    def see(self, request: Mapping[str, Any]) -> tuple[int, int]:
        """Take a prompt in; return how many of its tokens were there, and how many of its whole blocks are new."""
        if not self._block:
            return 0, 0
        text = "".join(map(text_of, request["messages"]))
        known, new, digest = 0, 0, blake2b(str(request.get("model")).encode(), digest_size=16)
        for start in range(0, len(text) - self._block + 1, self._block):
            digest.update(text[start : start + self._block].encode("utf-8", "surrogatepass"))
            if new or digest.digest() not in self._seen:
                new += 1
                self._seen.add(digest.digest())
            else:
                known += 1
        return known * self._block // CHARACTERS, new * self._block // CHARACTERS
