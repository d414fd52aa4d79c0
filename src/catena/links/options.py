"""What any link that calls a provider can be told, and what that makes of it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from catena.errors import TaskError
from catena.links.address import check_address
from catena.links.batch import BatchOptions
from catena.links.price import Price
from catena.links.thinking import FIRST, THEN
from catena.links.verbalised import ROOM
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Capabilities

__all__ = ["CallOptions", "capabilities", "read_options"]

T = TypeVar("T", bound="CallOptions")

SAMPLES = 5


class CallOptions(BatchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options that all of them have; those of batches are in `BatchOptions`, of the address in `AddressOptions`.

    Args:
        model: As the server calls it.
        concurrency: Most calls at a time, and how many it begins with; found out by itself unless said.
        requests_per_minute: Most calls a minute; links of one address and key share it.
        tokens_per_minute: Most tokens a minute, in the same way.
        most_failed: The share of its last 50 calls whose failure stops the run.
        timeout: Seconds for one call, from connecting to the last byte.
        price: USD per million tokens, or `free`; from the price list unless said. A batch costs half of it.
        temperature: As the API has it; 0 unless said, 1 with samples.
        max_tokens: Most tokens of an answer; enough for the longest label unless said.
        body: More fields for the request; null takes one out.
        instruction: In the place of the task's, for this link alone.
        prompt: Likewise.
        system: Likewise; empty for none.
        think: Most tokens of thoughts, where the model shall think in a first turn and answer in a second one.
        confidence: Where it comes from: `logprobs` of the answer, how often of several `samples` the label is named, or
            `verbalised` by the model beside its label; `auto`: the best of these that its server allows, found out before
            the first row. Log-probabilities, where the provider gives them, unless said.
        samples: How many, with `confidence: samples`; 5 unless said.
        calibrate: Of how many of the first rows the mean label distribution is what every distribution is divided by; the
            votes stay as they are (see `confidence.block`).
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    requests_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    tokens_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    most_failed: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    price: Price | Literal["free"] | None = None
    temperature: float | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    instruction: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    prompt: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    system: str | None = None
    think: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    confidence: Literal["logprobs", "samples", "verbalised", "auto"] | None = None
    samples: Annotated[int, msgspec.Meta(ge=2, le=100)] | None = None
    calibrate: Annotated[int, msgspec.Meta(ge=10, le=100_000)] | None = None

    def prompter(self, task: TaskSpec, where: str) -> Prompter:
        """Return what renders the link's questions."""
        return Prompter(task, where, self.instruction, self.prompt)

    def system_of(self, task: TaskSpec) -> str | None:
        """Return the system message, where there is one."""
        return task.system if self.system is None else self.system

    def own(self, task: TaskSpec) -> dict[str, Any]:
        """Return what else shapes the link's votes, for its fingerprint: its own words, turns, and what may be answered."""
        given = {
            "instruction": self.instruction,
            "prompt": self.prompt,
            "abstain": task.abstain,
            "think": None if self.think is None else [self.think, FIRST, THEN],
        }
        return {key: value for key, value in given.items() if value is not None}

    @property
    def calls(self) -> int:
        """How many calls a vote takes, each of two turns where the model thinks first."""
        return (self.samples or SAMPLES) if self.confidence == "samples" else 1

    @property
    def scored(self) -> bool:
        """Whether the answer's own tokens tell the confidence; what `auto` begins with."""
        return self.confidence in {None, "logprobs", "auto"}

    @property
    def verbalised(self) -> bool:
        """Whether the model names a probability beside its label."""
        return self.confidence == "verbalised"

    def enough(self, labels: Sequence[str]) -> int:
        """Return how many tokens an answer may take: enough for the longest label unless the task says how many."""
        room = ROOM if self.verbalised else 0
        return self.max_tokens or max(len(label.encode()) for label in labels) + 8 + room

    @property
    def ladder(self) -> dict[str, Any]:
        """The settings of the confidence that shape votes, for the fingerprint."""
        if self.scored:
            return {}
        return {"confidence": self.confidence} | ({"samples": self.calls} if self.calls > 1 else {})

    def place(self, own: str, variable: str) -> tuple[str, str | None]:
        """Return the address to call, and the variable with its key: the usual one goes to the provider's own only."""
        return (self.base_url or own).rstrip("/"), self.api_key_env or (None if self.base_url else variable)


def read_options(spec: LinkSpec, to: type[T], owned: Sequence[str], example: str, where: str) -> T:
    """Return a link's options.

    Args:
        spec: Its entry in the chain.
        to: What options its kind has.
        owned: Fields of the request that the link sets itself.
        example: An address, for messages.
        where: Begins every message.

    Raises:
        TaskError: An option is wrong; the line names it.
    """
    options = convert(dict(spec.options), to, where)
    for field in owned:
        if field in options.body:
            raise TaskError(
                f"{where}: body: {field} can't be set there.", f"Links set {', '.join(owned)} themselves."
            )
    check_address(options, example, where)
    if options.think is not None and options.mode == "batch":
        raise TaskError(
            f"{where}: think: a batch asks each question once, and thoughts need a second turn.",
            "Leave out mode: batch or think.",
        )
    if options.calibrate is not None and options.verbalised:
        raise TaskError(
            f"{where}: calibrate: a verbalised probability is of one label, and all are needed.",
            "Leave out calibrate, or take another confidence.",
        )
    _check_samples(options, where)
    if options.temperature is None:
        warm = 1.0 if options.confidence == "samples" else 0.0
        options = msgspec.structs.replace(options, temperature=warm)
    return options


def _check_samples(options: CallOptions, where: str) -> None:
    """Refuse what would make samples no samples.

    Raises:
        TaskError: They would be all alike, or there would be none.
    """
    if options.confidence != "samples":
        if options.samples is not None and options.confidence != "auto":
            raise TaskError(f"{where}: samples: nothing is sampled.", "Write confidence: samples beside it.")
        return
    if options.body.get("temperature", options.temperature) == 0:
        raise TaskError(
            f"{where}: temperature: at 0 all samples are alike.", "Leave it out, or write one above 0."
        )
    for field in ("seed", "n"):
        if options.body.get(field) is not None:
            raise TaskError(
                f"{where}: body: {field} does not go with confidence: samples.",
                "Each sample is a call of its own, drawn anew.",
            )
    if options.mode == "batch":
        raise TaskError(
            f"{where}: mode: a batch asks each question once, so there are no samples.",
            "Leave out mode: batch or confidence: samples.",
        )


def capabilities(options: CallOptions, address: str, variable: str | None, confidence: str) -> Capabilities:
    """Return what a link with these options can do: links of one address and key are limited together.

    Args:
        options: The link's.
        address: Where it calls.
        variable: The environment variable with its key.
        confidence: The source of the confidence of a single call.
    """
    turns = 1 if options.think is None else 2
    return Capabilities(
        confidence=confidence if options.scored else options.confidence or "none",
        calls=turns * options.calls,
        turns=turns,
        concurrency=options.concurrency,
        model=options.model,
        endpoint=f"{address} with {variable}" if variable else address,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        most_failed=options.most_failed,
    )
