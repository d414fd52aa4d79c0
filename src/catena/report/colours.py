"""The colours of pictures: those of the look in light, which a page turns into those of the reader's."""

import re
from functools import lru_cache

from catena.report.pages import look

__all__ = ["colour", "follow_the_page", "link_class", "link_colour"]

LINKS = 8
FOLLOWED = ("surface", "sunk", "ink", "muted", "line", "edge", "accent", "good", "warn", "bad", *(f"c{at}" for at in range(1, LINKS + 1)))  # fmt: skip


@lru_cache(maxsize=1)
def _light() -> dict[str, str]:
    block = look().partition(":root {")[2].partition("}")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def colour(name: str) -> str:
    """Return a colour of the look by the name of its variable, as in light: `#rrggbb`."""
    return _light()[name]


def link_class(at: int) -> str:
    """Return the class of the look that has the colour of a link, by its place in the chain."""
    return f"c{at % LINKS + 1}"


def link_colour(at: int) -> str:
    """Return the colour of a link, by its place in the chain."""
    return colour(link_class(at))


def follow_the_page() -> str:
    """Return the style rules by which pictures in a page take its colours, in dark and in print too."""
    rules = []
    for name in FOLLOWED:
        rules += [
            f'figure svg [{what}="{colour(name)}"] {{ {what}: var(--{name}); }}'
            for what in ("fill", "stroke")
        ]
    return "\n".join(rules)
