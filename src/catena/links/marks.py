"""Where the part of a question ends that is the same for every row, so that Anthropic caches it (docs, "Prompt caching").

A provider of this kind caches what stands before a mark, if it is long enough; a mark in a shorter one changes nothing. The
text that the model reads is the same with a mark and without.
"""

from functools import cached_property
from typing import Any

from catena.prompts import Prompter

__all__ = ["Marker"]

MARK = {"cache_control": {"type": "ephemeral"}}
LEAST_BYTES = 4096  # of 1,024 tokens, the fewest that any model caches


class Marker:
    """Marks the end of the static part of a link's questions.

    Args:
        prompter: Renders them.
        system: The system message, which stands before them.
        wanted: Whether to mark anything.
    """

    def __init__(self, prompter: Prompter, system: str, *, wanted: bool) -> None:
        self._prompter = prompter
        self._system = system
        self._wanted = wanted

    @cached_property
    def static(self) -> str:
        """What every question begins with, where a mark is worth its while; else nothing."""
        static = self._prompter.static if self._wanted else ""
        return static if len((self._system + static).encode()) >= LEAST_BYTES else ""

    @cached_property
    def on_system(self) -> bool:
        """Whether the mark stands at the end of the system message: the questions share nothing."""
        return self._wanted and not self.static and len(self._system.encode()) >= LEAST_BYTES

    @property
    def bytes(self) -> int:
        """How many bytes a call may put into the cache, at most."""
        if not self.static and not self.on_system:
            return 0
        return len((self._system + self.static).encode())

    def system(self) -> str | list[dict[str, Any]] | None:
        """Return the system message as it is sent; None where there is none."""
        if self.on_system:
            return [{"type": "text", "text": self._system, **MARK}]
        return self._system or None

    def content(self, prompt: str) -> str | list[dict[str, Any]]:
        """Return a question as it is sent: in two pieces where it begins as all do."""
        static = self.static
        rest = prompt[len(static) :]
        if not static or not rest.strip() or not prompt.startswith(static):
            return prompt
        return [{"type": "text", "text": static, **MARK}, {"type": "text", "text": rest}]
