"""Any OpenAI-compatible chat-completions endpoint, over plain HTTP: one call, one vote."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

from catena.confidence import Found, LabelScorer, Listed, Token
from catena.errors import LinkError, TaskError
from catena.links.identity import fingerprint
from catena.links.price import FREE, Price, find_price
from catena.links.wire import Completion, bad_body, rate, retry_after, status_failure
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Failure, Rate, Usage, Vote

__all__ = ["OpenAILink", "open_link"]

SHORTEST_KEY = 8  # shorter ones are stand-ins such as `none`, which are words too
OWNED = ("model", "messages", "stream")
OPENAI = "https://api.openai.com/v1"
MOST_BODY_BYTES = 4 << 20
MOST_CONNECTIONS = 512
LISTEN_SECONDS = 0.05
UNLIMITED = 1 << 20  # tokens of an answer, where neither the task nor a price makes one mind


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `kind: openai`.

    Args:
        model: As the server calls it.
        base_url: Where the server is, up to and with `/v1`; OpenAI's unless said.
        api_key_env: The environment variable that holds the key.
        concurrency: Most calls at a time, and how many it begins with; found out by itself unless said.
        requests_per_minute: Most calls a minute; links of one address and key share it.
        tokens_per_minute: Most tokens a minute, in the same way.
        most_failed: The share of its last 50 calls whose failure stops the run.
        timeout: Seconds for one call, from connecting to the last byte.
        price: USD per million tokens, or `free`; from the price list unless said.
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
    body: dict[str, Any] = {}


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
        self._variable = settings.api_key_env or (None if settings.base_url else "OPENAI_API_KEY")
        address = (settings.base_url or OPENAI).rstrip("/")
        self.capabilities = Capabilities(
            confidence="label_logprobs" if settings.top_logprobs else "none",
            concurrency=settings.concurrency,
            model=settings.model,
            endpoint=f"{address} with {self._variable}" if self._variable else address,
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
        self._where = where
        self._scorer = LabelScorer(list(task.labels))
        self._price = find_price(settings.price, settings.model, settings.base_url, where)
        self._max_tokens = settings.max_tokens or max(len(label.encode()) for label in task.labels) + 8
        self._task_system = task.system
        self._system = [{"role": "system", "content": task.system}] if task.system else []
        self._fields = self._request_fields()
        self._client: Any = None
        self._key = ""
        self._spellings: frozenset[bytes] = frozenset()
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

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ask(self, prompt: str) -> Answer:
        client = self._client or self._connect()
        if not prompt.isascii():  # half a surrogate pair has no form that can be sent
            prompt = prompt.encode(errors="replace").decode()
        messages = [*self._system, {"role": "user", "content": prompt}]
        body = _encode({"messages": messages, **self._fields})
        start = time.perf_counter()
        try:
            response = await client.post(self._url).body_bytes(body).build().send()
            answer = self._hide(bytes(await response.bytes()))
        except Exception as error:  # noqa: BLE001 - whatever the client raises is about this call
            failure = _transport_failure(error, self._settings.timeout)
            return msgspec.structs.replace(failure, usage=Usage(latency_ms=_since(start)))
        limits = self._limits(response)
        if response.status != 200:
            used = Usage(latency_ms=_since(start))
            return msgspec.structs.replace(self._refused(response, answer), usage=used, rate=limits)
        read = self._read(answer, _since(start))
        return read if limits is None else msgspec.structs.replace(read, rate=limits)

    def _limits(self, response: Any) -> Rate | None:
        """Read the headers on limits, not more often than they are of use."""
        now = time.perf_counter()
        if response.status == 200 and now < self._listen_at:
            return None
        self._listen_at = now + LISTEN_SECONDS
        return rate(response.get_header)

    def ready(self) -> None:
        """See that the key is there; see `types.Link`."""
        variable = self._variable
        if variable is None:
            return
        self._key = os.environ.get(variable, "").strip()
        if not self._key:
            raise LinkError(
                f"{self._where}: there is no key in {variable}.", f"Set it: export {variable}=..."
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise LinkError(
                f"{self._where}: the key in {variable} has characters that no key has.", "Set it anew."
            )
        if len(self._key) >= SHORTEST_KEY:
            self._spellings = frozenset(
                {self._key.encode(), _encode(self._key)[1:-1], self._key.replace("/", "\\/").encode()}
            )

    def _connect(self) -> Any:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - only needed once there is something to ask

        settings = self._settings
        self.ready()
        builder = (
            ClientBuilder()
            .timeout(timedelta(seconds=settings.timeout))
            .max_connections(settings.concurrency or MOST_CONNECTIONS)
            .follow_redirects(False)
            .default_headers({"content-type": "application/json"})
        )
        if self._key:
            builder = builder.default_headers(
                {"content-type": "application/json", "authorization": f"Bearer {self._key}"}
            )
        self._client = builder.build()
        return self._client

    def _refused(self, response: Any, body: bytes) -> Failure:
        """Return the failure that a status says, or raise where it concerns the whole link."""
        said = body[:MOST_BODY_BYTES].decode(errors="replace")
        failure = status_failure(response.status, said, retry_after(response.get_header))
        if (response.status in _WAYS and failure.reason != "filtered") or failure.reason == "refused_key":
            way = _WAYS.get(response.status, "Check the account.").format(self._variable)
            if response.status == 401 and self._variable is None:
                way = "The server wants a key: name the variable that holds it, api_key_env: NAME."
            raise LinkError(f"{self._where}: {failure.message.rstrip('.')}.", way)
        return failure

    def _hide(self, body: bytes) -> bytes:
        """Take the key out of what a server said, before any of it is cut: some show what they were sent."""
        for spelling in self._spellings:
            body = body.replace(spelling, b"***")
        return body

    def _read(self, body: bytes, latency: float) -> Answer:
        try:
            completion = _decode(body)
            choice = completion.choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError) as error:
            return bad_body(error, body, latency)
        usage = self._usage(completion, latency)
        text = choice.message.content or ""
        failure = choice.failure(text)
        if failure is None:
            found = self._scorer.parse(text)
            if isinstance(found, Found) and not (found.open and choice.finish_reason == "length"):
                return self._vote(completion, text, found, usage)
            reason = "cut" if choice.finish_reason == "length" else getattr(found, "reason", "cut")
            failure = Failure(reason, _no_label(text, reason, self._scorer.labels))
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


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode

_WAYS: Mapping[int, str] = {
    401: "Check the key in {}.",
    403: "Check what the key may use.",
    404: "Check model and base_url, which mostly ends in /v1.",
}


def _transport_failure(error: Exception, timeout: float) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure("timeout", f"no answer within {timeout:g} s", retryable=True, charged=True)
    from pyreqwest.exceptions import ConnectError  # noqa: PLC0415 - as above

    asked = not isinstance(error, ConnectError)
    return Failure("transport", f"the connection failed: {_innermost(error)}", retryable=True, charged=asked)


def _since(start: float) -> float:
    """Return milliseconds."""
    return (time.perf_counter() - start) * 1000


def _innermost(error: Exception) -> str:
    causes = getattr(error, "details", {}).get("causes") or [{"message": str(error)}]
    return str(causes[-1]["message"])


def _no_label(text: str, reason: str, labels: Sequence[str]) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    among = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    what = {
        "empty": "answered nothing",
        "cut": f"was cut off at {shown!r}",
        "many_labels": f"answered {shown!r}, which names more than one of: {among}",
    }
    return what.get(reason, f"answered {shown!r}, which is none of: {among}")
