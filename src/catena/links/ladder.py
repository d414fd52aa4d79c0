"""The ladder: the ways in which a link may come to a confidence, best first, and which of them its server allows.

Full-label log-probabilities; those of one-token codes, where the labels' own tokens leave open which label is best; how often
each of several answers names a label; a probability that the model names. Every rung is tried as it would be used. Where the
task says `scoring: auto`, a server's own scores of the labels come before all of these: of their first tokens by one call, of
whole labels by one call each. `/v1/systemone` puts another question, so it is taken only where the task says so.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from catena.errors import LinkError, ScoringError, TaskError
from catena.links.registry import open_link
from catena.task import LinkSpec, TaskSpec
from catena.types import Answer, Failure, Link, Vote

__all__ = ["AUTO", "Climb", "Tried", "climb", "has_rungs", "is_open", "with_options"]

AUTO = "auto"
FEWER = 5
"""Alternatives that servers allow which refuse the usual number of them."""


class Rung(msgspec.Struct, frozen=True):
    """One way to a confidence.

    Args:
        source: What votes name as the source of their confidence.
        options: What a link's entry in the task says for it.
        trial: What its entry says while it is tried, besides.
    """

    source: str
    options: Mapping[str, Any]
    trial: Mapping[str, Any] = {}


FIRST_TOKEN = Rung("first_token_logprobs", {"scoring": "first-token"})
LIKELIHOOD = Rung("label_likelihood", {"scoring": "likelihood"})
ANSWER: Mapping[str, Any] = {"scoring": "answer"}
LABELS = Rung("label_logprobs", {"confidence": "logprobs"})
LABELS_OF_FEWER = Rung("label_logprobs", {"confidence": "logprobs", "top_logprobs": FEWER})
CODES = Rung("code_logprobs", {"confidence": "logprobs", "codes": True})
SAMPLES = Rung("samples", {"confidence": "samples"}, {"samples": 2})
VERBALISED = Rung("verbalised", {"confidence": "verbalised"})

Outcome = Literal["gives", "leaves_open", "gives_none", "refused", "no_label"]


class Tried(msgspec.Struct, frozen=True):
    """What came of a rung.

    Args:
        options: Of the rung.
        outcome: `gives`: most votes have a confidence; `leaves_open`: they have one, and mostly it is 0, because the
            bounds leave open which label is best; `gives_none`; `refused`; `no_label`: no answer is a vote.
        said: What came, for a person.
    """

    options: Mapping[str, Any]
    outcome: Outcome
    said: str


class Climb(msgspec.Struct, frozen=True):
    """Which rung a link stands on.

    Args:
        options: Stand in the place of the link's `confidence`, and go with it.
        source: What votes name as the source of their confidence.
        why: One line for a person.
        tried: Every rung that was tried, in order.
    """

    options: Mapping[str, Any]
    source: str
    why: str
    tried: Sequence[Tried]


Ask = Callable[[Link], Awaitable[Sequence[Answer]]]


def is_open(spec: LinkSpec) -> bool:
    """Whether a link's entry leaves its confidence to be found out."""
    return AUTO in {spec.options.get("confidence"), spec.options.get("scoring")}


def with_options(spec: LinkSpec, options: Mapping[str, Any]) -> LinkSpec:
    """Return a link's entry with these options, without those that go with another confidence."""
    goes_with = {"samples": "samples", "codes": "logprobs"}
    kept = {
        key: value
        for key, value in spec.options.items()
        if key not in goes_with or options.get("confidence") == goes_with[key]
    }
    return LinkSpec(spec.name, spec.kind, {**kept, **options})


def has_rungs(spec: LinkSpec, task: TaskSpec) -> bool:
    """Whether a link's kind leaves a choice of where its confidence comes from."""
    return any(_opened(spec, task, rung) for rung in (LABELS, SAMPLES, VERBALISED))


async def climb(spec: LinkSpec, task: TaskSpec, ask: Ask) -> Climb:
    """Return the best rung whose votes have a confidence.

    Args:
        spec: The link's entry in the task, whatever it says of its confidence.
        task: The task.
        ask: Asks a link about a few items and closes it.

    Raises:
        LinkError: The link is unusable, or has no rung.
    """
    if spec.options.get("scoring") != AUTO:
        return await _climb(spec, task, ask)
    found, tried = await _by_server(spec, task, ask)
    if found:
        return found
    plain, open_ = with_options(spec, ANSWER), spec.options.get("confidence") == AUTO
    if not open_:
        source = open_link(plain, task).capabilities.confidence
        return Climb(ANSWER, source, "its server does not score labels itself", tried)
    found = await _climb(plain, task, ask)
    return Climb({**ANSWER, **found.options}, found.source, found.why, [*tried, *found.tried])


async def _by_server(spec: LinkSpec, task: TaskSpec, ask: Ask) -> tuple[Climb | None, list[Tried]]:
    """Return the first way in which a link's server scores the labels itself, if any, and what was tried."""
    tried: list[Tried] = []
    more = {"confidence": "logprobs"} if spec.options.get("confidence") == AUTO else {}
    for rung in (FIRST_TOKEN, LIKELIHOOD):
        options = {**rung.options, **more}
        try:
            link = open_link(with_options(spec, options), task)
            each = _outcome(Rung(rung.source, options), await ask(link))
        except ScoringError as error:
            each = Tried(options, "refused", error.message.split("scoring: ", 1)[-1].rstrip("."))
        tried.append(each)
        if each.outcome == "gives":
            return Climb(options, rung.source, "its server scores labels itself", tried), tried
    return None, tried


async def _climb(spec: LinkSpec, task: TaskSpec, ask: Ask) -> Climb:
    """Return the best rung of those that read answers."""
    tried: list[Tried] = []
    for rung in (LABELS, LABELS_OF_FEWER, CODES, SAMPLES, VERBALISED):
        if not _is_next(rung, tried, spec):
            continue
        link = _opened(spec, task, rung)
        if link is not None:
            tried.append(_outcome(rung, await ask(link)))
            if tried[-1].outcome == "gives":
                return Climb(rung.options, link.capabilities.confidence, _why(tried), tried)
        if rung is CODES and any(each.outcome == "leaves_open" for each in tried):
            at = next(each for each in tried if each.outcome == "leaves_open")
            return Climb(at.options, LABELS.source, "its server gives log-probabilities", tried)
    said = tried[-1].said if tried else "its kind has none"
    raise LinkError(
        f"link '{spec.name}': no way to a confidence was found: {said}.",
        "Write the link's confidence: logprobs, samples or verbalised.",
    )


def _is_next(rung: Rung, tried: Sequence[Tried], spec: LinkSpec) -> bool:
    """Whether a rung is worth a try after what came of those before it."""
    last = tried[-1].outcome if tried else ""
    if rung is LABELS_OF_FEWER:
        return last == "refused" and "top_logprobs" not in spec.options
    if rung is CODES:
        return last == "leaves_open" and not spec.options.get("codes")
    return True


def _opened(spec: LinkSpec, task: TaskSpec, rung: Rung) -> Link | None:
    """Return the link on a rung, to be asked call by call; None where it can't stand there."""
    try:
        open_link(with_options(spec, rung.options), task)
    except TaskError:
        return None
    trial = {**rung.options, **rung.trial}
    if spec.options.get("mode") == "batch":
        trial["mode"] = "call"
    return open_link(with_options(spec, trial), task)


def _outcome(rung: Rung, answers: Sequence[Answer]) -> Tried:
    votes = [answer for answer in answers if isinstance(answer, Vote)]
    sure = [vote.confidence for vote in votes if vote.confidence is not None]
    if not votes:
        failures = [answer for answer in answers if isinstance(answer, Failure)]
        refused = [each.message for each in failures if each.reason == "bad_request"]
        said = refused or [each.message for each in failures] or ["nothing could be asked"]
        return Tried(rung.options, "refused" if refused else "no_label", said[0].rstrip("."))
    if 2 * len(sure) < len(votes):
        return Tried(rung.options, "gives_none", _lacks(rung))
    of_labels = all(vote.source in {LABELS.source, FIRST_TOKEN.source} for vote in votes)
    if of_labels and 2 * sum(each == 0.0 for each in sure) > len(sure):
        return Tried(rung.options, "leaves_open", "its labels' tokens leave open which label is best")
    return Tried(rung.options, "gives", f"{len(sure)} of {len(votes)} votes have a confidence")


def _lacks(rung: Rung) -> str:
    if "scoring" in rung.options:
        return "its server does not score the labels"
    if rung.source in {LABELS.source, CODES.source}:
        return "its server answers without log-probabilities"
    return f"its answers to confidence: {rung.options['confidence']} have none"


def _why(tried: Sequence[Tried]) -> str:
    """Say why the last rung that was tried is the best one."""
    if len(tried) == 1:
        first = tried[0].options["confidence"]
        return (
            "its server gives log-probabilities"
            if first == "logprobs"
            else "its kind of link gives no log-probabilities"
        )
    before = tried[-2] if tried[-1].options["confidence"] == "logprobs" else tried[0]
    return f"its server refuses: {before.said}" if before.outcome == "refused" else before.said
