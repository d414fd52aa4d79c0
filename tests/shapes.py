"""What each provider's server takes and answers where it differs from OpenAI's, written from its public reference.

A `ShapedServer` speaks HTTP on loopback as one of them does: it has a known label distribution, refuses what that provider
refuses, and answers, fails and counts in that provider's shape.
"""

import copy
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from catena.testing.answers import Annotator, completion
from chains import LABELS

__all__ = ["KEY", "SHAPES", "Shape", "ShapedServer"]

KEY = "sk-canary/shaped+7f3a9"
CACHED = 24  # tokens of each prompt that come from the cache, where the provider says so
REASONING = 30  # tokens of reasoning that are charged and not shown


def error(message, **more):
    """Return OpenAI's shape of an error."""
    return {"error": {"message": message, **more}}


def plain(said, asked):
    """Leave OpenAI's shape as it is."""
    return said


@dataclass(frozen=True)
class Busy:
    """An answer that asks to come later, and how many seconds that is."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    wait: float | None = None
    reason: str = "rate_limit"


@dataclass(frozen=True)
class Shape:
    """How one provider differs.

    Args:
        path: Where its chat completions are.
        key: Header and what stands before the key in it; None for a server that takes none.
        query: What the address must have behind its `?`.
        refuses: Field of a request -> the status and body of the refusal.
        answer: Turns OpenAI's answer into the provider's.
        logprobs: Whether it gives them when asked.
        most: The most alternatives it takes.
        headers: Of every answer.
        limits: What these say of requests: most, left.
        busy: When it has no room.
        errors: Status, body, and the reason of the failure or words of the line that stops a run.
        reasoning: Tokens that it charges beside the answer.
        cached: Tokens of a prompt that it says came from its cache.
    """

    path: str
    key: tuple[str, str] | None = ("authorization", "Bearer ")
    query: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, tuple[int, Any]] = field(default_factory=dict)
    answer: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = plain
    logprobs: bool = True
    most: int = 20
    headers: dict[str, str] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    busy: Busy | None = None
    errors: tuple[tuple[int, Any, str], ...] = ()
    reasoning: int = 0
    cached: int = 0


def azure(said, asked):
    """Add the results of its content filter to prompt and choice."""
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    said["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": safe}]
    said["choices"][0]["content_filter_results"] = safe
    said["usage"]["prompt_tokens_details"] = {"cached_tokens": CACHED, "audio_tokens": 0}
    return said


def openrouter(said, asked):
    """Name the provider that answered, with its own reason, its reasoning and the price."""
    said["provider"] = "OpenAI"
    said["choices"][0] |= {"native_finish_reason": "stop"}
    said["choices"][0]["message"]["reasoning"] = None
    said["usage"] |= {
        "cost": 0.00014,
        "cost_details": {"upstream_inference_cost": None},
        "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    return said


def together(said, asked):
    """Give log-probabilities in lists, with alternatives by their text; `logprobs` is how many."""
    choice = said["choices"][0]
    content = (choice["logprobs"] or {}).get("content")
    if content is not None:
        choice["logprobs"] = {
            "tokens": [each["token"] for each in content],
            "token_ids": [1] * len(content),
            "token_logprobs": [each["logprob"] for each in content],
            "top_logprobs": [{top["token"]: top["logprob"] for top in each["top_logprobs"]} for each in content],
        }  # fmt: skip
    said["prompt"] = []
    return said


def groq(said, asked):
    """Time the request, and count what its cache had."""
    said["usage"] |= {
        "queue_time": 0.02,
        "prompt_time": 0.01,
        "completion_time": 0.01,
        "total_time": 0.02,
        "prompt_tokens_details": {"cached_tokens": CACHED},
    }
    said["x_groq"] = {"id": "req_01"}
    return said


def deepseek(said, asked):
    """Count hits and misses of the cache, and reasoning among the answer's tokens."""
    usage = said["usage"]
    prompt = usage["prompt_tokens"]
    said["usage"] = {
        "prompt_tokens": prompt,
        "completion_tokens": usage["completion_tokens"] + REASONING,
        "total_tokens": prompt + usage["completion_tokens"] + REASONING,
        "prompt_cache_hit_tokens": CACHED,
        "prompt_cache_miss_tokens": prompt - CACHED,
        "completion_tokens_details": {"reasoning_tokens": REASONING},
    }
    said["choices"][0]["message"]["reasoning_content"] = "I weigh favor against against."
    return said


def mistral(said, asked):
    """Say it in pieces, thoughts first, as its reasoning models do."""
    message = said["choices"][0]["message"]
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "It could be against."}]}
    said["choices"][0]["message"] = {
        "role": "assistant",
        "tool_calls": None,
        "content": [thoughts, {"type": "text", "text": message["content"]}],
    }
    del said["choices"][0]["logprobs"], said["system_fingerprint"]
    said["usage"]["prompt_tokens_details"] = {"cached_tokens": CACHED}
    return said


def gemini(said, asked):
    """Count thoughts in the total alone."""
    usage = said["usage"]
    said["usage"] = {
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"] + REASONING,
        "prompt_tokens_details": {"cached_tokens": CACHED},
    }
    del said["choices"][0]["logprobs"], said["system_fingerprint"]
    return said


def sglang(said, asked):
    """Tell what the answer stopped at; tokens of the cache only where the server was started to count them."""
    said["choices"][0] |= {"matched_stop": 2}
    said["choices"][0]["message"] |= {"reasoning_content": None, "tool_calls": None}
    said["usage"] |= {"prompt_tokens_details": None, "reasoning_tokens": 0}
    said["metadata"] = {"weight_version": "default"}
    return said


def ollama(said, asked):
    """Name itself in the fingerprint, and count no more than prompt and answer."""
    said["system_fingerprint"] = "fp_ollama"
    del said["usage"]["prompt_tokens_details"]
    return said


OPENAI_REFUSES = {
    "max_tokens": (
        400,
        error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            type="invalid_request_error",
            param="max_tokens",
            code="unsupported_parameter",
        ),
    ),
    "logprobs": (
        400,
        error("'logprobs' is not supported with this model.", param="logprobs", code="unsupported_parameter"),
    ),
    "temperature": (
        400,
        error(
            "'temperature' does not support 0 with this model.", param="temperature", code="unsupported_value"
        ),
    ),
}

SHAPES = {
    # platform.openai.com/docs: guides/reasoning and api-reference/chat; guides/rate-limits for the headers.
    "openai reasoning": Shape(
        "/v1/chat/completions",
        refuses=OPENAI_REFUSES,
        answer=lambda said, asked: (
            said["usage"].update(completion_tokens=said["usage"]["completion_tokens"] + REASONING) or said
        ),
        logprobs=False,
        headers={
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
        },
        limits=(60, 59),
        busy=Busy(429, error("Slow down.", code="rate_limit_exceeded"), {"retry-after-ms": "250"}, 0.25),
        errors=(
            (429, error("No quota.", type="insufficient_quota", code="insufficient_quota"), "Check the"),
            (401, error("Wrong key.", code="invalid_api_key"), "Check the key in"),
        ),
        reasoning=REASONING,
    ),
    # learn.microsoft.com/azure/ai-services/openai: reference (api-key header, deployments in the path, api-version),
    # concepts/content-filter (the error's innererror), how-to/quota (headers; -1 where there is no limit).
    "azure openai": Shape(
        "/openai/v1/chat/completions",
        key=("api-key", ""),
        answer=azure,
        headers={"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "-1"},
        busy=Busy(
            429,
            error("Rate limit is exceeded.", code="429"),
            {"retry-after": "2", "retry-after-ms": "1500"},
            1.5,
        ),
        errors=(
            (
                400,
                error(
                    "The prompt was filtered.",
                    type=None,
                    param="prompt",
                    code="content_filter",
                    status=400,
                    innererror={"code": "ResponsibleAIPolicyViolation"},
                ),
                "filtered",
            ),
            (404, error("No such deployment.", code="DeploymentNotFound"), "Check model and base_url"),
            (401, error("Access denied.", code="401"), "Check the key in"),
        ),
        cached=CACHED,
    ),
    "azure openai, dated": Shape(
        "/openai/deployments/DEPLOYMENT/chat/completions",
        key=("api-key", ""),
        query={"api-version": "2024-10-21"},
        answer=azure,
        cached=CACHED,
    ),
    # openrouter.ai/docs: api-reference/overview (answer), errors (also in answers of status 200), use-cases/usage-accounting.
    "openrouter": Shape(
        "/api/v1/chat/completions",
        answer=openrouter,
        headers={
            "x-ratelimit-limit": "20",
            "x-ratelimit-remaining": "19",
            "x-ratelimit-reset": "1741305600000",
        },
        limits=(20, 19),
        busy=Busy(429, error("Slow down.", code=429), {"retry-after": "3"}, 3.0),
        errors=(
            (402, error("Insufficient credits.", code=402), "Check the account's balance"),
            (
                403,
                error(
                    "The input was flagged.", code=403, metadata={"reasons": ["hate"], "flagged_input": "..."}
                ),
                "filtered",
            ),
            (
                200,
                error(
                    "Provider returned error",
                    code=502,
                    metadata={"raw": "upstream down", "provider_name": "X"},
                ),
                "server",
            ),
            (200, error("Slow down.", code=429), "rate_limit"),
            (
                200,
                {
                    "choices": [
                        {
                            "message": {"content": ""},
                            "finish_reason": "error",
                            "error": {"code": 503, "message": "No."},
                        }
                    ]
                },
                "overloaded",
            ),
        ),
        cached=CACHED,
    ),
    # docs.together.ai: docs/logprobs (a number asks, lists answer), reference/chat-completions-1, docs/rate-limits.
    "together": Shape(
        "/v1/chat/completions",
        answer=together,
        headers={"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1"},
        limits=(10, 9),
        busy=Busy(429, error("Slow down.", type="model_rate_limit"), {"retry-after": "1"}, 1.0),
        errors=((422, error("Input validation error.", type="invalid_request_error"), "bad_request"),),
    ),
    # console.groq.com/docs: openai (what gives 400), rate-limits (headers), errors (413, 498), prompt-caching.
    "groq": Shape(
        "/openai/v1/chat/completions",
        refuses={
            name: (400, error(f"`{name}` is not supported with this model", type="invalid_request_error"))
            for name in ("logprobs", "top_logprobs", "logit_bias")
        },
        answer=groq,
        logprobs=False,
        headers={
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
        },
        limits=(14400, 14370),
        busy=Busy(
            429, error("Slow down.", type="tokens", code="rate_limit_exceeded"), {"retry-after": "2"}, 2.0
        ),
        errors=(
            (
                413,
                error("Request too large for the model.", type="tokens", code="rate_limit_exceeded"),
                "too_long",
            ),
            (498, error("At capacity.", code="capacity_exceeded"), "overloaded"),
            (401, error("Invalid API Key", code="invalid_api_key"), "Check the key in"),
        ),
        cached=CACHED,
    ),
    # api-docs.deepseek.com: api/create-chat-completion (usage), quick_start/error_codes, quick_start/rate_limit (empty lines),
    # guides/reasoning_model (what the reasoning model refuses).
    "deepseek": Shape(
        "/chat/completions",
        answer=deepseek,
        busy=Busy(503, error("Overloaded.", type="service_unavailable_error"), reason="overloaded"),
        errors=(
            (402, error("Insufficient Balance", code="invalid_request_error"), "Check the account's balance"),
            (
                422,
                error("Invalid parameters: temperature is not supported.", type="invalid_request_error"),
                "bad_request",
            ),
            (
                200,
                {
                    "choices": [
                        {"message": {"content": "fav"}, "finish_reason": "insufficient_system_resource"}
                    ]
                },
                "server",
            ),
        ),
        reasoning=REASONING,
        cached=CACHED,
    ),
    # docs.mistral.ai: api (fields; all others give 422), capabilities/reasoning (content in pieces); the headers and the body
    # of the refusal as in mistralai/client-ts#169 and editor-code-assistant/eca#231.
    "mistral": Shape(
        "/v1/chat/completions",
        refuses={
            name: (
                422,
                {
                    "object": "error",
                    "message": {
                        "detail": [
                            {
                                "type": "extra_forbidden",
                                "loc": ["body", name],
                                "msg": "Extra inputs are not permitted",
                            }
                        ]
                    },
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                },
            )
            for name in ("logprobs", "top_logprobs", "max_completion_tokens", "seed")
        },
        answer=mistral,
        logprobs=False,
        headers={
            "x-ratelimit-limit-req-minute": "720",
            "x-ratelimit-remaining-req-minute": "717",
            "x-ratelimit-limit-tokens-minute": "5000000",
            "x-ratelimit-remaining-tokens-minute": "4999911",
        },
        limits=(720, 717),
        busy=Busy(429, {"object": "error", "message": "Requests rate limit exceeded", "code": "1300"}),
        errors=(
            (401, {"message": "Unauthorized", "request_id": "1"}, "Check the key in"),
            (
                200,
                {"choices": [{"message": {"content": "favor"}, "finish_reason": "error"}]},
                "server",
            ),
        ),
        cached=CACHED,
    ),
    # ai.google.dev/gemini-api/docs/openai; errors come in a list (n4ze3m/page-assist#406), log-probabilities are refused
    # (RUC-NLPIR/Arbor#49), thoughts are in the total alone (Clarifai/clarifai-python#978); google.rpc.RetryInfo.
    "gemini": Shape(
        "/v1beta/openai/chat/completions",
        refuses={
            name: (
                400,
                [
                    error(
                        f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.',
                        code=400,
                        status="INVALID_ARGUMENT",
                    )
                ],
            )
            for name in ("logprobs", "top_logprobs")
        },
        answer=gemini,
        logprobs=False,
        busy=Busy(
            429,
            [
                error(
                    "Resource has been exhausted.",
                    code=429,
                    status="RESOURCE_EXHAUSTED",
                    details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"}],
                )
            ],
            wait=36.0,
        ),
        errors=(
            (
                400,
                [error("API key not valid. Pass a valid one.", code=400, status="INVALID_ARGUMENT")],
                "Check the key in",
            ),
            (404, [error("No such model.", code=404, status="NOT_FOUND")], "Check model and base_url"),
            (503, [error("The model is overloaded.", code=503, status="UNAVAILABLE")], "overloaded"),
        ),
        reasoning=REASONING,
        cached=CACHED,
    ),
    # docs.sglang.ai: basic_usage/openai_api_completions; tokens of the cache as in sgl-project/sglang#28801.
    "sglang": Shape(
        "/v1/chat/completions",
        key=None,
        answer=sglang,
        errors=(
            (
                400,
                {
                    "object": "error",
                    "message": "The input is longer than the model's context length.",
                    "type": "BadRequestError",
                    "code": 400,
                },
                "too_long",
            ),
        ),
    ),
    # docs.ollama.com/api/openai-compatibility and /api/errors; log-probabilities since 0.12.11 (ollama/ollama#16867).
    "ollama": Shape(
        "/v1/chat/completions",
        key=None,
        answer=ollama,
        errors=(
            (404, error("model 'x' not found", type="not_found_error"), "Check model and base_url"),
            (503, error("server busy", type="api_error"), "overloaded"),
        ),
    ),
}


class ShapedServer:
    """Speaks as one provider does, from `with` to its end.

    Args:
        shape: Which one.
        labels: What it answers with.

    Attributes:
        asked: The bodies of all requests that it took.
        instead: Status, headers and body of every answer, where it is not its own.
    """

    def __init__(self, shape, labels=LABELS):
        self.shape = shape
        self.annotator = Annotator(list(labels), other=0.0)
        self.asked, self.instead = [], None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, said = outer.reply(self.path, self.headers, json.loads(body))
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_port}"
        self.base_url = self.host + shape.path.removesuffix("/chat/completions")

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, path, headers, asked):
        """Return status, headers and body."""
        shape, parts = self.shape, urlsplit(path)
        if (parts.path, dict(parse_qsl(parts.query))) != (shape.path, shape.query):
            return 404, {}, encoded(error(f"nothing at {path}"))
        if shape.key and headers.get(shape.key[0]) != shape.key[1] + KEY:
            return 401, {}, encoded(error("no key that is known", code="invalid_api_key"))
        self.asked.append(asked)
        if self.instead is not None:
            status, more, body = self.instead
            return status, more, encoded(body)
        for name, (status, body) in shape.refuses.items():
            if name in asked:
                return status, {}, encoded(body)
        return 200, shape.headers, self.answer(asked)

    def answer(self, asked):
        """Return the body of an answer in the provider's shape."""
        wanted = dict(asked)
        if isinstance(asked.get("logprobs"), int) and not isinstance(asked["logprobs"], bool):
            wanted["top_logprobs"] = asked["logprobs"]
        if (wanted.get("top_logprobs") or 0) > self.shape.most:
            return encoded(error("too many"))
        style = {"no_logprobs": not self.shape.logprobs, "cached": 0}
        said = completion(self.annotator(asked), wanted, number=1, created=0, **style)
        body = encoded(self.shape.answer(copy.deepcopy(said), asked))
        return b"\n\n" + body if self.shape.answer is deepseek else body


def encoded(body):
    """Return a body as bytes."""
    return json.dumps(body).encode()
