"""One cell as text, and as part of a one-line message."""

import math
from typing import Any

import msgspec

__all__ = ["as_text", "one_line", "quoted"]

LONGEST_SHOWN = 60
encode = msgspec.json.Encoder(enc_hook=str).encode


def as_text(value: Any) -> str | None:
    """Return a cell's value as text, numbers and booleans in their JSON spelling; None where it is missing.

    Missing are None, NaN and the empty string. Lists and objects become JSON.

    Raises:
        UnicodeError: Bytes, or a text with half a surrogate pair, that have no UTF-8 form.

    >>> as_text(1), as_text(1.0), as_text(True), as_text("NA"), as_text(float("nan"))
    ('1', '1.0', 'true', 'NA', None)
    """
    if isinstance(value, str):
        return str(value) or None
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else float.__repr__(value)  # numpy's repr would say np.float64(1.0)
    if isinstance(value, bytes):
        return value.decode() or None
    if hasattr(value, "tolist"):  # numpy, inside a DataFrame's column of objects
        return as_text(value.tolist())
    if isinstance(value, (list, dict, tuple)):
        return encode(value).decode()
    return str(value) or None


def one_line(value: object) -> str:
    r"""Return something a user wrote so that it fits into one line of a message.

    >>> one_line("a.csv"), one_line("two\nlines")
    ('a.csv', "'two\\nlines'")
    """
    text = str(value)
    if not text.isprintable():
        text = repr(text)
    return text if len(text) <= LONGEST_SHOWN * 4 else f"{text[: LONGEST_SHOWN * 4]}..."


def quoted(value: str) -> str:
    """Return a cell's text in quotes, cut to a length that leaves room for 20 of them in a line."""
    return repr(value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}...")
