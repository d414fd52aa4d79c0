"""What links share that call one address with one key: a window, limits, pauses and a circuit. Calls wait here.

A limit that any link of an endpoint names holds for all of them together; where they name different ones, the largest.
Each link also keeps its own.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from time import monotonic

from catena.engine.circuit import Circuit
from catena.engine.health import ITEMS_OWN
from catena.engine.quota import Quota
from catena.engine.steering import Trouble
from catena.engine.window import AUTO_CEILING, Window
from catena.errors import LinkError
from catena.types import Answer, Capabilities, Failure, Limit, Link

__all__ = ["Endpoint", "Gate", "endpoints"]

TOO_MANY = frozenset({"rate_limit", "overloaded", "timeout"})
"""Failures that say that there were too many calls."""
TOKENS = 1
"""Limits come in twos: on calls, and on tokens."""
LEAST_PAUSE = 0.001
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 8.0
LONGEST_WAIT = 600.0
MOST_TROUBLES = 10


class Endpoint:
    """Lets calls of several links begin, in turn, as soon as the endpoint can take them.

    Args:
        name: What to call it in messages.
        links: What each of its links can do.

    Attributes:
        waiting: How many calls wait to begin.
        stopped: Whether nothing waits any more.
        held: Since when no call may begin, since a person wants a pause; None where it may.
    """

    def __init__(self, name: str, links: Sequence[Capabilities]) -> None:
        self.name = name
        self.window = Window(_largest(can.concurrency for can in links))
        self.waiting = 0
        self.circuit = Circuit(name)
        self.gates: deque[Gate] = deque()
        now = monotonic()
        self.quotas = [
            _quota((can.requests_per_minute for can in links), now, max(can.calls for can in links)),
            _quota((can.tokens_per_minute for can in links), now),
        ]
        self._pause_until, self._pause = 0.0, FIRST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self.stopped = False
        self.held: float | None = None

    def begin(self, gate: "Gate", tokens: float) -> None:
        """Count a call that begins."""
        self.window.begin()
        for quota, of_tokens in gate.active:
            quota.use(tokens if of_tokens else gate.calls)

    def end(self, gate: "Gate", began: float, prompts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Learn how a call ended, and let others begin.

        Raises:
            LinkError: Nothing has worked for so long that the endpoint is out.
        """
        now = monotonic()
        self.window.end()
        try:
            self._learn(gate, began, now, answers)
            self.circuit.end(prompts, answers, began, now)
            if self.circuit.opened:
                self.window.collapse(now)
        finally:
            gate.in_flight -= 1
            if self.waiting:
                self.pump()

    def _learn(self, gate: "Gate", began: float, now: float, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if answer.rate is not None:
                for at, limit in enumerate((answer.rate.requests, answer.rate.tokens)):
                    if limit is not None:
                        gate.hear(at, limit, now)
            if not isinstance(answer, Failure) or answer.reason in ITEMS_OWN:
                self.window.worked(began, now)
                self._pause = FIRST_PAUSE
                continue
            gate.note(answer)
            if answer.reason in TOO_MANY:
                self.window.refused(began, now)
                if self.window.size == 1:  # nothing else is left to give way with
                    pause = max(self._pause, answer.retry_after or 0.0)
                    self._pause_until = max(self._pause_until, now + pause)
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def hold(self, *, on: bool) -> None:
        """Let no call begin from now on, or let them begin again; a pause is no outage, and says nothing of speed."""
        now = monotonic()
        if on:
            self.held = self.held or now
        elif self.held is not None:
            self.circuit.excuse(now - self.held)
            self.window.excuse(now)
            self.held = None
            self.pump()

    def stop(self) -> None:
        """Let everything that waits go on at once: it sees that it is stopped."""
        self.stopped = True
        if self._timer:
            self._timer.cancel()
        for gate in self.gates:
            gate.open()

    def wait(self, gate: "Gate", tokens: float, now: float) -> float | None:
        """Return in how many seconds a call of a link may begin; None where that depends on calls in flight."""
        if self.held is not None or self.window.room <= 0 or not gate.room:
            return None
        probe = self.circuit.wait(now, self.window.in_flight)
        if probe is None:
            return None
        waits = [quota.wait(tokens if of_tokens else gate.calls, now) for quota, of_tokens in gate.active]
        return max(0.0, self._pause_until - now, probe, *waits)

    def pump(self) -> None:
        """Let the calls begin that may, one of each link in turn, and come back when the next one may."""
        if self.stopped:
            return
        now = monotonic()
        soonest: float | None = None
        passed = 0
        while passed < len(self.gates):
            gate = self.gates[0]
            self.gates.rotate(-1)
            wait = self.wait(gate, gate.waiting[0][1], now) if gate.waiting else None
            if wait == 0:
                gate.let_one_in()
                passed, soonest = 0, None
            else:
                passed += 1
                if wait is not None:
                    soonest = wait if soonest is None else min(wait, soonest)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if soonest is not None:
            self._timer = asyncio.get_running_loop().call_later(max(soonest, LEAST_PAUSE), self.pump)


class Gate:
    """One link's way to its endpoint.

    Args:
        endpoint: The endpoint.
        can: What the link can do.

    Attributes:
        allowed: The most calls at a time that `limit` may set: what runs in this process can't do with more than it says.
        failures: Calls that were no fault of their item, by reason.
        troubles: The latest of them.
    """

    def __init__(self, endpoint: Endpoint, can: Capabilities) -> None:
        self.endpoint = endpoint
        self.in_flight = 0
        self.calls = float(can.calls)
        self.waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        now = monotonic()
        own = (can.requests_per_minute, can.tokens_per_minute)
        self.active = [
            (quota, at == TOKENS)
            for at, named in enumerate(own)
            for quota in (_quota([named], now, can.calls), endpoint.quotas[at])
            if quota
        ]
        self._heard: list[Quota | None] = [None, None]
        self._most = can.concurrency or AUTO_CEILING
        self.allowed = max(self._most, AUTO_CEILING) if can.endpoint else self._most
        self.failures = Counter[str]()
        self.troubles: deque[Trouble] = deque(maxlen=MOST_TROUBLES)
        endpoint.gates.append(self)

    @property
    def room(self) -> bool:
        """Whether the link itself may have another call in flight."""
        return self.in_flight < self._most

    @property
    def out(self) -> str:
        """Why no call works now; empty while calls do, and where none of this link has failed."""
        return self.troubles[-1].message if self.endpoint.circuit.out and self.troubles else ""

    @property
    def ceiling(self) -> int:
        """The most calls that the link may have in flight."""
        return self._most

    def limit(self, most: int) -> None:
        """Set how many calls the link may have in flight from now on, within what is allowed."""
        self._most = max(1, min(most, self.allowed))
        if self._most > self.endpoint.window.ceiling:
            self.endpoint.window.widen(self._most)
        self.endpoint.pump()

    def note(self, failure: Failure) -> None:
        """Remember a call that failed, for whoever watches."""
        self.failures[failure.reason] += 1
        self.troubles.append(Trouble(time.time(), None, failure.reason, failure.message))

    @property
    def counts_tokens(self) -> bool:
        """Whether `admit` needs to know how many tokens a call will use."""
        return any(of_tokens for _, of_tokens in self.active)

    async def admit(self, tokens: float, *, again: bool = False) -> None:
        """Wait until a call may begin, and count it as begun; `leave` must follow.

        Args:
            tokens: How many tokens it will use, as far as one can tell.
            again: Whether it is another try, which goes before the others.

        Raises:
            LinkError: The server's limits let no call begin for more than ten minutes.
        """
        wait = self.endpoint.wait(self, tokens, monotonic())
        if wait is not None and wait > LONGEST_WAIT:
            raise LinkError(
                f"{self.endpoint.name}: its limits let no call begin for {wait / 60:,.0f} minutes.",
                "Run the same command then; it goes on.",
            )
        if self.endpoint.stopped or (not self.waiting and wait == 0):
            self._enter(tokens)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.endpoint.waiting += 1
        if again:
            self.waiting.appendleft((future, tokens))
        else:
            self.waiting.append((future, tokens))
        self.endpoint.pump()
        await future

    def leave(self, began: float, prompts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Say how a call about these prompts that began at `began` has ended; no answers: it never was made.

        Raises:
            LinkError: The endpoint is out.
        """
        self.endpoint.end(self, began, prompts, answers)

    def hear(self, at: int, limit: Limit, now: float) -> None:
        """Learn what the server says of the link's limit on calls (0) or tokens (1): they are a model's own."""
        quota = self._heard[at]
        if quota is not None:
            quota.hear(limit, now)
        else:
            quota = self._heard[at] = Quota.heard(limit, now)
            self.active.append((quota, at == TOKENS))

    def let_one_in(self) -> None:
        """Let the first call that waits begin."""
        future, tokens = self.waiting.popleft()
        self.endpoint.waiting -= 1
        if not future.done():
            self._enter(tokens)
            future.set_result(None)

    def open(self) -> None:
        """Let all that wait go on."""
        while self.waiting:
            self.let_one_in()

    def correct(self, expected: float, used: float) -> None:
        """Learn how many tokens a call has used."""
        for quota, of_tokens in self.active:
            if of_tokens:
                quota.use(used - expected)

    def _enter(self, tokens: float) -> None:
        self.in_flight += 1
        self.endpoint.begin(self, tokens)


def endpoints(links: Iterable[Link]) -> list[Gate]:
    """Return each link's gate; links that name the same endpoint share it."""
    links = list(links)
    shared: dict[str, list[Capabilities]] = {}
    names = [link.capabilities.endpoint or f"\0{link.name}" for link in links]
    for name, link in zip(names, links, strict=True):
        shared.setdefault(name, []).append(link.capabilities)
    made = {
        name: Endpoint(name if name[0] != "\0" else f"link '{name[1:]}'", cans)
        for name, cans in shared.items()
    }
    return [Gate(made[name], link.capabilities) for name, link in zip(names, links, strict=True)]


def _largest(concurrencies: Iterable[int | None]) -> int | None:
    known = [each for each in concurrencies if each is not None]
    return max(known, default=None)


def _quota(named: Iterable[float | None], now: float, at_once: float = 1.0) -> Quota | None:
    known = [each for each in named if each is not None]
    return Quota(max(known), now, at_once) if known else None
