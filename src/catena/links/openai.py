"""Any OpenAI-compatible chat-completions endpoint, over plain HTTP: one call, one vote."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from catena.confidence import Found, LabelScorer, Listed, Token
from catena.errors import TaskError
from catena.links.batch import BatchOptions, half
from catena.links.client import Client, Reply, since
from catena.links.identity import fingerprint
from catena.links.openai_batch import OpenAIBatches
from catena.links.price import FREE, Price, find_price
from catena.links.reading import read_label
from catena.links.wire import Completion, bad_body, rate
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Failure, Rate, Usage, Vote

__all__ = ["OpenAILink", "open_link"]

OWNED = ("model", "messages", "stream")
OPENAI = "https://api.openai.com/v1"
LISTEN_SECONDS = 0.05
UNLIMITED = 1 << 20  # tokens of an answer, where neither the task nor a price makes one mind


class Settings(BatchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `kind: openai`; those of batches are in `BatchOptions`.

    Args:
        model: As the server calls it.
        base_url: Where the server is, up to and with `/v1`; OpenAI's unless said.
        api_key_env: The environment variable that holds the key.
        concurrency: Most calls at a time, and how many it begins with; found out by itself unless said.
        requests_per_minute: Most calls a minute; links of one address and key share it.
        tokens_per_minute: Most tokens a minute, in the same way.
        most_failed: The share of its last 50 calls whose failure stops the run.
        timeout: Seconds for one call, from connecting to the last byte.
        price: USD per million tokens, or `free`; from the price list unless said. A batch costs half of it.
        top_logprobs: Alternatives to ask for at each token, as many as the server allows; 0 to ask for none.
        temperature: As the API has it.
        max_tokens: Most tokens of an answer; enough for the longest label unless said.
        body: More fields for the request; null takes one out.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    base_url: str | None = None
    api_key_env: str | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    requests_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    tokens_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    most_failed: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    price: Price | Literal["free"] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=400)] = 20
    temperature: float = 0.0
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    body: dict[str, Any] = msgspec.field(default_factory=dict)


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "OpenAILink":
    """Build the link; see `registry.open_link`."""
    settings = convert(dict(spec.options), Settings, where)
    owned = [key for key in OWNED if key in settings.body]
    if owned:
        raise TaskError(
            f"{where}: body: {owned[0]} can't be set there.",
            "Links set model, messages and stream themselves.",
        )
    if settings.base_url is not None and not settings.base_url.startswith(("http://", "https://")):
        raise TaskError(
            f"{where}: base_url: '{settings.base_url}' is not an http address.",
            "For example http://localhost:8000/v1",
        )
    return OpenAILink(spec.name, settings, task, where)


class OpenAILink:
    """One model behind one endpoint."""

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.render = Prompter(task)
        variable = settings.api_key_env or (None if settings.base_url else "OPENAI_API_KEY")
        address = (settings.base_url or OPENAI).rstrip("/")
        self.capabilities = Capabilities(
            confidence="label_logprobs" if settings.top_logprobs else "none",
            concurrency=settings.concurrency,
            model=settings.model,
            endpoint=f"{address} with {variable}" if variable else address,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            most_failed=settings.most_failed,
        )
        self._url = f"{address}/chat/completions"
        shaping = ("model", "top_logprobs", "temperature", "max_tokens", "body")
        self.fingerprint = fingerprint(
            name, "openai", task, system=task.system, **{key: getattr(settings, key) for key in shaping}
        )
        self._settings = settings
        self._scorer = LabelScorer(list(task.labels))
        price = find_price(settings.price, settings.model, settings.base_url, where)
        self._price = half(price) if settings.mode == "batch" else price
        self._max_tokens = settings.max_tokens or max(len(label.encode()) for label in task.labels) + 8
        self._task_system = task.system
        self._system = [{"role": "system", "content": task.system}] if task.system else []
        self._fields = self._request_fields()
        self._client = Client(where, variable, _headers, settings.timeout, settings.concurrency)
        self.ready = self._client.ready
        self.close = self._client.close
        self.batches = (
            OpenAIBatches(self._client, address, settings, self.question, self.read)
            if settings.mode == "batch"
            else None
        )
        self._listen_at = 0.0

    def _request_fields(self) -> dict[str, Any]:
        settings = self._settings
        fields: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": self._max_tokens}
        if settings.top_logprobs:
            fields |= {"logprobs": True, "top_logprobs": settings.top_logprobs}
        fields |= settings.body
        return {"model": settings.model, **{key: value for key, value in fields.items() if value is not None}}

    def most(self, prompt: str) -> Usage | None:
        """Return what a call uses if every byte of the prompt is a token and the answer takes all it may."""
        limits = [self._fields.get(name) for name in ("max_completion_tokens", "max_tokens")]
        most = max((limit for limit in limits if isinstance(limit, int)), default=None)
        if most is None and self._price != FREE:
            return None
        most = UNLIMITED if most is None else most
        said = len(prompt.encode(errors="replace")) + len((self._task_system or "").encode()) + 16
        answers = most * int(self._fields.get("n") or 1)
        return Usage(said, answers, self._price.usd(said, answers))

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Ask about one prompt; see `types.Link`."""
        return [await self._ask(prompt) for prompt in prompts]

    async def _ask(self, prompt: str) -> Answer:
        start = time.perf_counter()
        reply = await self._client.post(self._url, _encode(self.question(prompt)))
        if isinstance(reply, Failure):
            return reply
        limits = self._limits(reply)
        if reply.status != 200:
            used = Usage(latency_ms=since(start))
            return msgspec.structs.replace(self._client.refused(reply), usage=used, rate=limits)
        read = self.read(reply.body, since(start))
        return read if limits is None else msgspec.structs.replace(read, rate=limits)

    def question(self, prompt: str) -> dict[str, Any]:
        """Return the body of the request that asks about a prompt."""
        if not prompt.isascii():  # half a surrogate pair has no form that can be sent
            prompt = prompt.encode(errors="replace").decode()
        return {"messages": [*self._system, {"role": "user", "content": prompt}], **self._fields}

    def _limits(self, reply: Reply) -> Rate | None:
        """Read the headers on limits, not more often than they are of use."""
        now = time.perf_counter()
        if reply.status == 200 and now < self._listen_at:
            return None
        self._listen_at = now + LISTEN_SECONDS
        return rate(reply.header)

    def read(self, body: bytes, latency: float = 0.0) -> Answer:
        """Return the vote or the failure that an answer's body is.

        Args:
            body: As the server sent it.
            latency: Milliseconds that it took.
        """
        try:
            completion = _decode(body)
            choice = completion.choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError) as error:
            return bad_body(error, body, latency)
        usage = self._usage(completion, latency)
        text = choice.message.content or ""
        failure = choice.failure(text)
        if failure is None:
            found = read_label(self._scorer, text, cut=choice.finish_reason == "length")
            if isinstance(found, Found):
                return self._vote(completion, text, found, usage)
            failure = found
        return msgspec.structs.replace(failure, text=text, usage=usage, model=completion.fingerprint)

    def _vote(self, completion: Completion, text: str, found: Found, usage: Usage) -> Vote:
        tokens, model = completion.choices[0].tokens(), completion.fingerprint
        if not tokens:
            return Vote(found.label, None, "none", None, text, usage, model)
        scores = self._scorer.score(
            [
                Token(
                    t.token,
                    t.raw,
                    t.logprob,
                    [Listed(a.token, a.raw, a.logprob) for a in t.top_logprobs or ()],
                )
                for t in tokens
            ],
            found.start,
        )
        if scores.logprobs[scores.best] is None:
            return Vote(found.label, None, "none", None, text, usage, model)
        label = self._scorer.labels[scores.best]
        return Vote(label, scores.margin, "label_logprobs", scores.logprobs, text, usage, model)

    def _usage(self, completion: Completion, latency: float) -> Usage:
        prompt, answer = completion.usage.prompt_tokens or 0, completion.usage.completion_tokens or 0
        return Usage(prompt, answer, self._price.usd(prompt, answer), latency)


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode
