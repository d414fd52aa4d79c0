"""What an error says, by its HTTP status and its body, in any of the shapes that providers give them."""

import json
import re
from typing import Any

import msgspec

from catena.links.limits import seconds
from catena.types import Failure

__all__ = ["error_in_answer", "one_line", "status_failure"]

OVERLOADED = frozenset({498, 503, 529})


def status_failure(status: int, body: str, wait: float | None) -> Failure:
    """Return the failure that an HTTP status and its error body say."""
    message, code, asked = _error(body)
    wait = asked if wait is None else wait
    line = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    said = f"{code} {message}".lower()
    if code.startswith("insufficient_quota") or "api_key_invalid" in said or "api key not valid" in said:
        return Failure("refused_key", line)
    if status == 429:
        return Failure("rate_limit", line, retryable=True, retry_after=wait)
    if status in OVERLOADED:
        return Failure("overloaded", line, retryable=True, retry_after=wait)
    if status in {408, 409} or status >= 500:
        return Failure("server", line, retryable=True, retry_after=wait)
    if status == 413 or "too long" in said or ("context" in said and any(word in said for word in BEYOND)):
        return Failure("too_long", line)
    by_filter = "content_filter" in said or "content management policy" in said
    if (status in {400, 422} and by_filter) or (status == 403 and ("moderation" in said or by_filter)):
        return Failure("filtered", line)
    return Failure("bad_request", line + _advice(said))


BEYOND = ("length", "window", "exceed")
ADVICE = {
    "logprobs": "top_logprobs: 0",
    "'max_tokens'": "body: {max_tokens: null, max_completion_tokens: 2000}",
    "max_completion_tokens": "body: {max_completion_tokens: null}",
    "temperature": "body: {temperature: null}",
}
"""What to write for a field that a provider does not take."""
REFUSES = re.compile(
    r"support|permitted|unknown name|not enabled|unrecogni[sz]ed|extra_forbidden|invalid.parameter"
)


def _advice(said: str) -> str:
    if not REFUSES.search(said):
        return ""
    for field, write in ADVICE.items():
        if field in said:
            return f"; if the provider does not take it, write {write}"
    return ""


def _error(body: str) -> tuple[str, str, float | None]:
    """Return message and code of an error body in any of the usual shapes, and the seconds that it asks to wait."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return one_line(body), "", None
    if isinstance(said, list) and said:
        said = said[0]
    inner = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(inner, dict):
        return one_line(_words(inner)), "", None
    more = inner.get("metadata")
    raw = more.get("raw") if isinstance(more, dict) else None
    message = _words(inner) + (f" ({_words(raw)})" if raw else "")
    code = " ".join(str(inner.get(key)) for key in ("code", "type", "status") if key in inner)
    code += " moderation" if isinstance(more, dict) and "flagged_input" in more else ""
    return one_line(message), code, _delay(inner.get("details"))


def _words(said: Any) -> str:
    """Return what is said for people, with the field that it is about."""
    if isinstance(said, list):
        return "; ".join(filter(None, map(_words, said[:3])))
    if not isinstance(said, dict):
        return "" if said is None else str(said)
    text = next((_words(said[key]) for key in ("message", "msg", "detail", "error") if said.get(key)), "")
    where = said.get("loc")
    return f"{where[-1]}: {text}" if isinstance(where, list) and where else text


def _delay(details: Any) -> float | None:
    """Return Google's `retryDelay`, in seconds."""
    for each in details if isinstance(details, list) else []:
        if isinstance(each, dict) and isinstance(each.get("retryDelay"), str):
            return seconds(each["retryDelay"])
    return None


def one_line(text: str) -> str:
    """Return a text as one short line."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


STATUS = re.compile(r"[45][0-9]{2}")


def error_in_answer(error: Any) -> Failure:
    """Return the failure of an answer of status 200 that holds an error: its code is the status that it would have had."""
    code = str(error.get("code")) if isinstance(error, dict) else ""
    status = int(code) if STATUS.fullmatch(code) else 500
    failure = status_failure(status, json.dumps({"error": error}), None)
    return msgspec.structs.replace(failure, charged=failure.retryable)
