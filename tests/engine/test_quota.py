"""Limits a minute: never more within any minute, and what a server's headers say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.engine.quota import Quota
from catena.types import Limit


def use_for(quota, seconds, amounts=(1.0,), now=0.0):
    """Use the quota as fast as it lets; returns when how much was used."""
    used, end, at = [], now + seconds, 0
    while now < end:
        amount = amounts[at % len(amounts)]
        wait = quota.wait(amount, now)
        if wait == 0:
            quota.use(amount)
            used.append((now, amount))
            at += 1
        else:
            now += max(wait, 1e-6)
    return used


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 20_000))
def test_no_minute_sees_more(per_minute):
    """Within any minute, the first one too, no more calls begin than the limit, and nearly as many do."""
    used = use_for(Quota(per_minute, 0.0), 65 if per_minute < 5000 else 61)
    times = [now for now, _ in used]
    for start in times[:: max(1, len(times) // 20)]:
        assert sum(start <= now < start + 59.999 for now in times) <= per_minute + 1e-6
    assert sum(now < 60 for now in times) >= 0.95 * per_minute - 1


def test_tokens_in_lumps():
    """Calls of different sizes keep the same rate in the long run; one larger than the store waits until it is full."""
    used = use_for(Quota(60_000, 0.0), 120, (500.0, 20.0, 3000.0))
    assert sum(amount for _, amount in used) == pytest.approx(120_000, rel=0.05)


def test_giving_back():
    """What was expected too high is there again."""
    quota = Quota(600, 0.0)
    quota.use(1)
    assert quota.wait(1, 0.0) > 0
    quota.use(-1)
    assert quota.wait(1, 0.0) == 0


def test_headers_tell_the_rate():
    """From what is gone and how long all of it takes to come back follows how fast it comes back."""
    quota = Quota.heard(Limit(500, 0, 60), 0.0)
    assert quota.wait(1, 0.0) == pytest.approx(60 / 500)
    assert len(use_for(quota, 60)) == pytest.approx(500, abs=2)


def test_headers_that_say_nothing_is_gone():
    """A server that always says that all is left holds nothing back."""
    quota = Quota.heard(Limit(10, 10, 0), 0.0)
    for now in range(100):
        assert quota.wait(1, now / 1000) == 0
        quota.use(1)
        quota.hear(Limit(10, 10, 0), now / 1000)


def test_headers_without_a_reset_mean_a_minute():
    """Where the server doesn't say when its limit is back, it is one on a minute."""
    quota = Quota.heard(Limit(600, 0, 0), 0.0)
    assert len(use_for(quota, 60)) == pytest.approx(600, abs=2)
