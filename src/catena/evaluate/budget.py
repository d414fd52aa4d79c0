"""A budget as people write it: `25usd`, `2.5usd/1k`, `0.5x:LINK`, `0.5x`."""

import re
from typing import Any

import msgspec

from catena.errors import InputError

__all__ = ["Budget", "Target", "parse_budget", "parse_target"]

NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
FORMS = "Write 25usd (for all rows), 2.5usd/1k (per thousand rows), 0.5x:LINK (half of what LINK alone costs) or 0.5x (of the best single link)."


class Budget(msgspec.Struct, frozen=True):
    """What a plan may spend on the rows that are not in the pilot.

    Args:
        said: As it was written.
        usd: For all rows together, or
        usd_per_item: for each on average, or
        times: as a multiple of what
        link: this link alone would cost; the single link best on the pilot where None.
    """

    said: str
    usd: float | None = None
    usd_per_item: float | None = None
    times: float | None = None
    link: str | None = None


class Target(msgspec.Struct, frozen=True):
    """What a plan must reach: the cheapest one that is expected to is taken.

    Args:
        metric: `accuracy`, `macro_f1`, or `agreement` with a link, where that link's votes stand for gold.
        value: Above 0, at most 1.
    """

    metric: str
    value: float


def parse_budget(text: str) -> Budget:
    """Return what a budget says.

    >>> parse_budget("2.5usd/1k").usd_per_item, parse_budget("0.5x:big").link
    (0.0025, 'big')

    Raises:
        InputError: It says nothing that is known, or nothing above 0.
    """
    forms: tuple[tuple[str, Any], ...] = (
        (rf"{NUMBER}usd", lambda n, _: {"usd": n}),
        (rf"{NUMBER}usd/1k", lambda n, _: {"usd_per_item": n / 1000}),
        (rf"{NUMBER}x(?::(\S+))?", lambda n, link: {"times": n, "link": link}),
    )
    for pattern, read in forms:
        found = re.fullmatch(pattern, text.strip())
        if found:
            number = float(found[1])
            if number <= 0:
                raise InputError(f"--budget {text}: a budget is above 0.", FORMS)
            return Budget(text.strip(), **read(number, found[2] if found.re.groups > 1 else None))
    raise InputError(f"--budget {text}: not a budget.", FORMS)


def parse_target(text: str) -> Target:
    """Return what a target says.

    >>> parse_target("accuracy=0.85").value
    0.85

    Raises:
        InputError: Another metric, or a number outside 0 to 1.
    """
    found = re.fullmatch(rf"(accuracy|macro_f1|agreement)={NUMBER}", text.strip())
    if not found or not 0 < float(found[2]) <= 1:
        raise InputError(
            f"--target {text}: not a target.",
            "Write accuracy=0.85, macro_f1=0.8 or agreement=0.9 (with the dearest link): above 0, at most 1.",
        )
    return Target(found[1], float(found[2]))
