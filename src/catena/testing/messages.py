"""Anthropic's shapes of what the fake provider says: messages, and errors."""

from collections.abc import Mapping
from typing import Any

import msgspec

from catena.testing.answers import Reply, text_of
from catena.testing.faults import ERRORS
from catena.testing.tokens import END, tokenise

__all__ = ["as_message", "message_error"]

STOPS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
OVERLOADED = 529


def as_message(
    reply: Reply, request: Mapping[str, Any], number: int, cached: int = 0, written: int = 0
) -> dict[str, Any]:
    """Write a reply as Anthropic's `message` object.

    Args:
        reply: What is said.
        request: What was asked; a token is counted for every four characters of it.
        number: Number of the request, part of the id.
        cached: Tokens from the cache.
        written: Tokens put into it.
    """
    said = [p.token for p in reply.positions if p.token != END] or tokenise(reply.text or "")
    text = reply.refusal or reply.text
    told = [*([{"content": request["system"]}] if request.get("system") else []), *request["messages"]]
    asked = sum((len(text_of(m)) + 3) // 4 + 4 for m in told)
    kept = (request.get("cache_control") or {}).get("ttl", "5m")
    return {
        "id": f"msg_{number:08d}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", ""),
        "content": [{"type": "text", "text": text}] if text and reply.choices else [],
        "stop_reason": "refusal" if reply.refusal else STOPS[reply.finish_reason],
        "stop_sequence": None,
        "usage": {
            "input_tokens": asked - cached - written,
            "output_tokens": len(said) + reply.thought,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "cache_creation": {
                f"ephemeral_{time}_input_tokens": written * (time == kept) for time in ("5m", "1h")
            },
        },
    }


def message_error(name: str, message: str = "") -> tuple[int, bytes]:
    """Return the status and the JSON body of an error, as Anthropic writes it."""
    status, _, _, text = ERRORS[name]
    kind = KINDS[status]
    error = {"type": kind, "message": message or text}
    body = msgspec.json.encode({"type": "error", "error": error, "request_id": "req_fake"})
    return OVERLOADED if status == 503 else status, body
