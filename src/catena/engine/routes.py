"""A policy at work: at each link, from the votes as they come to the rows that go on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Judge, Votes
from catena.errors import TaskError
from catena.links.batch import batching_of
from catena.routing import ShareStream, Standing, ThresholdStream, exact_shares, quotas, standing
from catena.routing.spend import spending
from catena.routing.standing import SURE
from catena.types import Link

__all__ = ["KeepAll", "Route", "Said", "Spending", "Stream", "check_links", "keeps_boards", "open_routes"]


class Said(NamedTuple):
    """What a link said about an item, as far as it matters for where the item goes.

    Args:
        label: Label index, -1 for none.
        confidence: None or NaN where there is none.
        logprobs: Natural-log probabilities of all labels; None where they are unknown.
        usd: What it cost.
    """

    label: int
    confidence: float | None = None
    logprobs: Sequence[float | None] | None = None
    usd: float = 0.0


class Stream(Protocol):
    """The streaming form of a policy at one link."""

    def offer(self, row: int, standing: Standing) -> int | None:
        """Take one item in; return a row that is surely forwarded, if there is one now."""
        ...


class Route(Protocol):
    """What decides at one link."""

    def take(self, row: int, said: Said) -> int | None:
        """Take a vote in; return a row that is surely forwarded, if there is one now."""
        ...


def check_links(judge: Judge, links: Sequence[Link]) -> None:
    """See that the links can be asked as the policy asks.

    Raises:
        TaskError: A link collects questions into batches, and the policy waits for answers before it asks the next ones.
    """
    if judge.policy.spend is None:
        return
    for link in links[1:]:
        if batching_of(link):
            raise TaskError(
                f"link '{link.name}': mode: batch can't be steered by policy.spend, which waits for each step's costs.",
                "Leave out mode: batch, or policy.spend: then counts follow the shares.",
            )


def keeps_boards(judge: Judge) -> bool:
    """Whether a policy needs no more of a vote than its label and confidence."""
    reads = judge.policy.rank_by == "calibrated" and judge.rule and any(map(judge.rule.reads, judge.chain))
    return judge.policy.spend is None and not reads


def open_routes(judge: Judge, tie: NDArray[np.uint64]) -> "tuple[list[Route], Spending | None]":
    """Return what decides at each link, and what steers all of them where the policy steers by costs.

    Args:
        judge: The policy.
        tie: Settles ties, uint64 [n].
    """
    links = range(len(judge.chain))
    if judge.policy.by_own_confidence:
        return [_Own(_stream(judge, at, len(tie)), tie, judge.weak[at]) for at in links], None
    memory = _Memory(judge, len(tie))
    if judge.policy.spend is not None:
        steering = Spending(memory, tie)
        return [_Steered(memory, steering, at) for at in links], steering
    return [_Remembering(memory, _stream(judge, at, len(tie)), tie, at) for at in links], None


def _stream(judge: Judge, at: int, items: int) -> Stream:
    """Return the streaming form of a policy at a link; the last one keeps all."""
    policy, links = judge.policy, len(judge.chain)
    if policy.rule == "share":
        receives, keeps = quotas(items, exact_shares(policy.share, links))[at]
        return ShareStream(keeps, receives)
    if at == links - 1:
        return ShareStream(items, items)
    return ThresholdStream(policy.threshold[at] if policy.threshold else policy.agree or 0)


class KeepAll:
    """Forwards nothing: each link is asked for itself."""

    def take(self, row: int, said: Said) -> None:
        """See `Route`."""


class _Own:
    """Ranks by the link's own confidence: no vote is remembered."""

    def __init__(self, stream: Stream, tie: NDArray[np.uint64], weak: frozenset[int]) -> None:
        self._stream, self._tie, self._weak = stream, tie, weak

    def take(self, row: int, said: Said) -> int | None:
        weak = said.label in self._weak
        stands = standing(
            voted=said.label >= 0, confidence=said.confidence, tie=int(self._tie[row]), weak=weak
        )
        return self._stream.offer(row, stands)


class _Memory:
    """The votes so far, in as little room as the judge can do with."""

    def __init__(self, judge: Judge, items: int) -> None:
        links = len(judge.chain)
        labels = len(judge.rule.log_prior) if judge.rule else 0
        self.judge = judge
        words = [
            np.full((items, labels), np.nan, np.float32) if judge.rule and judge.rule.reads(name) else None
            for name in judge.chain
        ]
        costs = np.zeros((links, items)) if judge.policy.spend is not None else None
        sure = np.full((links, items), np.nan)
        self.votes = Votes(np.full((links, items), -1, np.int16), sure, words, costs)

    def keep(self, at: int, row: int, said: Said) -> None:
        """Remember a vote."""
        votes = self.votes
        votes.label[at, row] = said.label
        votes.confidence[at, row] = np.nan if said.confidence is None else said.confidence
        words = votes.logprobs[at]
        if words is not None and said.logprobs is not None and said.label >= 0:
            words[row] = [np.nan if value is None else value for value in said.logprobs]
        if votes.cost_usd is not None:
            votes.cost_usd[at, row] = said.usd


class _Remembering:
    """Ranks by all votes so far."""

    def __init__(self, memory: _Memory, stream: Stream, tie: NDArray[np.uint64], at: int) -> None:
        self._memory, self._stream, self._tie, self._at = memory, stream, tie, at
        self._last = at == len(memory.judge.chain) - 1

    def take(self, row: int, said: Said) -> int | None:
        if self._last:
            return None
        self._memory.keep(self._at, row, said)
        kind, value = self._memory.judge(self._memory.votes.so_far(self._at + 1, slice(row, row + 1)))
        return self._stream.offer(row, (int(kind[0]), float(value[0]), int(self._tie[row])))


class _Steered:
    """Remembers votes; which rows go on is decided elsewhere."""

    def __init__(self, memory: _Memory, steering: "Spending", at: int) -> None:
        self._memory, self._steering, self._at = memory, steering, at

    def take(self, row: int, said: Said) -> None:
        self._memory.keep(self._at, row, said)
        self._steering.arrived(self._at, row)


class Spending:
    """Steers by costs: asks for votes step by step, each step when all votes of the step before are in.

    `begin` it with what forwards a row to a link; it calls `ended` when no row will be forwarded any more.
    """

    def __init__(self, memory: _Memory, tie: NDArray[np.uint64]) -> None:
        judge = memory.judge
        if judge.policy.spend is None:
            raise ValueError("a policy that steers by costs needs a cap")
        shares = exact_shares(judge.policy.share, len(judge.chain))
        self._memory = memory
        self._steps = spending(judge.policy.spend, judge.chain, shares, tie)
        self._first = np.zeros(len(tie), bool)
        self._awaited = np.zeros(len(tie), bool)
        self._link, self._rows, self._lacking = 0, np.zeros(0, np.int64), 0
        self._forward: Callable[[int, int], None] | None = None
        self._ended: Callable[[], None] | None = None

    def begin(self, forward: Callable[[int, int], None], ended: Callable[[], None]) -> None:
        """Ask for the first votes.

        Args:
            forward: Takes a link and a row that goes from there to the next one.
            ended: Called at the end.
        """
        self._forward, self._ended = forward, ended
        self._ask(first=True)

    def arrived(self, at: int, row: int) -> None:
        """Learn that a link's vote on a row is remembered."""
        if not at:
            self._first[row] = True
        if at == self._link and self._awaited[row]:
            self._awaited[row] = False
            self._lacking -= 1
            if not self._lacking:
                self._ask()

    def _ask(self, *, first: bool = False) -> None:
        """Give the votes of this step and ask for those of the next one, until some are not there yet."""
        while not self._lacking:
            try:
                self._link, self._rows = next(self._steps) if first else self._steps.send(self._stood())
            except StopIteration:
                if self._ended:
                    self._ended()
                return
            first = False
            lacking = self._rows if self._link else self._rows[~self._first[self._rows]]
            self._awaited[lacking] = True
            self._lacking = len(lacking)
            if self._link and self._forward:
                for row in self._rows.tolist():
                    self._forward(self._link - 1, row)

    def _stood(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the rows of this step stand, and what their votes cost."""
        judge, votes = self._memory.judge, self._memory.votes
        kind, value = judge(votes.so_far(self._link + 1, self._rows))
        paid = votes.cost_usd[self._link, self._rows] if votes.cost_usd is not None else np.zeros(len(kind))
        return np.where(kind == SURE, value, 0.0), paid
