"""Anthropic's Messages API, over plain HTTP: one call, one vote, but for samples. It gives no log-probabilities."""

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from catena.confidence import Found, LabelScorer
from catena.errors import LinkError, TaskError
from catena.links.anthropic_batch import AnthropicBatches
from catena.links.batch import half
from catena.links.client import Client, Reply, since
from catena.links.identity import fingerprint
from catena.links.limits import Header
from catena.links.marks import Marker
from catena.links.options import CallOptions, capabilities, read_options
from catena.links.price import find_price
from catena.links.reading import answers_of, read_label
from catena.links.samples import Sampler
from catena.links.thinking import Read, Said, Thinker, in_two_turns, thoughts_of
from catena.links.verbalised import read_verbalised, verbalising
from catena.links.wire import Count, bad_body
from catena.task import LinkSpec, TaskSpec
from catena.types import Answer, Failure, Item, Limit, Rate, Usage, Vote, together

__all__ = ["AnthropicLink", "open_link"]

OWNED = ("model", "messages", "system", "stream")
ANTHROPIC = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"
FOR_MINUTES, FOR_AN_HOUR = (
    0.25,
    1.0,
)  # of the price, for a token that is put into the cache (docs, "Prompt caching")
LOW_BALANCE = "credit balance is too low"  # comes with status 400, as if the prompt were to blame


class Settings(CallOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `kind: anthropic`.

    Args:
        cache: Whether to have the part of the questions cached that is the same for every row, where it is long enough.
    """

    cache: bool = True


class Block(msgspec.Struct, gc=False):
    """A part of an answer."""

    type: str = ""
    text: str | None = None


class Written(msgspec.Struct, gc=False):
    """Counts of tokens that were put into the cache, by how long they are kept."""

    ephemeral_1h_input_tokens: Count | None = 0


class Tokens(msgspec.Struct, gc=False):
    """Counts of tokens; those that came from the cache or were put into it are not among `input_tokens`."""

    input_tokens: Count | None = 0
    output_tokens: Count | None = 0
    cache_read_input_tokens: Count | None = 0
    cache_creation_input_tokens: Count | None = 0
    cache_creation: Written | None = None

    @property
    def prompt(self) -> int:
        """All tokens of the prompt."""
        return (self.input_tokens or 0) + self.cached + (self.cache_creation_input_tokens or 0)

    @property
    def cached(self) -> int:
        """Those that came from the cache."""
        return self.cache_read_input_tokens or 0

    @property
    def surcharge(self) -> float:
        """What is paid on top for those that were put into the cache, as a number of tokens."""
        written = self.cache_creation_input_tokens or 0
        longer = min(written, (self.cache_creation and self.cache_creation.ephemeral_1h_input_tokens) or 0)
        return FOR_MINUTES * (written - longer) + FOR_AN_HOUR * longer


class Message(msgspec.Struct, gc=False):
    """A whole answer body."""

    content: list[Block]
    model: str = ""
    stop_reason: str | None = None
    usage: Tokens | None = None

    @property
    def text(self) -> str:
        """What was said; thinking is left out."""
        return "".join(block.text or "" for block in self.content if block.type == "text")

    @property
    def refused(self) -> Failure | None:
        """Why this is no answer, where the model refuses."""
        if self.stop_reason != "refusal":
            return None
        return Failure("refused", f"refused: {self.text[:80]!r}" if self.text else "refused")


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "AnthropicLink":
    """Build the link; see `registry.open_link`."""
    settings = read_options(spec, Settings, OWNED, ANTHROPIC, where)
    if settings.confidence == "logprobs":
        raise TaskError(
            f"{where}: confidence: Anthropic gives no log-probabilities.",
            "Write confidence: samples, or confidence: verbalised.",
        )
    return AnthropicLink(spec.name, settings, task, where)


class AnthropicLink:
    """One model behind the Messages API."""

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.prompter = settings.prompter(task, where)
        self.render: Callable[[Item], str] = self.prompter
        if settings.verbalised:
            self.render = verbalising(self.render, answers_of(task), where)
        self._verbalised = settings.verbalised
        address, variable = settings.place(ANTHROPIC, "ANTHROPIC_API_KEY")
        self.capabilities = capabilities(settings, address, variable, "none")
        shaping = ("model", "temperature", "max_tokens", "body")
        shaped = {key: getattr(settings, key) for key in shaping} | settings.ladder | settings.own(task)
        self.fingerprint = fingerprint(name, "anthropic", task, system=settings.system_of(task), **shaped)
        self._url = f"{address}/messages"
        self._where = where
        self._scorer, self._abstain = LabelScorer(answers_of(task)), task.abstain
        price = find_price(settings.price, settings.model, settings.base_url, where, "anthropic")
        self.price = self._price = half(price) if settings.mode == "batch" else price
        system = settings.system_of(task) or ""
        body = _encode(settings.body)
        marked = b"cache_control" in body
        self._marker = Marker(self.prompter, system, wanted=settings.cache and not marked)
        self._fields = self._request_fields(settings, answers_of(task))
        self._always = len(system.encode()) + len(body) + 16  # bytes of each prompt
        self._surcharge = FOR_AN_HOUR if marked else 0.0
        self._client = Client(
            where, variable, settings.carrier(_headers), settings, settings.timeout, settings.concurrency
        )
        self.ready = self._client.ready
        self.close = self._client.close
        self.batches = (
            AnthropicBatches(self._client, address, settings, self.question, self.read)
            if settings.mode == "batch"
            else None
        )
        self._calls = settings.calls
        self._think, once = settings.think, self._call
        if settings.think is not None:
            once = Thinker(settings.think, self._send, self.question, self._thoughts, self._reader).ask
        sampler = Sampler(once, list(task.labels), self._calls)
        self._ask = sampler.ask if self._calls > 1 else once

    def _request_fields(self, settings: CallOptions, answers: Sequence[str]) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "max_tokens": settings.enough(answers),
            "temperature": settings.temperature,
            "system": self._marker.system(),
            **settings.body,
        }
        return {"model": settings.model, **{key: value for key, value in fields.items() if value is not None}}

    def most(self, prompt: str) -> Usage | None:
        """Return what a vote uses if every byte of the prompt is a token and each answer takes all it may."""
        answer = self._fields.get("max_tokens")
        if not isinstance(answer, int):
            return None
        said = len(prompt.encode(errors="replace")) + self._always
        turns = [(said, answer)] if self._think is None else in_two_turns(said, answer, self._think)
        written = FOR_MINUTES * self._marker.bytes
        uses = [
            Usage(*turn, self._price.usd(*turn, surcharge=self._surcharge * turn[0] + written))
            for turn in turns
        ]
        return together(uses * self._calls)

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Ask about each prompt; see `types.Link`."""
        return [await self._ask(prompt) for prompt in prompts]

    async def _call(self, prompt: str) -> Answer:
        answer = await self._send(self.question(prompt), self.read)
        assert isinstance(answer, Answer)
        return answer

    async def _send(self, question: Mapping[str, Any], read: Read) -> Said:
        start = time.perf_counter()
        reply = await self._client.post(self._url, _encode(question))
        if isinstance(reply, Failure):
            return reply
        limits = rate(reply.header)
        if reply.status != 200:
            used = Usage(latency_ms=since(start))
            return msgspec.structs.replace(self._refused(reply), usage=used, rate=limits)
        said = read(reply.body, since(start))
        return said if limits is None else msgspec.structs.replace(said, rate=limits)

    def _reader(self, prompt: str) -> Callable[[bytes, float], Answer]:  # noqa: ARG002 - an answer tells enough
        return self.read

    def _refused(self, reply: Reply) -> Failure:
        failure = self._client.refused(reply)
        if LOW_BALANCE in failure.message:
            raise LinkError(f"{self._where}: {failure.message.rstrip('.')}.", "Check the account's balance.")
        return failure

    def question(self, prompt: str) -> dict[str, Any]:
        """Return the body of the request that asks about a prompt."""
        if not prompt.isascii():  # half a surrogate pair has no form that can be sent
            prompt = prompt.encode(errors="replace").decode()
        return {"messages": [{"role": "user", "content": self._marker.content(prompt)}], **self._fields}

    def read(self, body: bytes, latency: float = 0.0) -> Answer:
        """Return the vote or the failure that an answer's body is.

        Args:
            body: As the server sent it.
            latency: Milliseconds that it took.
        """
        try:
            message = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return bad_body(error, body, latency)
        text, model = message.text, message.model
        usage = self._usage(message, latency)
        return msgspec.structs.replace(self._answer(message, text), text=text, usage=usage, model=model)

    def _usage(self, message: Message, latency: float) -> Usage:
        counts = message.usage or Tokens()
        asked, said = counts.prompt, counts.output_tokens or 0
        return Usage(asked, said, self._price.usd(asked, said, counts.cached, counts.surcharge), latency)

    def _thoughts(self, body: bytes, latency: float) -> Said:
        try:
            message = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return bad_body(error, body, latency)
        usage = self._usage(message, latency)
        if failure := message.refused:
            return msgspec.structs.replace(failure, text=message.text, usage=usage, model=message.model)
        return thoughts_of(message.text, usage)

    def _answer(self, message: Message, text: str) -> Answer:
        if failure := message.refused:
            return failure
        cut = message.stop_reason in {"max_tokens", "model_context_window_exceeded"}
        if cut and not text.strip():
            return Failure("cut", "the answer was cut before it began; raise max_tokens")
        if self._verbalised:
            return read_verbalised(self._scorer, text, cut=cut, abstain=self._abstain)
        found = read_label(self._scorer, text, cut=cut, abstain=self._abstain)
        return Vote(found.label) if isinstance(found, Found) else found


def rate(header: Header) -> Rate | None:
    """Return what Anthropic's headers say of its limits."""
    requests, tokens = _limit(header, "requests"), _limit(header, "tokens")
    return Rate(requests, tokens) if requests or tokens else None


def _limit(header: Header, of: str) -> Limit | None:
    most, left, reset = (
        header(f"anthropic-ratelimit-{of}-{name}") for name in ("limit", "remaining", "reset")
    )
    try:
        known = Limit(float(most or 0), float(left or 0), 0.0)
    except ValueError:
        return None
    if not 0 < known.most < float("inf") or left is None:
        return None
    try:
        wait = dt.datetime.fromisoformat(reset or "").timestamp() - time.time()
    except (ValueError, OverflowError):
        wait = 0.0
    return Limit(known.most, min(max(known.left, 0.0), known.most), max(0.0, wait))


def _headers(key: str) -> dict[str, str]:
    return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode
