"""The window finds out what an endpoint takes, against simulated endpoints on a simulated clock."""

import heapq
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.engine.window import AUTO_CEILING, AUTO_START, Window


@dataclass
class Server:
    """An endpoint that answers after `latency`, takes `rate` calls a second, or works on `places` at a time."""

    latency: float = 0.1
    rate: float = float("inf")
    burst: float = 100.0
    places: int = 1 << 20
    noise: float = 0.0

    def __post_init__(self):
        self.left, self.at, self.busy, self.random = self.burst, 0.0, [], random.Random(0)

    def call(self, now):
        """Return when a call that comes now is answered, and whether it works."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate) if self.at < now else self.left
        self.at = now
        if self.random.random() < self.noise:
            return now + self.latency, False
        if self.left < 1:
            return now + 0.002, False
        self.left -= self.rate != float("inf")
        while self.busy and self.busy[0] <= now:
            heapq.heappop(self.busy)
        start = now if len(self.busy) < self.places else heapq.heappop(self.busy)
        end = start + self.latency * self.random.uniform(0.9, 1.1)
        heapq.heappush(self.busy, end)
        return end, True


def simulate(window, server, seconds, changes=()):
    """Use the server as fast as the window lets; returns answers a second, the share refused, and sizes over time."""
    now, calls, sizes, changes = 0.0, [], [], list(changes)
    worked = refused = 0
    while now < seconds:
        while window.room > 0:
            window.begin()
            ends, works = server.call(now)
            heapq.heappush(calls, (ends, now, works))
        now, began, works = heapq.heappop(calls)
        window.end()
        worked, refused = worked + works, refused + (not works)
        (window.worked if works else window.refused)(began, now)
        sizes.append((now, window.size))
        while changes and now >= changes[0][0]:
            for name, value in changes.pop(0)[1].items():
                setattr(server, name, value)
    return worked / seconds, refused / (worked + refused), sizes


@pytest.mark.parametrize("concurrency", [256, None])
def test_rate_limit_is_used_up(concurrency):
    """At an endpoint that takes 500 calls a second, at least 95 % of that are made, and few calls are refused."""
    rate, refused, _ = simulate(Window(concurrency), Server(rate=500), 60)
    assert rate >= 475
    assert refused <= 0.1


def test_it_returns():
    """When the rate limit is gone, the window is back at its ceiling within ten seconds."""
    _, _, sizes = simulate(Window(256), Server(rate=500), 45, [(30, {"rate": 1e9, "burst": 1e9})])
    assert next(size for now, size in sizes if now >= 29) < 128
    assert next(size for now, size in sizes if now >= 40) == 256


def test_found_by_itself():
    """Without a number it grows to what an endpoint takes, up to 512, and is there within five seconds."""
    window = Window(None)
    assert window.size == AUTO_START
    _, _, sizes = simulate(window, Server(), 5)
    assert sizes[-1][1] == AUTO_CEILING


def test_more_that_brings_nothing_is_given_back():
    """Where 32 calls at a time are all that a server works on, it does not queue hundreds there, and loses nothing."""
    rate, _, sizes = simulate(Window(None), Server(places=32), 60)
    assert rate >= 0.95 * 320
    late = [size for now, size in sizes if now > 30]
    assert sum(late) / len(late) < 4 * 32


def test_slow_answers_make_it_fall():
    """When answers take ten times as long, fewer calls are made at a time; when that is over, all of them again."""
    _, _, sizes = simulate(Window(256), Server(), 60, [(20, {"latency": 1.0}), (30, {"latency": 0.1})])
    assert min(size for now, size in sizes if 20 < now < 30) <= 128
    assert sizes[-1][1] == 256


def test_noise_is_no_limit():
    """A server that refuses 3 % of calls at random, whatever the load, keeps nearly its whole window."""
    rate, _, _ = simulate(Window(256), Server(noise=0.03), 60)
    assert rate >= 0.85 * 2560


def test_a_number_is_ceiling_and_start():
    """`concurrency: N` begins with N and never has more."""
    _, _, sizes = simulate(Window(16), Server(), 5)
    assert {size for _, size in sizes} == {16}


def test_calls_from_before_a_fall_count_once():
    """Of one windowful that is refused together only the first few make it fall."""
    window = Window(100)
    for _ in range(100):
        window.begin()
    for _ in range(100):
        window.end()
        window.refused(0.0, 1.0)
    assert window.size == pytest.approx(70)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 10)), max_size=300), st.integers(1, 64) | st.none())
def test_bounds(events, concurrency):
    """Whatever happens, the window stays between 1 and its ceiling."""
    window, now = Window(concurrency), 0.0
    for works, seconds in events:
        window.begin()
        began, now = now, now + seconds
        window.end()
        (window.worked if works else window.refused)(began, now)
        assert 1 <= window.size <= window.ceiling
