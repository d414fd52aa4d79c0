"""Finding out what an OpenAI-compatible server gives: about five calls, and its tokenizer where it has one."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from catena.confidence.parting import parts_at, sharing
from catena.errors import LinkError
from catena.links.client import Client
from catena.links.price import Price
from catena.links.probe import Probe, tokens_in
from catena.links.wire import Choice, Completion, decoder
from catena.types import Failure

__all__ = ["OpenAIProbe", "tokenizer_of"]

MOST_LISTED = (20, 5)
REPEAT = "Repeat these lines exactly, one after the other, with nothing before and nothing after them:"
MOST_REPEATED = 2_000  # bytes of labels that a model is asked to repeat
ROOM = 32  # tokens of an answer's form


class OpenAIProbe:
    """Asks one server.

    Args:
        client: Calls it.
        address: Its address, up to `/v1`.
        question: Returns the body of the request that asks about a prompt.
        labels: The task's labels.
        price: Of its tokens.
        own: Whether it is OpenAI's own, which has no tokenizer to ask.
    """

    def __init__(
        self,
        client: Client,
        address: str,
        question: Callable[[str], dict[str, Any]],
        labels: Sequence[str],
        price: Price,
        *,
        own: bool,
    ) -> None:
        self._client = client
        self._address = address
        self._question = question
        self._labels = labels
        self._price = price
        self._own = own
        self._refused = self._model = ""
        self._calls, self._cost = 0, 0.0

    async def look(self, prompt: str) -> Probe:
        """Return what a few calls about a prompt show."""
        listed = await self._listed(prompt)
        tokens, source = ({}, "") if self._own else (await self._tokenised(), "tokenizer")
        if not tokens:
            tokens, source = (await self._repeated(), "answer") if listed is not None else ({}, "")
        structured = await self._structured(prompt)
        return Probe(
            logprobs=listed is not None,
            listed=listed,
            refused=self._refused,
            tokens=tokens,
            tokens_from=source if tokens else "",
            parts_at=parts_at(tokens),
            shared=sharing(tokens),
            structured=structured,
            model=self._model,
            calls=self._calls,
            cost_usd=self._cost,
        )

    async def _listed(self, prompt: str) -> int | None:
        """Return how many alternatives stand at a token at most; None where there are no log-probabilities."""
        for most in MOST_LISTED:
            body = self._question(prompt) | {"logprobs": True, "top_logprobs": most}
            choice = await self._said(body)
            if choice is None:
                continue
            self._refused = ""
            tokens = choice.tokens()
            return max(len(token.top_logprobs or ()) for token in tokens) if tokens else None
        return None

    async def _tokenised(self) -> dict[str, list[str]]:
        """Return each label's tokens as the server's own tokenizer has them; none where it has no such page."""
        found: dict[str, list[str]] = {}
        for label in self._labels:
            tokens = await tokenizer_of(self._client, self._address, self._model_asked(), label)
            if tokens is None:
                return {}
            found[label] = [text for _, text in tokens]
        return found

    async def _repeated(self) -> dict[str, list[str]]:
        """Return each label's tokens as the model says them, as many labels as it can be asked to repeat."""
        lines: list[str] = []
        for label in self._labels:
            if "\n" in label or sum(len(line.encode()) + 1 for line in lines) > MOST_REPEATED:
                break
            lines.append(label)
        room = sum(len(line.encode()) + 1 for line in lines) + ROOM
        body = self._question("\n".join([REPEAT, *lines])) | {"logprobs": True, "top_logprobs": 1}
        choice = await self._said(_with_room(body, room))
        return tokens_in(lines, [token.token for token in choice.tokens()]) if choice else {}

    async def _structured(self, prompt: str) -> bool:
        """Tell whether an answer follows a JSON schema."""
        schema = {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": list(self._labels)}},
            "required": ["label"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        room = max(len(label.encode()) for label in self._labels) + ROOM
        choice = await self._said(_with_room(self._question(prompt) | {"response_format": form}, room))
        try:
            said = json.loads(choice.message.text if choice else "")
        except (ValueError, RecursionError):
            return False
        return isinstance(said, dict) and said.get("label") in self._labels

    async def _said(self, body: Mapping[str, Any]) -> Choice | None:
        """Return what the server answers; None where it refuses or answers nothing, with what it says kept."""
        reply = await self._client.post(f"{self._address}/chat/completions", _encode(body))
        self._calls += 1
        if isinstance(reply, Failure):
            self._refused = reply.message
            return None
        if reply.status != 200:
            try:
                self._refused = self._client.refused(reply).message
            except LinkError as error:
                self._refused = error.message
            return None
        try:
            completion = _decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._refused = "not a chat completion"
            return None
        used = completion.usage
        self._cost += self._price.usd(used.prompt_tokens or 0, used.completion_tokens or 0, used.cached)
        self._model = completion.fingerprint or self._model
        return completion.choices[0] if completion.choices else None

    def _model_asked(self) -> str:
        return str(self._question("")["model"])


async def tokenizer_of(client: Client, address: str, model: str, text: str) -> list[tuple[int, str]] | None:
    """Return the tokens of a text, number and text of each, from a server's own tokenizer; None where it has none.

    vLLM, SGLang and llama.cpp have `/tokenize` beside `/v1`; the request has the fields of all of them.
    """
    body = {
        "model": model,
        "prompt": text,
        "content": text,
        "add_special_tokens": False,
        "add_special": False,
    }
    body |= {"return_token_strs": True, "with_pieces": True}
    reply = await client.post(f"{address.removesuffix('/v1')}/tokenize", _encode(body))
    if isinstance(reply, Failure) or reply.status != 200:
        return None
    try:
        said = _decode_tokens(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if all(isinstance(token, Piece) for token in said.tokens):
        return [(token.id, token.text) for token in said.tokens if isinstance(token, Piece)]
    numbers = [token for token in said.tokens if isinstance(token, int)]
    if said.token_strs is None or len(numbers) != len(said.token_strs):
        return None
    return list(zip(numbers, said.token_strs, strict=True))


class Piece(msgspec.Struct):
    """A token of llama.cpp; one that is no whole text is a list of bytes."""

    id: int
    piece: str | list[int]

    @property
    def text(self) -> str:
        """What it says."""
        return self.piece if isinstance(self.piece, str) else bytes(self.piece).decode("latin-1")


class Tokenised(msgspec.Struct):
    """The body of an answer of `/tokenize`."""

    tokens: list[int | Piece]
    token_strs: list[str] | None = None


def _with_room(body: dict[str, Any], tokens: int) -> dict[str, Any]:
    """Return a request whose answer may have so many tokens."""
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in body]
    return body | {name: max(tokens, body[name] or 0) for name in names}


_encode = msgspec.json.Encoder().encode
_decode = decoder(Completion)
_decode_tokens = msgspec.json.Decoder(Tokenised).decode
