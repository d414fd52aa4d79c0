"""Providers that speak OpenAI's protocol, each by the options that it stands for: `model: groq/llama-3.3-70b-versatile`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from catena.errors import TaskError
from catena.task import LinkSpec

__all__ = ["PROVIDERS", "written_out"]

PROVIDERS: Mapping[str, Mapping[str, Any]] = {
    "openai": {},
    "deepseek": {"base_url": "https://api.deepseek.com", "api_key_env": "DEEPSEEK_API_KEY"},
    # Without log-probabilities: they refuse to be asked for them.
    "gemini": {
        "base_url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "api_key_env": "GEMINI_API_KEY",
        "top_logprobs": 0,
    },
    "groq": {
        "base_url": "https://api.groq.com/openai/v1",
        "api_key_env": "GROQ_API_KEY",
        "top_logprobs": 0,
    },
    "mistral": {
        "base_url": "https://api.mistral.ai/v1",
        "api_key_env": "MISTRAL_API_KEY",
        "top_logprobs": 0,
    },
    "openrouter": {"base_url": "https://openrouter.ai/api/v1", "api_key_env": "OPENROUTER_API_KEY"},
    # Its `logprobs` is the number of alternatives.
    "together": {
        "base_url": "https://api.together.xyz/v1",
        "api_key_env": "TOGETHER_API_KEY",
        "body": {"logprobs": 20, "top_logprobs": None},
    },
    # On this machine, at the port that each takes by itself.
    "llamacpp": {"base_url": "http://localhost:8080/v1", "price": "free"},
    "ollama": {"base_url": "http://localhost:11434/v1", "price": "free"},
    "sglang": {"base_url": "http://localhost:30000/v1", "price": "free"},
    "vllm": {"base_url": "http://localhost:8000/v1", "price": "free"},
}
"""What stands for each provider; options that a task gives itself take their places, `body` field by field."""


def written_out(spec: LinkSpec, where: str) -> LinkSpec:
    """Return a link's entry with the options that `PROVIDER/MODEL` stands for.

    Beside a `base_url` a model is what the server calls it, slashes and all.

    Raises:
        TaskError: No such provider.
    """
    model = spec.options.get("model")
    if not isinstance(model, str) or "/" not in model or spec.options.get("base_url") is not None:
        return spec
    provider, _, name = model.partition("/")
    if provider not in PROVIDERS:
        raise TaskError(
            f"{where}: model: '{provider}' before the / is no provider.",
            f"Known: {', '.join(sorted(PROVIDERS))}; or name the server: base_url.",
        )
    stands_for = PROVIDERS[provider]
    body = {**stands_for.get("body", {}), **(spec.options.get("body") or {})}
    options = {**stands_for, **spec.options, "model": name} | ({"body": body} if body else {})
    return msgspec.structs.replace(spec, options=options)
