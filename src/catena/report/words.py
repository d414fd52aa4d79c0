"""Figures as people read them, and text that is safe to stand in one line of a picture."""

import datetime as dt
import unicodedata

__all__ = ["clock", "count", "figure", "lasting", "moment", "money", "rate", "share", "shown", "times"]

DASH = "-"


def money(usd: float | None) -> str:
    """Return an amount with as many digits as it needs; a dash where it is unknown.

    >>> money(1234.5), money(0.0123), money(0.000023), money(0.0), money(None)
    ('$1,234.50', '$0.0123', '$0.000023', '$0', '-')
    """
    if usd is None:
        return "-"
    if usd == 0:
        return "$0"
    if usd < 0.000001:
        return "<$0.000001"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}" if usd >= 0.001 else f"${usd:.6f}"


def count(n: int | None) -> str:
    """Return a whole number with its thousands apart.

    >>> count(1234567), count(None)
    ('1,234,567', '-')
    """
    return DASH if n is None else f"{n:,}"


def share(value: float | None) -> str:
    """Return a share in percent.

    >>> share(0.8375), share(None)
    ('83.8%', '-')
    """
    return DASH if value is None else f"{value:.1%}"


def times(value: float | None) -> str:
    """Return a multiple, with as many digits as tell a small one from nothing.

    >>> times(1.5), times(0.0), times(0.00049), times(0.00001), times(None)
    ('1.50x', '0.00x', '0.0005x', '<0.0001x', '-')
    """
    if value is None:
        return DASH
    if 0 < value < 0.0001:
        return "<0.0001x"
    return f"{value:.1g}x" if 0 < value < 0.01 else f"{value:.2f}x"


def figure(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits after the point.

    >>> figure(0.66666), figure(None)
    ('0.667', '-')
    """
    return DASH if value is None else f"{value:.{digits}f}"


def moment(seconds: float) -> str:
    """Return a point of time, given in seconds since 1970, in UTC.

    >>> moment(1764108000.0)
    '2025-11-25 22:00 UTC'
    """
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M} UTC"


def lasting(seconds: float) -> str:
    """Return a length of time in its two largest units.

    >>> lasting(4.2), lasting(312), lasting(9000), lasting(200000)
    ('4 s', '5 min 12 s', '2 h 30 min', '2 d 7 h')
    """
    whole = round(seconds)
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {large} {whole % size // part} {small}"
    return f"{whole} s"


def clock(seconds: float | None) -> str:
    """Return a time in hours, minutes and seconds.

    >>> clock(5.2), clock(3700), clock(None)
    ('0:05', '1:01:40', '-')
    """
    if seconds is None:
        return "-"
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02}"


def rate(value: float | None) -> str:
    """Return how many there are in a second.

    >>> rate(1234.5), rate(2.34), rate(None)
    ('1,234', '2.3', '-')
    """
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def shown(value: object, most: int = 0) -> str:
    r"""Return text that can't break out of its line: what is not printed is shown as a box, what is too long is cut.

    Control characters have no place in SVG, and those that turn the direction of writing reorder what stands beside them.

    Args:
        value: The text.
        most: Characters to keep; all for 0.

    >>> shown("two\nlines"), shown("a\u202eb"), shown("abcdef", 4)
    ('two lines', 'a□b', 'abc…')
    """
    text = " ".join(str(value).split())
    text = "".join("□" if unicodedata.category(each)[0] == "C" else each for each in text)
    return f"{text[: most - 1]}…" if most and len(text) > most else text
