"""The shapes of OpenAI-compatible answers, as loose as real servers are."""

import json
import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from catena.links.refusal import error_in_answer, one_line
from catena.types import Failure, Usage

__all__ = ["Choice", "Completion", "Count", "Tokens", "bad_body", "decoder", "read_completion"]

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class TopToken(msgspec.Struct, gc=False):
    """One alternative at a position."""

    token: str
    logprob: float
    raw_: list[int] | None = msgspec.field(default=None, name="bytes")

    @property
    def raw(self) -> bytes | None:
        """The token's bytes where the server gives them."""
        return as_bytes(self.raw_)


class ChosenToken(msgspec.Struct, gc=False):
    """One generated token with its alternatives."""

    token: str
    logprob: float
    raw_: list[int] | None = msgspec.field(default=None, name="bytes")
    top_logprobs: list[TopToken] | None = None

    @property
    def raw(self) -> bytes | None:
        """The token's bytes where the server gives them."""
        return as_bytes(self.raw_)


class Logprobs(msgspec.Struct, gc=False):
    """Log-probabilities of an answer, token by token: in `content`, or in the lists of the older completions API."""

    content: list[ChosenToken] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def chosen(self) -> list[ChosenToken]:
        """Return the tokens; none where there are none, or where the lists don't fit each other."""
        if self.content or not self.tokens or not self.token_logprobs:
            return self.content or []
        tops = self.top_logprobs or [None] * len(self.tokens)
        if not len(self.tokens) == len(self.token_logprobs) == len(tops) or None in self.token_logprobs:
            return []
        return [
            ChosenToken(token, logprob or 0.0, None, [TopToken(*each) for each in (top or {}).items()])
            for token, logprob, top in zip(self.tokens, self.token_logprobs, tops, strict=True)
        ]


class Part(msgspec.Struct, gc=False):
    """A piece of what the model said, where it comes in pieces: thoughts are pieces of another type."""

    type: str = ""
    text: str | None = None


class Message(msgspec.Struct, gc=False):
    """What the model said; reasoning beside it is left out."""

    content: str | list[Part] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """What was said; nothing where there is none."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type == "text")
        return self.content or ""


class Choice(msgspec.Struct, gc=False):
    """One answer."""

    message: Message
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    error: Any = None

    @property
    def cut(self) -> bool:
        """Whether the answer reached its limit."""
        return self.finish_reason in CUT

    def tokens(self) -> list[ChosenToken]:
        """Return the tokens; none where the server gives no log-probabilities."""
        return self.logprobs.chosen() if self.logprobs else []

    def failure(self, text: str) -> Failure | None:
        """Return why this is no answer, if the server says so."""
        if self.error:
            return error_in_answer(self.error)
        if self.message.refusal:
            return Failure("refused", f"refused: {self.message.refusal[:80]!r}")
        if (self.finish_reason or "").startswith("content_filter"):
            return Failure("filtered", "the provider's content filter stopped the answer")
        if self.finish_reason in BROKEN:
            said = f"the provider broke off: finish_reason {self.finish_reason}"
            return Failure("server", said, retryable=True, charged=True)
        if not text.strip() and self.cut:
            return Failure("cut", "the answer was cut before it began; raise max_tokens")
        return None


CUT = frozenset({"length", "model_length"})
BROKEN = frozenset({"error", "insufficient_system_resource"})


class PromptDetails(msgspec.Struct, gc=False):
    """What the tokens of a prompt were."""

    cached_tokens: Count | None = 0


class Tokens(msgspec.Struct, gc=False):
    """Counts of tokens."""

    prompt_tokens: Count | None = 0
    completion_tokens: Count | None = 0
    total_tokens: Count | None = 0
    prompt_tokens_details: PromptDetails | None = None
    prompt_cache_hit_tokens: Count | None = 0
    cached_tokens: Count | None = 0

    @property
    def answer(self) -> int:
        """Tokens of the answer, unseen thoughts included: some servers count those in `total_tokens` alone.

        So do Grok models (docs.cloud.google.com, "Reasoning for Grok Models").
        """
        return max(self.completion_tokens or 0, (self.total_tokens or 0) - (self.prompt_tokens or 0))

    @property
    def cached(self) -> int:
        """Tokens of the prompt that came from the provider's cache; `prompt_tokens` holds them too."""
        details = (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0
        return details or self.prompt_cache_hit_tokens or self.cached_tokens or 0


NO_TOKENS = Tokens()
IMPOSSIBLE = -9999.0  # as vLLM has it


class Completion(msgspec.Struct, gc=False):
    """A whole answer body."""

    choices: list[Choice]
    model: str | None = None
    system_fingerprint: str | None = None
    usage_: Tokens | None = msgspec.field(default=None, name="usage")

    @property
    def usage(self) -> Tokens:
        """The tokens used; none where the server does not count."""
        return self.usage_ or NO_TOKENS

    @property
    def fingerprint(self) -> str:
        """The model that answered, as the server names it."""
        parts = (self.model, self.system_fingerprint)
        return " ".join(part for part in parts if part)


T = TypeVar("T", bound=Completion)


def decoder(to: type[T]) -> Callable[[bytes], T]:
    """Return what reads a whole answer body.

    Servers give a token of probability 0 the logarithm `-Infinity`, which is no JSON, or null in its place; nothing else of
    such an answer is wrong. What is no chat completion raises a msgspec.DecodeError, UnicodeDecodeError or RecursionError.
    """
    strictly = msgspec.json.Decoder(to).decode

    def decode(body: bytes) -> T:
        try:
            return strictly(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if (mended := _mended(body)) is None:
                raise
            return strictly(mended)

    return decode


def _mended(body: bytes) -> bytes | None:
    """Return a body whose log-probabilities are numbers; None where that is not what is wrong with it."""
    try:
        said = json.loads(body)
        parts = [choice.get("logprobs") for choice in said["choices"]]
        mended = [_mend(part) for part in parts if isinstance(part, dict)]
        for known in filter(None, said.get("prompt_logprobs") or []):
            numbers = dict(zip(known, map(_number, known.values()), strict=True))
            mended.append(numbers != known)
            known.clear()
            known.update({token: each for token, each in numbers.items() if each})
        return msgspec.json.encode(said) if any(mended) else None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def _mend(logprobs: dict[str, Any]) -> bool:
    """Put numbers in the place of infinities; leave out what tells nothing. Tell whether there was any of them."""
    content = logprobs.get("content") or []
    if any(not _is_number(token["logprob"]) for token in content):
        logprobs["content"] = None  # the very token that was said has none
        return True
    found = False
    for token in content:
        listed = token.get("top_logprobs") or []
        kept = [_number(each) for each in listed]
        found |= kept != listed
        token["top_logprobs"] = [each for each in kept if each]
    return found


def _number(token: dict[str, Any]) -> dict[str, Any] | None:
    """Return a token whose log-probability is a number; None where it has none."""
    if token["logprob"] == -math.inf:
        return token | {"logprob": IMPOSSIBLE}
    return token if _is_number(token["logprob"]) else None


def _is_number(logprob: Any) -> bool:
    return isinstance(logprob, int | float) and math.isfinite(logprob)


def as_bytes(values: list[int] | None) -> bytes | None:
    """Return token bytes; None where they are missing or no bytes."""
    if values is None:
        return None
    try:
        return bytes(values)
    except ValueError:
        return None


def bad_body(error: Exception, body: bytes, latency: float) -> Failure:
    """Return the failure of an answer that is no chat completion: the error that it holds, if it holds one."""
    usage = Usage(latency_ms=latency)
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("error"):
        return msgspec.structs.replace(error_in_answer(said["error"]), usage=usage)
    shown = one_line(body[:80].decode(errors="replace"))
    message = f"not a chat completion ({error}): {shown!r}"
    return Failure("bad_body", message, retryable=True, usage=usage, charged=True)


read_completion = decoder(Completion)
