"""What vLLM's server does beside OpenAI's protocol, as far as labels can be scored by it: see `Settings.serves`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from catena.testing.answers import Annotator, Reply, text_of
from catena.testing.tokens import END, LEAST, alternatives

__all__ = ["SERVES", "Native", "in_schema"]

SERVES = ("tokenize", "json_schema", "logprob_token_ids", "prompt_logprobs", "systemone")


class Native:
    """Tokens with numbers, and scores of labels.

    Args:
        model: Its tokens and distributions.
        pieces: Whether `/tokenize` answers as llama.cpp's server does.
    """

    def __init__(self, model: Annotator, *, pieces: bool = False) -> None:
        self._model = model
        self._pieces = pieces
        self._numbers: dict[str, int] = {}
        self._tokens: list[str] = []

    def tokenize(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `/tokenize`."""
        tokens = self._model.cut(str(asked.get("prompt") or asked.get("content") or ""))
        numbers = [self._number(token) for token in tokens]
        if self._pieces:
            return {"tokens": [{"id": n, "piece": t} for n, t in zip(numbers, tokens, strict=True)]}
        return {"count": len(tokens), "max_model_len": 4096, "tokens": numbers, "token_strs": tokens}

    def systemone(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer `/v1/systemone` with the model's distribution over each question's options."""
        answers = {}
        for name, question in asked["questions"].items():
            prompt = [{"role": "user", "content": asked["state"]}]
            shares = self._model.distribution(prompt, str(asked.get("model", "")))
            options = {option: shares.get(option, 0.0) for option in question["criteria"]}
            total = sum(options.values()) or 1.0
            chances = {option: share / total for option, share in options.items()}
            best = max(chances, key=chances.__getitem__)
            answers[name] = {"type": "choice", "choice": best, "probabilities": chances}
        return {
            "model": asked.get("model", ""),
            "answers": answers,
            "usage": {"input_tokens": len(str(asked["state"])) // 4, "output_tokens": 0},
        }

    def with_token_ids(self, body: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """List exactly the tokens that were asked for, the generated one first."""
        numbers = asked["logprob_token_ids"]
        shares = list(self._model.distribution(asked["messages"], asked.get("model", "")).values())
        node, wanted = self._model.tree.root, [self._tokens[number] for number in numbers]
        chances = dict(alternatives(node, shares))
        for position in body["choices"][0]["logprobs"]["content"][:1]:
            names = [position["token"], *[token for token in wanted if token != position["token"]]]
            listed = names[: asked.get("top_logprobs") or 0]
            position["top_logprobs"] = [_listed(token, chances.get(token, LEAST)) for token in listed]

    def with_prompt(self, body: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """Give the log-probabilities of the prompt's tokens; those of what the model has said are its own."""
        *before, last = asked["messages"]
        said = self._model.cut(text_of(last)) if last.get("role") == "assistant" else []
        others = [
            token
            for one in (before if said else asked["messages"])
            for token in self._model.cut(text_of(one))
        ]
        known: list[Any] = [None, *[self._known(token, -0.5) for token in others]]
        shares = list(self._model.distribution(before or asked["messages"], asked.get("model", "")).values())
        node: Any = self._model.tree.root
        for token in said:
            chances = dict(alternatives(node, shares))
            rival = next((other for other in chances if other != token), END)
            known.append(
                self._known(token, chances.get(token, LEAST)) | self._known(rival, chances.get(rival, LEAST))
            )
            node = node and node.children.get(token)
        body["prompt_logprobs"] = known

    def _known(self, token: str, logprob: float) -> dict[str, Any]:
        return {str(self._number(token)): {"logprob": logprob, "rank": 1, "decoded_token": token}}

    def _number(self, token: str) -> int:
        if token not in self._numbers:
            self._numbers[token] = len(self._tokens)
            self._tokens.append(token)
        return self._numbers[token]


def in_schema(reply: Reply, asked: Mapping[str, Any]) -> Reply:
    """Return the reply as the JSON that a request's schema asks for."""
    form = asked.get("response_format") or {}
    keys: Sequence[str] = list(((form.get("json_schema") or {}).get("schema") or {}).get("properties") or ())
    if form.get("type") != "json_schema" or not keys or reply.text is None:
        return reply
    return Reply(msgspec.json.encode({keys[0]: reply.text.strip()}).decode())


def _listed(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
