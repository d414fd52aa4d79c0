"""Which answers a batch's results hold, whatever their order: by custom_id only, each once, all accounted for."""

from collections import Counter
from collections.abc import Collection

from catena.links.batch import Result, key_of
from catena.types import NOTHING_USED, Answer, Failure, Usage, together

__all__ = ["Harvest"]

NOT_DONE = {
    "expired": Failure("timeout", "its batch expired before it was worked on", retryable=True),
    "cancelled": Failure("server", "its batch was cancelled before it was worked on", retryable=True),
    "missing": Failure("server", "the results of its batch lack it", retryable=True),
    "lost": Failure("server", "the provider no longer has its batch", retryable=True),
}


class Harvest:
    """One reading of a batch's results.

    Args:
        shard: The batch's shard.
        keys: All questions in it.

    Attributes:
        counts: `answered`, `errored`, `expired`, `cancelled`, `missing`, `lost`: each question is in one of them after
            `end`; `duplicate`: further results of a question; `unknown`: results of no question of the batch.
        unfinished: Questions without a final answer, and why.
        used: What the answers used.
        lost: Why results are gone at the provider; empty where they are not.
    """

    def __init__(self, shard: str, keys: Collection[bytes]) -> None:
        self.counts = Counter[str]()
        self.unfinished: dict[bytes, Failure] = {}
        self.used: Usage = NOTHING_USED
        self.lost = ""
        self._shard = shard
        self._keys = keys
        self._outcomes: dict[bytes, str] = {}

    def take(self, result: Result) -> tuple[bytes, Answer] | None:
        """Take a result in; return the key and its answer where it is a final one and the first of its question."""
        key = key_of(self._shard, result.custom_id)
        if key is None or key not in self._keys:
            self.counts["unknown"] += 1
            return None
        answer = result.answer
        final = answer is not None and not (isinstance(answer, Failure) and answer.retryable)
        before = self._outcomes.get(key)
        if before is not None:
            self.counts["duplicate"] += 1
            if not final or key not in self.unfinished:
                return None
        unreadable = result.outcome == "answered" and not final
        self._outcomes[key] = "errored" if unreadable else result.outcome
        if answer is not None:
            self.used = together([self.used, answer.usage])
        if answer is None or not final:
            self.unfinished[key] = (
                answer if isinstance(answer, Failure) else NOT_DONE.get(result.outcome, NOT_DONE["missing"])
            )
            return None
        self.unfinished.pop(key, None)
        return key, answer

    def end(self, rest: str = "missing") -> None:
        """Account for the questions that no result was about: `missing`, `expired`, `cancelled` or `lost`."""
        for key in self._keys:
            if key not in self._outcomes:
                self._outcomes[key] = rest
                self.unfinished[key] = NOT_DONE[rest]
        self.counts.update(self._outcomes.values())

    def said(self) -> str:
        """Return the counts for a person; empty where every question has its answer and there is nothing else."""
        if set(+self.counts) <= {"answered"}:
            return ""
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()) if count)
