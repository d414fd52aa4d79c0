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

    def see(self, request: Mapping[str, Any], *, marked: bool = False) -> tuple[int, int]:
        """Take a prompt in; return how many of its tokens were there, and how many tokens of whole blocks are new.

        Args:
            request: What was asked.
            marked: Whether only what stands before a mark is kept, as Anthropic does it.
        """
        if not self._block:
            return 0, 0
        text = before_mark(request) if marked else "".join(map(text_of, request["messages"]))
        known, new, digest = 0, 0, blake2b(str(request.get("model")).encode(), digest_size=16)
        for start in range(0, len(text) - self._block + 1, self._block):
            digest.update(text[start : start + self._block].encode("utf-8", "surrogatepass"))
            if new or digest.digest() not in self._seen:
                new += 1
                self._seen.add(digest.digest())
            else:
                known += 1
        return known * self._block // CHARACTERS, new * self._block // CHARACTERS


def before_mark(request: Mapping[str, Any]) -> str:
    """Return the text of system message and messages up to the last mark: all of it where the request itself is marked."""
    told = [{"content": request.get("system") or ""}, *request["messages"]]
    if "cache_control" in request:
        return "".join(map(text_of, told))
    text, until = "", 0
    for message in told:
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"text": text_of(message)}]:
            text += str(part.get("text") or "")
            until = len(text) if "cache_control" in part else until
    return text[:until]
