"""Links that call one address with one key share its limits; headers and Retry-After are obeyed."""

import asyncio
import statistics

import pytest

from catena.engine.asker import CallAsker
from catena.engine.budget import Budget
from catena.engine.endpoint import endpoints
from catena.engine.inbox import Queue
from catena.testing.provider import FakeProvider, spawn, too_early
from catena.types import NOTHING_USED, Capabilities, Failure, Vote
from chains import LABELS, chain_task, execute, openai, rows_of, texts
from jumping import run_jumping

ID = {"id": "id"}
BUSY = Failure("rate_limit", "busy", retryable=True)


class Named:
    """What `endpoints` looks at."""

    def __init__(self, name, **can):
        self.name, self.capabilities = name, Capabilities(**can)


async def let_in(gate, count, tokens=0.0):
    """Ask for so many calls; return how many began at once."""
    tasks = [asyncio.ensure_future(gate.admit(tokens)) for _ in range(count)]
    await asyncio.sleep(0.01)
    begun = sum(task.done() for task in tasks)
    gate.endpoint.stop()
    await asyncio.gather(*tasks)
    return begun


@pytest.mark.parametrize(
    ("named", "other", "begun"),
    [(4, 4, 4), (4, None, 4), (2, 6, 2), (6, 2, 6)],
)
def test_concurrency_is_shared(named, other, begun):
    """What any link of an endpoint names holds for all; a link also keeps its own number."""

    async def work():
        first, second = endpoints(
            [
                Named("a", endpoint="x", concurrency=named),
                Named("b", endpoint="x", concurrency=other),
            ]
        )
        assert first.endpoint is second.endpoint
        return await let_in(first, 10)

    assert asyncio.run(work()) == begun


def test_other_endpoints_share_nothing():
    """Links of different addresses, and links that name none, have windows of their own."""

    async def work():
        gates = endpoints([Named("a", endpoint="x"), Named("b", endpoint="y"), Named("c"), Named("d")])
        return len({id(gate.endpoint) for gate in gates})

    assert asyncio.run(work()) == 4


def test_in_turn():
    """Links that wait for one endpoint are let in by turns, whichever asked first; another try goes before the others."""

    async def work():
        first, second = endpoints([
            Named("a", endpoint="x", concurrency=1), Named("b", endpoint="x", concurrency=1),
        ])  # fmt: skip
        order = []

        async def call(gate, name, *, again=False):
            await gate.admit(0.0, again=again)
            order.append(name)
            await asyncio.sleep(0)
            gate.leave(0.0, ["x"], [Vote("x")])

        await asyncio.gather(
            *(call(first, f"a{at}") for at in range(3)),
            *(call(second, f"b{at}") for at in range(3)),
            call(first, "again", again=True),
        )
        return order

    order = asyncio.run(work())
    assert order.index("again") < order.index("a1")
    assert order.index("b1") < order.index("a2")
    assert sorted(order) == ["a0", "a1", "a2", "again", "b0", "b1", "b2"]


def test_one_call_at_a_time_waits_as_told():
    """Where the window can't fall any further, the whole endpoint waits for Retry-After."""

    async def work():
        (gate,) = endpoints([Named("a", endpoint="x", concurrency=1)])
        await gate.admit(0.0)
        gate.leave(0.0, ["x"], [Failure("rate_limit", "busy", retryable=True, retry_after=0.2)])
        loop = asyncio.get_running_loop()
        began = loop.time()
        await gate.admit(0.0)
        return loop.time() - began

    assert asyncio.run(work()) >= 0.19


def test_requests_per_minute(tmp_path):
    """Two links of one address together keep the limit that each names."""
    with FakeProvider(labels=list(LABELS)) as provider:
        links = [
            openai(provider, name, requests_per_minute=6000, concurrency=64) for name in ("small", "big")
        ]
        execute(chain_task(*links, data=ID), rows_of(texts(200)), tmp_path / "r")
        times = sorted(call.time for call in provider.calls())
    assert len(times) == 300
    assert times[-1] - times[0] >= 0.97 * 300 / 100
    assert max(sum(start <= now < start + 1 for now in times) for start in times) <= 110


def test_tokens_per_minute(tmp_path):
    """Tokens are limited too, by what the answers say was used."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = openai(provider, tokens_per_minute=120_000, concurrency=64)
        execute(chain_task(link, data=ID), rows_of(texts(100)), tmp_path / "r")
        calls = sorted(call.time for call in provider.calls())
        tokens = 100 * 60
    assert calls[-1] - calls[0] >= 0.6 * tokens / 2000


def test_headers_are_obeyed(tmp_path):
    """A server whose headers tell its limit is asked at that rate: nearly no call is refused."""
    with spawn(
        labels=list(LABELS), rate=200.0, burst=20, latency=0.02, ledger=str(tmp_path / "l")
    ) as provider:
        link = openai(provider, concurrency=64)
        execute(chain_task(link, data=ID), rows_of(texts(1000)), tmp_path / "r")
        calls = provider.calls()
    refused = [call for call in calls if call.status == 429]
    assert len(refused) <= 80
    assert not too_early(calls)
    assert calls[-1].time - calls[0].time <= 2.0 * 1000 / 200


class Server:
    """A link to a server that takes so many calls at a time and refuses others at once, for `Named` and `CallAsker`."""

    name, fingerprint = "a", b""

    def __init__(self, takes, seconds, **can):
        self.capabilities = Capabilities(**can)
        self.calls = []
        self._takes, self._seconds, self._in_flight = takes, seconds, 0

    def most(self, prompt):
        """Say nothing of what a call may use."""

    async def ask(self, prompts):
        """Answer after that long, or refuse."""
        self._in_flight += 1
        refused = self._in_flight > self._takes
        self.calls.append((self._in_flight, refused))
        try:
            await asyncio.sleep(0 if refused else self._seconds)
        finally:
            self._in_flight -= 1
        return [BUSY if refused else Vote("x")]


async def ask_all(link, count):
    """Ask so many questions by the link's own gate; return the answers."""
    (gate,) = endpoints([link])
    asker = CallAsker(link, gate, Budget(None, NOTHING_USED), asyncio.Event().wait, lambda _: None)
    questions, answers = Queue(count), []
    for at in range(count):
        await questions.put((b"%d" % at, str(at)))
    questions.close()

    async def answered(_, answer):
        answers.append(answer)

    await asker.work(questions, answered)
    return answers


def test_falls_to_what_the_server_takes(monkeypatch):
    """Where a server takes fewer calls at a time than the link has, it is asked about that many, and seldom one too many."""
    link = Server(16, 0.02, concurrency=128)
    modules = "catena.engine.endpoint", "catena.engine.asker"
    answers = run_jumping(ask_all(link, 2000), monkeypatch, *modules)
    assert len(answers) == 2000
    assert all(isinstance(answer, Vote) for answer in answers)
    late = link.calls[len(link.calls) // 2 :]
    assert statistics.median(at_once for at_once, _ in late) <= 20
    assert sum(refused for _, refused in late) <= 0.15 * len(late)


def test_falls_and_returns(tmp_path):
    """A run over a real server does so too; how many calls are refused depends on how busy this machine is, here and there."""
    with spawn(labels=list(LABELS), concurrency=16, latency=0.02, ledger=str(tmp_path / "l")) as provider:
        link = openai(provider, concurrency=128)
        labels = execute(chain_task(link, data=ID), rows_of(texts(2000)), tmp_path / "r")
        calls = provider.calls()
    assert {row["status"] for row in labels} == {"labelled"}
    late = [call.in_flight for call in calls[len(calls) // 2 :]]
    assert statistics.median(late) <= 20
    assert sum(call.status == 429 for call in calls[len(calls) // 2 :]) <= 0.25 * len(calls) / 2
