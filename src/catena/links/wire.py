"""The shapes of OpenAI-compatible answers, as loose as real servers are."""

import email.utils
import json
import math
import re
import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from catena.types import Failure, Limit, Rate, Usage

__all__ = ["Choice", "Completion", "Count", "bad_body", "rate", "retry_after", "status_failure"]

OVERLOADED = frozenset({503, 529})
Header = Callable[[str], str | None]
"""Returns a header's value by its name."""


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
    """Log-probabilities of an answer, token by token."""

    content: list[ChosenToken] | None = None


class Message(msgspec.Struct, gc=False):
    """What the model said."""

    content: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct, gc=False):
    """One answer."""

    message: Message
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    def tokens(self) -> list[ChosenToken]:
        """Return the tokens; none where the server gives no log-probabilities."""
        return (self.logprobs and self.logprobs.content) or []

    def failure(self, text: str) -> Failure | None:
        """Return why this is no answer, if the server says so."""
        if self.message.refusal:
            return Failure("refused", f"refused: {self.message.refusal[:80]!r}")
        if self.finish_reason == "content_filter":
            return Failure("filtered", "the provider's content filter stopped the answer")
        if not text.strip() and self.finish_reason == "length":
            return Failure("cut", "the answer was cut before it began; raise max_tokens")
        return None


class PromptDetails(msgspec.Struct, gc=False):
    """What the tokens of a prompt were."""

    cached_tokens: Count | None = 0


class Tokens(msgspec.Struct, gc=False):
    """Counts of tokens."""

    prompt_tokens: Count | None = 0
    completion_tokens: Count | None = 0
    total_tokens: Count | None = 0
    prompt_tokens_details: PromptDetails | None = None

    @property
    def answer(self) -> int:
        """Tokens of the answer, unseen thoughts included: some servers count those in `total_tokens` alone.

        So do Grok models (docs.cloud.google.com, "Reasoning for Grok Models").
        """
        return max(self.completion_tokens or 0, (self.total_tokens or 0) - (self.prompt_tokens or 0))

    @property
    def cached(self) -> int:
        """Tokens of the prompt that came from the provider's cache; `prompt_tokens` holds them too."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0


NO_TOKENS = Tokens()


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


def as_bytes(values: list[int] | None) -> bytes | None:
    """Return token bytes; None where they are missing or no bytes."""
    if values is None:
        return None
    try:
        return bytes(values)
    except ValueError:
        return None


def retry_after(header: Header) -> float | None:
    """Return the seconds that an answer asks to wait (milliseconds, seconds or an HTTP date); None where it does not."""
    said = header("retry-after-ms")
    if said and (seconds := _number(said)) is not None:
        return max(0.0, seconds / 1000)
    said = header("retry-after")
    if not said:
        return None
    if (seconds := _number(said)) is not None:
        return max(0.0, seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def rate(header: Header) -> Rate | None:
    """Return what the headers say of the server's limits: those of OpenAI and the many that took them over."""
    requests, tokens = _limit(header, "-requests") or _limit(header, ""), _limit(header, "-tokens")
    return Rate(requests, tokens) if requests or tokens else None


def _limit(header: Header, of: str) -> Limit | None:
    said = header(f"x-ratelimit-remaining{of}")
    if said is None:
        return None
    left, most = _number(said), _number(header(f"x-ratelimit-limit{of}") or "")
    if left is None or most is None or most <= 0:
        return None
    return Limit(most, min(max(left, 0.0), most), seconds(header(f"x-ratelimit-reset{of}") or ""))


def seconds(text: str) -> float:
    """Return a duration such as 120ms, 6m0s or 2.5 in seconds, or those until a point of time; 0 for anything else.

    >>> seconds("1h2m3.5s"), seconds("120ms"), seconds("7"), seconds("soon")
    (3723.5, 0.12, 7.0, 0.0)
    """
    if (number := _number(text)) is not None:
        since_1970 = number / 1000 if number > 1e12 else number
        return max(0.0, since_1970 - time.time() if since_1970 > 1e9 else number)
    if not DURATION.fullmatch(text):
        return 0.0
    total = sum(float(count) * UNITS[unit] for count, unit in PART.findall(text))
    return total if math.isfinite(total) else 0.0


PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION = re.compile(rf"(?:{PART.pattern})+")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def status_failure(status: int, body: str, wait: float | None) -> Failure:
    """Return the failure that an HTTP status and its error body say."""
    message, code = _error(body)
    line = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if code.startswith("insufficient_quota"):
        return Failure("refused_key", line)
    if status == 429:
        return Failure("rate_limit", line, retryable=True, retry_after=wait)
    if status in OVERLOADED:
        return Failure("overloaded", line, retryable=True, retry_after=wait)
    if status in {408, 409} or status >= 500:
        return Failure("server", line, retryable=True, retry_after=wait)
    said = f"{code} {message}".lower()
    if (
        "context" in said and ("length" in said or "window" in said or "exceed" in said)
    ) or "too long" in said:
        return Failure("too_long", line)
    by_filter = "content_filter" in said or "content management policy" in said
    if (status in {400, 422} and by_filter) or (status == 403 and ("moderation" in said or by_filter)):
        return Failure("filtered", line)
    return Failure("bad_request", line)


def _error(body: str) -> tuple[str, str]:
    """Return message and code of an error body in any of the usual shapes."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return _one_line(body), ""
    inner = said.get("error", said) if isinstance(said, dict) else said
    if isinstance(inner, dict):
        return _one_line(
            str(inner.get("message") or inner.get("detail") or "")
        ), f"{inner.get('code')} {inner.get('type')}"
    return _one_line(str(inner)), ""


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


def bad_body(error: Exception, body: bytes, latency: float) -> Failure:
    """Return the failure of an answer that is no chat completion."""
    shown = _one_line(body[:80].decode(errors="replace"))
    return Failure(
        "bad_body",
        f"not a chat completion ({error}): {shown!r}",
        retryable=True,
        usage=Usage(latency_ms=latency),
        charged=True,
    )
