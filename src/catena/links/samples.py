"""Self-consistency: a link asks the same question several times, and how often a label is named is its confidence."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from catena.confidence.shares import score_shares
from catena.errors import LinkError
from catena.types import Answer, Failure, Usage, Vote, together

__all__ = ["Sampler", "decide"]

MOST_PASSING = 3
"""How many calls about a prompt may fail in passing before what came has to do, if it is half of what was wanted."""
MOST_HELD = 4096
"""Prompts whose samples are held between two tries."""


@dataclass
class Tried:
    """What came of the tries so far.

    Args:
        said: Answers that asking again would not change: votes, and failures such as a refusal.
        passing: How many calls failed for a reason that may pass.
    """

    said: list[Answer] = field(default_factory=list)
    passing: int = 0

    def enough(self, count: int) -> bool:
        """Whether at least half of the samples have a label."""
        return 2 * sum(isinstance(answer, Vote) for answer in self.said) >= count

    def hopeless(self, count: int) -> bool:
        """Whether half of the samples can no longer have a label."""
        return 2 * sum(isinstance(answer, Failure) for answer in self.said) > count


class Sampler:
    """Asks `count` times, one call after the other.

    A call that fails in passing ends the try with that failure, and what came is held: the next try goes on there, so
    that no sample is bought twice. After the third such failure the next try decides from what came without a call, if
    at least half of the samples came. No call is made once half of them can't have a label any more.

    Args:
        call: Makes one call about a prompt; each of its votes is a sample.
        labels: The task's labels.
        count: How many samples.
    """

    def __init__(self, call: Callable[[str], Awaitable[Answer]], labels: Sequence[str], count: int) -> None:
        self._call = call
        self._labels = labels
        self._count = count
        self._held: dict[str, Tried] = {}

    async def ask(self, prompt: str) -> Answer:
        """Return the vote of the samples or the failure that says why there is none, with what this try used."""
        tried = self._held.pop(prompt, None) or Tried()
        used: list[Usage] = []
        while not self._over(tried):
            try:
                answer = await self._call(prompt)
            except LinkError as error:
                if not used:
                    raise
                # What the try has paid for is told first; the next one meets the error with nothing paid.
                answer = Failure("server", " ".join(str(error).split()), retryable=True, usage=Usage(calls=0))
            used.append(answer.usage)
            if isinstance(answer, Failure) and answer.retryable:
                tried.passing += 1
                self._hold(prompt, tried)
                return msgspec.structs.replace(answer, usage=together(used))
            tried.said.append(answer)
        return msgspec.structs.replace(decide(tried.said, self._labels, self._count), usage=together(used))

    def _over(self, tried: Tried) -> bool:
        given_up = tried.passing >= MOST_PASSING and tried.enough(self._count)
        return given_up or len(tried.said) >= self._count or tried.hopeless(self._count)

    def _hold(self, prompt: str, tried: Tried) -> None:
        self._held[prompt] = tried
        if len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]


def decide(said: Sequence[Answer], labels: Sequence[str], count: int) -> Answer:
    """Return the vote for the label named most often, if at least half of the samples name one.

    Args:
        said: The samples in their order; at least one.
        labels: The task's labels.
        count: How many samples were wanted.

    Returns:
        A vote whose log-probabilities are those of the smoothed shares, or else the failure that is most frequent among
        the samples. Neither has a usage.
    """
    votes = [answer for answer in said if isinstance(answer, Vote)]
    text = "\n".join(answer.text for answer in said)
    model = ", ".join(dict.fromkeys(answer.model for answer in said if answer.model))
    rate = next((answer.rate for answer in reversed(said) if answer.rate), None)
    if 2 * len(votes) < count:
        failures = [answer for answer in said if isinstance(answer, Failure)]
        reason = Counter(failure.reason for failure in failures).most_common(1)[0][0]
        first = next(failure for failure in failures if failure.reason == reason)
        message = f"{len(votes)} of {count} samples named a label; another {first.message}"
        return Failure(reason, message, text=text, model=model, rate=rate)
    shares = score_shares([labels.index(vote.label) for vote in votes], len(labels))
    label = labels[shares.best]
    return Vote(label, shares.margin, "samples", shares.logprobs, text, model=model, rate=rate)
