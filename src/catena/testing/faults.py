"""What can go wrong with a call to the fake provider, by name."""

from collections.abc import Mapping, Sequence

import msgspec

from catena.errors import InputError
from catena.testing.answers import SPOILED

__all__ = ["BATCH_FAULTS", "BROKEN", "ERRORS", "FAULTS", "choose", "error_body", "validate"]

# name -> HTTP status, OpenAI's error type, its code, its message
ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "The request is not valid."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": (403, "invalid_request_error", "permission_denied", "The key may not use this model."),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached."),
    "429_retry_after": (429, "requests", "rate_limit_exceeded", "Rate limit reached. Try again later."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", None, "The server had an error."),
    "503": (503, "server_error", "overloaded", "The engine is overloaded."),
    "context_length": (
        *(400, "invalid_request_error", "context_length_exceeded"),
        "This model's maximum context length is 512 tokens.",
    ),
    "content_filter": (
        *(400, "invalid_request_error", "content_filter"),
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    "concurrency": (429, "requests", "rate_limit_exceeded", "Too many concurrent requests."),
    "rate": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}
BROKEN = ("timeout", "reset", "truncated", "garbage", "empty_body", "drip")
LIMITS = ("concurrency", "rate")  # played by the limits, not by chance
FAULTS = (*(name for name in ERRORS if name not in LIMITS), *BROKEN, *SPOILED)

BATCH_FAULTS = ("errored", "invalid", "expired", "missing", "garbled", "duplicate", "unknown")


def validate(faults: Mapping[str, float], known: Sequence[str] = FAULTS) -> None:
    """Refuse unknown faults and shares that are no shares."""
    for name, share in faults.items():
        if name not in known:
            raise InputError(f"faults: {name!r} is none of: {', '.join(known)}.")
        if not 0 <= share <= 1:
            raise InputError(f"faults: the share of {name!r} is {share}, not between 0 and 1.")
    if sum(faults.values()) > 1 + 1e-9:
        raise InputError(f"faults: the shares sum to {sum(faults.values()):g}, more than 1.")


def choose(faults: Mapping[str, float], draw: float) -> str:
    """Return the fault that a number in [0, 1) falls on; empty for none."""
    for name, share in faults.items():
        if draw < share:
            return name
        draw -= share
    return ""


def error_body(name: str, message: str = "") -> tuple[int, bytes]:
    """Return the status and the JSON body of an error."""
    status, kind, code, text = ERRORS[name]
    error = {"message": message or text, "type": kind, "param": None, "code": code}
    return status, msgspec.json.encode({"error": error})
