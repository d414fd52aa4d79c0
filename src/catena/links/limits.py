"""What an answer's headers say of time: how long to wait, and how near the server's limits are."""

import email.utils
import math
import re
import time
from collections.abc import Callable

from catena.types import Limit, Rate

__all__ = ["Header", "rate", "retry_after", "seconds"]

Header = Callable[[str], str | None]
"""Returns a header's value by its name."""


def retry_after(header: Header) -> float | None:
    """Return the seconds that an answer asks to wait (milliseconds, seconds or an HTTP date); None where it does not."""
    said = header("retry-after-ms")
    if said and (seconds := _number(said)) is not None:
        return max(0.0, seconds / 1000)
    said = header("retry-after")
    if not said:
        return None
    if (seconds := _number(said)) is not None:
        return max(0.0, seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def rate(header: Header) -> Rate | None:
    """Return what the headers say of the server's limits: those of OpenAI and the many that took them over."""
    requests = _limit(header, "-requests") or _limit(header, "") or _limit(header, "-req-minute", MINUTE)
    tokens = _limit(header, "-tokens") or _limit(header, "-tokens-minute", MINUTE)
    return Rate(requests, tokens) if requests or tokens else None


MINUTE = 60.0


def _limit(header: Header, of: str, reset: float | None = None) -> Limit | None:
    """Return one limit, which is all back after `reset` seconds where no header says when."""
    said = header(f"x-ratelimit-remaining{of}")
    if said is None:
        return None
    left, most = _number(said), _number(header(f"x-ratelimit-limit{of}") or "")
    if left is None or most is None or most <= 0:
        return None
    if reset is None:
        reset = seconds(header(f"x-ratelimit-reset{of}") or "")
    return Limit(most, min(max(left, 0.0), most), reset)


def seconds(text: str) -> float:
    """Return a duration such as 120ms, 6m0s or 2.5 in seconds, or those until a point of time; 0 for anything else.

    >>> seconds("1h2m3.5s"), seconds("120ms"), seconds("7"), seconds("soon")
    (3723.5, 0.12, 7.0, 0.0)
    """
    if (number := _number(text)) is not None:
        since_1970 = number / 1000 if number > 1e12 else number
        return max(0.0, since_1970 - time.time() if since_1970 > 1e9 else number)
    if not DURATION.fullmatch(text):
        return 0.0
    total = sum(float(count) * UNITS[unit] for count, unit in PART.findall(text))
    return total if math.isfinite(total) else 0.0


PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION = re.compile(rf"(?:{PART.pattern})+")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
