"""What headers say: how long to wait, and how much is left of the server's limits."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.links.limits import rate, retry_after, seconds
from catena.links.refusal import status_failure
from catena.types import Limit, Rate


def headers(**named):
    """Return a function that looks headers up by name."""
    return {name.replace("_", "-"): value for name, value in named.items()}.get


def test_openai_headers():
    """Requests and tokens with the seconds until all of them are back."""
    said = headers(
        x_ratelimit_limit_requests="500",
        x_ratelimit_remaining_requests="499",
        x_ratelimit_reset_requests="120ms",
        x_ratelimit_limit_tokens="200000",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="6m0s",
    )
    assert rate(said) == Rate(Limit(500, 499, 0.12), Limit(200_000, 0, 360))


def test_one_limit_only():
    """Servers that name no kind of limit mean requests."""
    said = headers(x_ratelimit_limit="60", x_ratelimit_remaining="12", x_ratelimit_reset="30")
    assert rate(said) == Rate(Limit(60, 12, 30), None)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"x-ratelimit-remaining-requests": "5"},
        {"x-ratelimit-remaining-requests": "x", "x-ratelimit-limit-requests": "10"},
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "0"},
        {"x-ratelimit-remaining-requests": "1", "x-ratelimit-limit-requests": "-1"},
        {"x-ratelimit-remaining-requests": "nan", "x-ratelimit-limit-requests": "inf"},
    ],
)
def test_half_of_it_is_nothing(said):
    """Headers that don't tell how much there is hold nothing back."""
    assert rate(said.get) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("1h1m1.5s", 3661.5),
        ("120ms", 0.12),
        ("7", 7),
        ("", 0),
        ("1 s", 0),
        ("s", 0),
        ("-3", 0),
    ],
)
def test_seconds(text, expected):
    """Durations in any of the usual spellings; nonsense is no time."""
    assert seconds(text) == pytest.approx(expected)


def test_points_of_time():
    """A number that is a point of time counts from now, in seconds or milliseconds since 1970."""
    now = time.time()
    assert seconds(str(int(now + 20))) == pytest.approx(20, abs=2)
    assert seconds(str(int((now + 20) * 1000))) == pytest.approx(20, abs=2)


@given(st.text(max_size=30))
def test_any_text_is_read(text):
    """Whatever a header holds, it is a finite time from 0, or none."""
    assert 0 <= seconds(text) < float("inf")
    wait = retry_after({"retry-after": text}.get)
    assert wait is None or 0 <= wait < float("inf")


def test_milliseconds_before_seconds():
    """Where a server gives both, the finer one counts."""
    assert retry_after(headers(retry_after_ms="250", retry_after="1")) == 0.25


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [(408, "server", True), (409, "server", True), (429, "rate_limit", True), (500, "server", True), (502, "server", True),
     (503, "overloaded", True), (529, "overloaded", True), (400, "bad_request", False), (418, "bad_request", False)],
)  # fmt: skip
def test_statuses(status, reason, retryable):
    """Each status has its reason; only what may pass is asked again."""
    failure = status_failure(status, "{}", None)
    assert (failure.reason, failure.retryable) == (reason, retryable)
