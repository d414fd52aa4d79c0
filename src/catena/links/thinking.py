"""Chain-of-thought: a link asks for thoughts first and then, with these before it, for the answer (the paper, section 3)."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from catena.errors import LinkError
from catena.types import NOTHING_USED, Answer, Failure, Rate, Usage, together

__all__ = ["FIRST", "THEN", "Thinker", "Thoughts", "in_two_turns", "thoughts_of"]

FIRST = "\n\nDo not answer yet. First think step by step about what speaks for and against each of them."
THEN = "Now answer in exactly the form that was asked for, and with nothing else."
LIMITS = ("max_completion_tokens", "max_tokens")
OF_THE_ANSWER = frozenset({"logprobs", "top_logprobs", "n", "response_format", "stop", "stop_sequences"})
"""Fields of a request that are about the answer's form; thoughts have none."""
MESSAGE_BYTES = 16  # of what stands around a message
MOST_HELD = 4096
"""Prompts whose thoughts are held between two tries."""


class Thoughts(msgspec.Struct, frozen=True):
    """What a model said in its first turn.

    Args:
        text: The thoughts, perhaps cut at their limit.
        usage: What the turn used.
        rate: As in `Vote`.
    """

    text: str
    usage: Usage
    rate: Rate | None = None


Said = Answer | Thoughts
Read = Callable[[bytes, float], Said]


class Thinker:
    """Asks in two turns, each of which is counted.

    A second turn that fails in passing is tried again with the same thoughts: they are not bought twice.

    Args:
        tokens: The most that thoughts may have.
        send: Sends a request's body and returns what a function reads from the answer's.
        question: Returns the body of a request about a prompt.
        think: Reads thoughts.
        read: Reads an answer to a prompt.
    """

    def __init__(
        self,
        tokens: int,
        send: Callable[[dict[str, Any], Read], Awaitable[Said]],
        question: Callable[[str], dict[str, Any]],
        think: Read,
        read: Callable[[str], Callable[[bytes, float], Answer]],
    ) -> None:
        self._tokens = tokens
        self._send = send
        self._question = question
        self._think = think
        self._read = read
        self._held: dict[str, str] = {}

    async def ask(self, prompt: str) -> Answer:
        """Try once and return a vote or a failure, with what both turns used."""
        question = self._question(prompt)
        thoughts, spent = self._held.pop(prompt, None), NOTHING_USED
        if thoughts is None:
            first = await self._send(self._first(question), self._think)
            if not isinstance(first, Thoughts):
                return first
            thoughts, spent = first.text, first.usage
        try:
            answer = await self._send(self._second(question, thoughts), self._read(prompt))
        except LinkError as error:
            if not spent.calls:
                raise
            # What the first turn has cost is told first; the next try meets the error with nothing paid.
            answer = Failure("server", " ".join(str(error).split()), retryable=True, usage=NOTHING_USED)
        assert not isinstance(answer, Thoughts)
        if isinstance(answer, Failure) and answer.retryable:
            self._hold(prompt, thoughts)
        text = f"{thoughts}\n\n{answer.text}" if answer.text else ""
        return msgspec.structs.replace(answer, text=text, usage=together([spent, answer.usage]))

    def _first(self, question: dict[str, Any]) -> dict[str, Any]:
        fields = {key: value for key, value in question.items() if key not in OF_THE_ANSWER}
        limits = {key: self._tokens for key in LIMITS if key in fields}
        return {**fields, **limits, "messages": _thinking(question)}

    def _second(self, question: dict[str, Any], thoughts: str) -> dict[str, Any]:
        said = {"role": "assistant", "content": thoughts}
        return {**question, "messages": [*_thinking(question), said, {"role": "user", "content": THEN}]}

    def _hold(self, prompt: str, thoughts: str) -> None:
        self._held[prompt] = thoughts
        if len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]


def _thinking(question: dict[str, Any]) -> list[dict[str, Any]]:
    *before, asked = question["messages"]
    content = asked["content"]
    if isinstance(content, list):  # in pieces, the last of which goes on
        content = [*content[:-1], {**content[-1], "text": content[-1]["text"] + FIRST}]
    else:
        content += FIRST
    return [*before, {**asked, "content": content}]


def thoughts_of(text: str, usage: Usage) -> Thoughts | Failure:
    """Return the thoughts that an answer is; nothing is none."""
    return Thoughts(text, usage) if text.strip() else Failure("empty", "thought nothing", usage=usage)


def in_two_turns(said: int, answer: int, tokens: int) -> list[tuple[int, int]]:
    """Return the most tokens of prompt and answer of each turn.

    Args:
        said: Of the prompt.
        answer: Of the answer.
        tokens: Of the thoughts, which the second turn's prompt holds too.
    """
    first = said + len(FIRST)
    return [(first, tokens), (first + tokens + len(THEN) + 2 * MESSAGE_BYTES, answer)]
