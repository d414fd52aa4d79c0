"""The likelihood of labels as a server tells it: of every token of a prompt that ends with a label, and of what follows."""

from collections.abc import Mapping, Sequence
from math import exp, log

import msgspec

from catena.confidence.path import FLOOR
from catena.links.wire import Choice, Completion
from catena.types import Vote

__all__ = ["LIKELIHOOD", "Likely", "Scored", "label_logprob", "vote_of"]

LIKELIHOOD = "label_likelihood"
LEAST = -1e4  # a log-probability below this says no more


class Likely(Completion, gc=False):
    """An answer with the log-probabilities of its prompt's tokens: of each, by its number."""

    prompt_logprobs: list[dict[str, "Known"] | None] | None = None


class Known(msgspec.Struct, gc=False):
    """A token of a prompt, or one that might have stood there."""

    logprob: float
    decoded_token: str | None = None


class Scored(msgspec.Struct, frozen=True):
    """The log-probability of a label's own tokens, and what followed them."""

    before: float
    behind: Choice


def label_logprob(tokens: Sequence[Mapping[str, Known] | None], label: str) -> float | None:
    """Return the log-probability of a label at the end of a prompt; None where that does not end with it.

    Args:
        tokens: Of each token of the prompt, the log-probability of it and of others in its place.
        label: What the prompt ends with.
    """
    rest, total = label, 0.0
    for known in reversed(tokens):
        if not known:
            return None
        own = next((each for each in known.values() if _ends(rest, each.decoded_token)), None)
        if own is None or own.decoded_token is None:
            return None
        rest, total = rest[: -len(own.decoded_token)], total + min(own.logprob, 0.0)
        if not rest:
            return total
    return None


def _ends(text: str, token: str | None) -> bool:
    return bool(token) and text.endswith(token or "")


def vote_of(labels: Sequence[str], found: Sequence[Scored]) -> Vote:
    """Return the vote of the likeliest label, each with its end.

    An end is what followed a label where the model stopped; for the others its probability is looked up behind them. Where
    it isn't listed it is at most the least that is. Where the model stops behind no label, ends are not told apart.
    """
    ends = {
        scored.behind.tokens()[0].token
        for scored in found
        if scored.behind.finish_reason == "stop" and scored.behind.tokens()
    }
    spans = [_ended(scored.behind, ends) for scored in found]
    lower = tuple(exp(scored.before) * low for scored, (low, _) in zip(found, spans, strict=True))
    upper = tuple(exp(scored.before) * high for scored, (_, high) in zip(found, spans, strict=True))
    best = max(range(len(labels)), key=upper.__getitem__)
    logprobs = tuple(
        max(scored.before + log(high), LEAST) if high else None
        for scored, (_, high) in zip(found, spans, strict=True)
    )
    rival = max(each for at, each in enumerate(upper) if at != best)
    least = log(max(lower[best], FLOOR)) - log(max(rival, FLOOR))
    return Vote(labels[best], max(least, 0.0), LIKELIHOOD, logprobs, lower=lower, upper=upper)


def _ended(behind: Choice, ends: set[str]) -> tuple[float, float]:
    """Return the least and the most probability of an end behind a label."""
    tokens = behind.tokens()
    if not ends or not tokens:
        return 0.0, 1.0
    listed = {each.token: each.logprob for each in tokens[0].top_logprobs or ()}
    listed[tokens[0].token] = tokens[0].logprob
    told = [exp(min(logprob, 0.0)) for token, logprob in listed.items() if token in ends]
    if told:
        return min(sum(told), 1.0), min(sum(told), 1.0)
    return 0.0, exp(min(min(listed.values(), default=0.0), 0.0))
