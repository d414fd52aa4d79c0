"""Any OpenAI-compatible chat-completions endpoint, over plain HTTP: one call, one vote, but for samples."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from catena.confidence import Found, LabelScorer, Listed, Token
from catena.errors import ScoringError, TaskError
from catena.links.batch import half
from catena.links.client import Client, Reply, since
from catena.links.codes import Coder
from catena.links.identity import fingerprint
from catena.links.limits import rate
from catena.links.openai_batch import OpenAIBatches
from catena.links.openai_probe import OpenAIProbe, tokenizer_of
from catena.links.options import CallOptions, capabilities, read_options
from catena.links.price import FREE, Price, find_price
from catena.links.probe import Probe
from catena.links.providers import written_out
from catena.links.reading import abstained, answers_of, read_label
from catena.links.samples import Sampler
from catena.links.scoring import SOURCES, Scoring, ServerScorer
from catena.links.thinking import Read, Said, Thinker, in_two_turns, thoughts_of
from catena.links.verbalised import read_verbalised, verbalising
from catena.links.wire import Choice, Completion, bad_body, read_completion
from catena.task import LinkSpec, TaskSpec
from catena.types import Answer, Failure, Item, Rate, Usage, Vote, together

__all__ = ["OWNED", "OpenAILink", "Settings", "check_settings", "open_link"]

OWNED = ("model", "messages", "stream")
OPENAI = "https://api.openai.com/v1"
CHAT = "/chat/completions"
UNKNOWN = frozenset({404, 405, 501})
LISTEN_SECONDS = 0.05
UNLIMITED = 1 << 20  # tokens of an answer, where neither the task nor a price makes one mind


class Settings(CallOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `kind: openai`.

    Args:
        top_logprobs: Alternatives to ask for at each token, as many as the server allows; 0 to ask for none.
        codes: Whether labels are asked for as A, B, C ..., in another order for each item.
        scoring: Where labels' probabilities come from: the `answer`, or a server that scores labels itself (see
            `links.scoring`); `auto`: such a server where it is one, found out before the first row.
    """

    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=400)] = 20
    codes: bool = False
    scoring: Scoring = "answer"

    @property
    def listed(self) -> int:
        """How many alternatives are asked for."""
        return self.top_logprobs if self.scored else 0

    @property
    def by_server(self) -> bool:
        """Whether the server scores the labels itself."""
        return self.scoring in SOURCES

    @property
    def source(self) -> str:
        """What votes name as the source of their confidence."""
        if self.by_server:
            return SOURCES[self.scoring]
        return "none" if not self.listed else "code_logprobs" if self.codes else "label_logprobs"


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "OpenAILink":
    """Build the link; see `registry.open_link`."""
    settings = read_options(written_out(spec, where), Settings, OWNED, "http://localhost:8000/v1", where)
    check_settings(settings, task, where)
    return OpenAILink(spec.name, settings, task, where)


def check_settings(settings: Settings, task: TaskSpec, where: str) -> None:
    """Refuse settings that don't go together.

    Raises:
        TaskError: The line names the option.
    """
    if settings.confidence == "logprobs" and not settings.top_logprobs:
        raise TaskError(
            f"{where}: confidence: log-probabilities come from top_logprobs, which is 0.", "Leave it out."
        )
    if settings.codes and not settings.listed:
        raise TaskError(
            f"{where}: codes: they are read from log-probabilities, which are not asked for.", "Leave it out."
        )
    if settings.codes and task.abstain is not None:
        raise TaskError(f"{where}: codes: there is none for abstain.", "Leave out codes or abstain.")
    if settings.codes and settings.mode == "batch":
        raise TaskError(
            f"{where}: codes: a batch's answers don't tell the order that was asked in.",
            "Leave out codes or mode: batch.",
        )
    _check_scoring(settings, where)


def _check_scoring(settings: Settings, where: str) -> None:
    """Refuse what a server that scores labels itself leaves no room for.

    Raises:
        TaskError: Names it.
    """
    if settings.scoring == "answer":
        return
    others = {
        "codes": settings.codes,
        "think": settings.think is not None,
        "mode": settings.mode == "batch",
        "confidence": settings.confidence
        not in {None, "logprobs", "auto" if settings.scoring == "auto" else None},
    }
    for name, given in others.items():
        if given:
            raise TaskError(
                f"{where}: scoring: {settings.scoring} does not go with {name}: no answer is read.",
                f"Leave out scoring or {name}.",
            )


class OpenAILink:
    """One model behind one endpoint."""

    kind = "openai"

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.prompter = settings.prompter(task, where)
        self._coder = Coder(self.prompter, dict(task.labels), task.seed, where) if settings.codes else None
        self.render: Callable[[Item], str] = self._coder.render if self._coder else self.prompter
        if settings.verbalised:
            self.render = verbalising(self.render, answers_of(task), where)
        address, variable = self._place(settings)
        answers = answers_of(task)
        self._calls = len(answers) if settings.scoring == "likelihood" else settings.calls
        self.capabilities = capabilities(settings, address, variable, settings.source)
        if settings.scoring == "likelihood":
            self.capabilities = msgspec.structs.replace(self.capabilities, calls=self._calls)
        self._address = address
        shaping = ("model", "top_logprobs", "temperature", "max_tokens", "body")
        shaped = {key: getattr(settings, key) for key in shaping} | settings.ladder | settings.own(task)
        if settings.codes:
            shaped |= {"codes": True, "seed": task.seed}
        if settings.by_server:
            shaped["scoring"] = settings.scoring
        system = settings.system_of(task)
        self.fingerprint = fingerprint(name, self.kind, task, system=system, **shaped)
        self._settings = settings
        self._scorer, self._labels, self._abstain = LabelScorer(answers), len(task.labels), task.abstain
        price = self._listed_price(settings, where)
        self.price = self._price = half(price) if settings.mode == "batch" else price
        self._max_tokens = settings.enough(answers)
        self._system = [{"role": "system", "content": system}] if system else []
        self._fields = self._request_fields()
        self._always = len((system or "").encode()) + len(_encode(settings.body)) + 16  # bytes of each prompt
        self._client = self._caller(settings, where, variable)
        self.ready = self._client.ready
        self.close = self._client.close
        self.batches = (
            OpenAIBatches(self._client, address, settings, self.question, self.read)
            if settings.mode == "batch"
            else None
        )
        self._listen_at = 0.0
        self._think = settings.think
        once: Callable[[str], Awaitable[Answer]] = self._call
        if settings.think is not None:
            once = Thinker(settings.think, self._send, self.question, self._thoughts, self._reader).ask
        if settings.by_server:
            once = self._server_scorer(answers, task, where).ask
            self._always += max(len(answer.encode()) for answer in answers)  # a label may stand in the prompt
        sampler = Sampler(once, list(task.labels), settings.calls)
        self._ask = sampler.ask if settings.calls > 1 else once

    def _server_scorer(self, answers: Sequence[str], task: TaskSpec, where: str) -> ServerScorer:
        async def tokenize(text: str) -> list[tuple[int, str]] | None:
            return await tokenizer_of(self._client, self._address, self._settings.model, text)

        async def send(path: str, body: Mapping[str, Any], read: Callable[[bytes, float], Answer]) -> Answer:
            answer = await self._send(body, read, path)
            assert isinstance(answer, Answer)
            return answer

        way, described = self._settings.scoring, dict(task.labels)
        return ServerScorer(
            way, send, self.question, answers, described, task.abstain, tokenize, self._usage, where
        )

    async def probe(self, prompt: str) -> Probe:
        """Find out by a few calls what the server gives; see `links.probe`."""
        own = self._settings.base_url is None
        asks = OpenAIProbe(
            self._client, self._address, self.question, self._scorer.labels, self._price, own=own
        )
        return await asks.look(prompt)

    def _place(self, settings: Settings) -> tuple[str, str | None]:
        """Return the address to call, and the variable with its key."""
        return settings.place(OPENAI, "OPENAI_API_KEY")

    def _listed_price(self, settings: Settings, where: str) -> Price:
        """Return what tokens cost: what the task says, or the price list."""
        return find_price(settings.price, settings.model, settings.base_url, where)

    def _caller(self, settings: Settings, where: str, variable: str | None) -> Client:
        """Return what makes the calls."""
        carrier = settings.carrier(_headers)
        return Client(where, variable, carrier, settings, settings.timeout, settings.concurrency)

    def _request_fields(self) -> dict[str, Any]:
        settings = self._settings
        fields: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": self._max_tokens}
        if settings.listed:
            fields |= {"logprobs": True, "top_logprobs": settings.listed}
        fields |= settings.body
        return {"model": settings.model, **{key: value for key, value in fields.items() if value is not None}}

    def most(self, prompt: str) -> Usage | None:
        """Return what a vote uses if every byte of the prompt is a token and each answer takes all it may."""
        limits = [self._fields.get(name) for name in ("max_completion_tokens", "max_tokens")]
        most = max((limit for limit in limits if isinstance(limit, int)), default=None)
        if most is None and self._price != FREE:
            return None
        most = UNLIMITED if most is None else most
        said = len(prompt.encode(errors="replace")) + self._always
        turns = [(said, most * int(self._fields.get("n") or 1))]
        if self._think is not None:
            turns = in_two_turns(*turns[0], self._think if limits != [None, None] else UNLIMITED)
        return together([Usage(*turn, self._price.usd(*turn)) for turn in turns] * self._calls)

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Ask about one prompt; see `types.Link`."""
        return [await self._ask(prompt) for prompt in prompts]

    async def _call(self, prompt: str) -> Answer:
        answer = await self._send(self.question(prompt), self._reader(prompt))
        assert isinstance(answer, Answer)
        return answer

    async def _send(self, question: Mapping[str, Any], read: Read, path: str = CHAT) -> Said:
        start = time.perf_counter()
        reply = await self._client.post(f"{self._address}{path}", _encode(question))
        if isinstance(reply, Failure):
            return reply
        limits = self._limits(reply)
        if reply.status in UNKNOWN and path != CHAT:
            why = self._client.failure(reply).message.rstrip(".")
            raise ScoringError(
                f"link '{self.name}': scoring: the server has no {path} for this model: {why}.",
                "Leave out the link's scoring.",
            )
        if reply.status != 200:
            used = Usage(latency_ms=since(start))
            return msgspec.structs.replace(self._client.refused(reply), usage=used, rate=limits)
        said = read(reply.body, since(start))
        return said if limits is None else msgspec.structs.replace(said, rate=limits)

    def _reader(self, prompt: str) -> Callable[[bytes, float], Answer]:
        return lambda body, latency: self.read(body, latency, prompt)

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

    def read(self, body: bytes, latency: float = 0.0, prompt: str = "") -> Answer:
        """Return the vote or the failure that an answer's body is.

        Args:
            body: As the server sent it.
            latency: Milliseconds that it took.
            prompt: What was asked; only codes need it.
        """
        opened = _opened(body, latency)
        if isinstance(opened, Failure):
            return opened
        completion, choice, text = opened
        answer = choice.failure(text) or self._answer(choice, text, prompt)
        usage = self._usage(completion, latency)
        return msgspec.structs.replace(answer, text=text, usage=usage, model=completion.fingerprint)

    def _thoughts(self, body: bytes, latency: float) -> Said:
        opened = _opened(body, latency)
        if isinstance(opened, Failure):
            return opened
        completion, choice, text = opened
        usage = self._usage(completion, latency)
        if failure := choice.failure(text):
            return msgspec.structs.replace(failure, text=text, usage=usage, model=completion.fingerprint)
        return thoughts_of(text, usage)

    def _answer(self, choice: Choice, text: str, prompt: str) -> Answer:
        cut = choice.cut
        if self._coder:
            return self._coder.read(prompt, text, _tokens(choice), cut=cut)
        if self._settings.verbalised:
            return read_verbalised(self._scorer, text, cut=cut, abstain=self._abstain)
        found = read_label(self._scorer, text, cut=cut, abstain=self._abstain)
        return self._vote(choice, text, found) if isinstance(found, Found) else found

    def _vote(self, choice: Choice, text: str, found: Found) -> Answer:
        scores = self._scorer.score_answer(_tokens(choice), text, found.start)
        if scores is None:
            return Vote(found.label)
        label = self._scorer.labels[scores.best]
        if label == self._abstain:  # likelier than what the text begins with
            return abstained(label)
        lower, upper = scores.lower[: self._labels], scores.upper[: self._labels]
        logprobs = scores.logprobs[: self._labels]
        return Vote(label, scores.least, "label_logprobs", logprobs, lower=lower, upper=upper)

    def _usage(self, completion: Completion, latency: float) -> Usage:
        prompt, answer = completion.usage.prompt_tokens or 0, completion.usage.answer
        return Usage(prompt, answer, self._price.usd(prompt, answer, completion.usage.cached), latency)


def _opened(body: bytes, latency: float) -> tuple[Completion, Choice, str] | Failure:
    """Return an answer's body, its choice and what that says."""
    try:
        completion = read_completion(body)
        choice = completion.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError) as error:
        return bad_body(error, body, latency)
    return completion, choice, choice.message.text


def _tokens(choice: Choice) -> list[Token]:
    return [
        Token(t.token, t.raw, t.logprob, [Listed(a.token, a.raw, a.logprob) for a in t.top_logprobs or ()])
        for t in choice.tokens()
    ]


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


_encode = msgspec.json.Encoder().encode
