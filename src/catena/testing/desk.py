"""The desk of the fake provider: decides what each call gets, and keeps the books."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from catena.errors import InputError
from catena.testing.answers import SPOILED, Annotator, Answer, Reply, call_key, chance, completion, spoil
from catena.testing.batches import BatchDesk
from catena.testing.cache import PromptCache
from catena.testing.calls import CallLedger, Entry
from catena.testing.faults import ERRORS, choose, error_body
from catena.testing.messages import as_message, message_error
from catena.testing.native import Native, in_schema
from catena.testing.settings import FIXED, Settings, settle
from catena.testing.wire import Request

if TYPE_CHECKING:
    from catena.testing.server import Connection

__all__ = ["MESSAGES", "MODELLED", "Desk", "Open", "annotator"]

FLUSH_SECONDS = 0.05
MESSAGES = "/v1/messages"
MODELLED = ("labels", "seed", "sharpness", "accuracy", "gold", "other", "vocabulary")


class Open(msgspec.Struct, gc=False):
    """A call that is being worked on."""

    n: int
    key: str
    model: str
    attempt: int
    asked: dict[str, Any]
    last: bool
    anthropic: bool = False
    fault: str = ""
    wait: float | None = None
    timer: asyncio.TimerHandle | None = None


class Bucket:
    """Rate limit: `burst` calls at once, `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst, self.left, self.at = rate, burst, float(burst), time.monotonic()

    def take(self) -> float:
        """Take one call; return 0.0, or the seconds until there is one to take."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return (1 - self.left) / self.rate
        self.left -= 1
        return 0.0

    def headers(self) -> dict[str, str]:
        """Return OpenAI's rate-limit headers."""
        return {
            "x-ratelimit-limit-requests": str(self.burst),
            "x-ratelimit-remaining-requests": str(int(self.left)),
            "x-ratelimit-reset-requests": f"{max(0.0, (self.burst - self.left) / self.rate):.3f}s",
        }


def annotator(settings: Settings) -> Annotator:
    """Return the model that these settings describe."""
    model = {name: getattr(settings, name) for name in MODELLED}
    return Annotator(model.pop("labels"), **model)


class Desk:
    """Decides what each call gets, and keeps the books."""

    def __init__(
        self, settings: Settings, answer: Answer | None = None, model: Annotator | None = None
    ) -> None:
        self.settings = settings
        self.annotator = model or annotator(settings)
        self.ledger = CallLedger(settings.ledger)
        self.connections: set[Connection] = set()
        self.attempts: dict[str, int] = {}
        self.requests = self.answered = self.left = self.in_flight = self.most_in_flight = 0
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.batches = BatchDesk(self)
        self._given = answer
        self._encoder = msgspec.json.Encoder()
        self._flush: asyncio.TimerHandle | None = None
        self._settle(settings, {"rate", "cache_block", "native"})

    def _settle(self, settings: Settings, changed: set[str]) -> None:
        if changed & set(MODELLED):
            self.annotator = annotator(settings)
        if changed & {*MODELLED, "native", "quirk"}:
            self.native = Native(self.annotator, pieces=settings.quirk == "llamacpp")
        if "cache_block" in changed:
            self.cache = PromptCache(settings.cache_block)
        if changed & {"rate", "burst"}:
            self.bucket = Bucket(settings.rate, settings.burst) if settings.rate else None
        self.settings = settings

    def answer(self, asked: dict[str, Any], attempt: int = 1) -> Reply:
        """Say what is answered; the model that is known draws anew at each attempt, where it draws."""
        return self.annotator(asked, attempt) if self._given is None else self._given(asked)

    def _change(self, body: bytes) -> None:
        changes = msgspec.json.decode(body, type=dict[str, Any])
        if fixed := set(changes) & set(FIXED):
            raise InputError(f"{fixed.pop()} can't change while the provider runs.")
        self._settle(settle(changes, self.settings), set(changes))

    def control(self, body: bytes, asker: "Connection") -> tuple[int, bytes]:
        """Change settings while it runs; going down closes every connection but the asker's."""
        try:
            self._change(body)
        except (msgspec.DecodeError, InputError) as error:
            return error_body("400", str(error))
        for connection in self.connections - {asker} if self.settings.down else ():
            connection.drop("down")
        return 200, b"{}"

    def stats(self) -> bytes:
        """Return the counts as JSON, after everything in the ledger is on disk."""
        self.ledger.flush()
        names = ("requests", "answered", "left", "in_flight")
        counts = {name: getattr(self, name) for name in names}
        more = {"max_in_flight": self.most_in_flight, "connections": len(self.connections)}
        more |= {"batches": len(self.batches.batches), "held": self.batches.held}
        return self._encoder.encode({**counts, **more, "by_status": self.statuses, "by_fault": self.faults})

    def models(self) -> bytes:
        """Return the list of models."""
        names = self.settings.models or ["fake"]
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "catena"} for name in names]
        return self._encoder.encode({"object": "list", "data": models})

    def open(self, request: Request) -> Open:
        """Enter a chat request into the books and choose its fault; 4xx for a bad request count as faults too."""
        asked: dict[str, Any] = {}
        with contextlib.suppress(msgspec.DecodeError):
            asked = msgspec.json.decode(request.body, type=dict[str, Any])
        model, messages = str(asked.get("model", "")), asked.get("messages")
        key = call_key(model, messages) if asked else ""
        attempt = self.attempts[key] = self.attempts.get(key, 0) + 1
        self.requests += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        call = Open(self.requests, key, model, attempt, asked, request.last, request.path == MESSAGES)
        self._enter("request", call)
        call.fault = self._fault(call, admitted=self.admits(request))
        return call

    def admits(self, request: Request) -> bool:
        """Whether a request has the key, in the header of either protocol."""
        key, headers = self.settings.api_key, request.headers
        given = (headers.get("authorization", ""), headers.get("x-api-key"))
        return not key or given[0] == f"Bearer {key}" or given[1] == key

    def _fault(self, call: Open, *, admitted: bool) -> str:
        has = self.settings
        if has.down:
            return "down"
        if not admitted:
            return "401"
        if has.models and call.model not in has.models:
            return "404"
        if complaint(call.asked, has.most_logprobs):
            return "400"
        if has.concurrency is not None and self.in_flight > has.concurrency:
            return "concurrency"
        if self.bucket and (wait := self.bucket.take()):
            call.wait = math.ceil(wait) if has.rate_retry_after else None
            return "rate"
        fault = choose(has.faults, chance(has.seed, "fault", call.key, call.attempt))
        call.wait = has.retry_after if fault == "429_retry_after" else None
        return fault

    def delay(self, call: Open) -> float:
        """Return the seconds until the answer; limits answer at once."""
        if call.fault in ("concurrency", "rate") or not (self.settings.latency or self.settings.jitter):
            return 0.0
        more = chance(self.settings.seed, "jitter", call.key, call.attempt)
        return self.settings.latency + self.settings.jitter * more

    def prepare(self, call: Open) -> tuple[int, bytes, dict[str, str]]:
        """Return the status, body and headers of a call's answer."""
        headers = {"x-request-id": f"req_{call.n}", **(self.bucket.headers() if self.bucket else {})}
        if call.wait is not None:
            headers["retry-after"] = f"{call.wait:g}"
        if call.fault in ERRORS:
            why = complaint(call.asked, self.settings.most_logprobs) if call.fault == "400" else ""
            return *(message_error if call.anthropic else error_body)(call.fault, why), headers
        has = self.settings
        reply = self.answer(call.asked, call.attempt)
        if call.fault in SPOILED:
            reply = spoil(reply, call.fault, has.labels)
        if call.anthropic:
            cached = self.cache.see(call.asked, marked=True)
            return 200, self._encoder.encode(as_message(reply, call.asked, call.n, *cached)), headers
        style = {"fingerprint": has.fingerprint, "no_logprobs": has.no_logprobs, "quirk": has.quirk}
        style |= {"cached": self.cache.see(call.asked)[0]}
        if "json_schema" in has.serves:
            reply = in_schema(reply, call.asked)
        body = completion(reply, call.asked, number=call.n, created=int(time.time()), **style)
        if "logprob_token_ids" in has.serves and call.asked.get("logprob_token_ids"):
            self.native.with_token_ids(body, call.asked)
        if "prompt_logprobs" in has.serves and call.asked.get("prompt_logprobs") is not None:
            self.native.with_prompt(body, call.asked)
        return 200, self._encoder.encode(body), headers

    def page(self, name: str, body: bytes) -> tuple[int, bytes]:
        """Answer what stands beside OpenAI's protocol, where it is served."""
        pages = {"tokenize": self.native.tokenize, "systemone": self.native.systemone}
        if name not in self.settings.serves:
            return error_body("404", f"There is no /{name}.")
        try:
            said = pages[name](msgspec.json.decode(body, type=dict[str, Any]))
        except (msgspec.DecodeError, KeyError) as error:
            return error_body("400", f"{error} is missing.")
        return 200, self._encoder.encode(said)

    def finish(self, call: Open, status: int = 0) -> None:
        """Enter what became of a call; status 0 says that its client left or was dropped."""
        self.in_flight -= 1
        usable = (
            status == 200
            and (call.fault in ("", "drip") or call.fault in SPOILED)
            and call.fault != "no_choices"
        )
        self.answered += usable
        if status:
            self.statuses[str(status)] += 1
        else:
            self.left += 1
        if call.fault:
            self.faults[call.fault] += 1
        self._enter("answer" if status else "left", call, status, usable)

    def _enter(
        self, event: Literal["request", "answer", "left"], call: Open, status: int = 0, usable: bool = False
    ) -> None:
        head = Entry(event, call.n, time.time(), call.key, call.model, call.attempt, self.in_flight)
        if event != "request":
            head.status, head.fault, head.usable, head.retry_after = status, call.fault, usable, call.wait
        self.ledger.append(head)
        self.note()

    def note(self) -> None:
        """See that what was entered is on disk before long."""
        if self._flush is None and self.ledger.path is not None:
            self._flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._write)

    def close(self) -> None:
        """Write the last entries and close the ledger."""
        if self._flush is not None:
            self._flush.cancel()
        self.ledger.close()

    def _write(self) -> None:
        self._flush = None
        self.ledger.flush()


def complaint(asked: dict[str, Any], most: int) -> str:
    """Say what is wrong with a chat request; empty if nothing is."""
    messages, top = asked.get("messages"), asked.get("top_logprobs")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return "messages must be a list of at least one message."
    if asked.get("stream"):
        return "stream is not supported."
    if top is not None and not asked.get("logprobs"):
        return "top_logprobs needs logprobs: true."
    if top is not None and not (isinstance(top, int) and 0 <= top <= most):
        return f"Requested sample logprobs of {top}, which is greater than max allowed: {most}."
    return ""
