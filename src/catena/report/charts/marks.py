"""What the charts share: sizes, data, and the names and colours of links."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catena.report.colours import colour, link_colour
from catena.report.words import shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["HALF", "LOW", "MOST_CLASSES", "NUMBERED", "WIDE", "Facts", "distinct", "links_of", "rows"]

Facts = Mapping[str, Any]

WIDE, HALF, LOW = 640, 330, 150
MOST_CLASSES = 40  # rows of a picture of classes; a matrix is drawn up to this many
NUMBERED = 16  # labels up to which the cells of a matrix have their count written in
LONGEST = 28


def rows(values: Sequence[Mapping[str, Any]]) -> "alt.Data":
    """Return data of a chart."""
    import altair as alt  # noqa: PLC0415 - an extra, and takes half a second

    return alt.Data(values=list(values))  # type: ignore[no-untyped-call]


def distinct(names: Sequence[str], most: int = LONGEST) -> list[str]:
    """Return names as they are shown, cut, and still different from each other."""
    found: list[str] = []
    for name in names:
        short, times = shown(name, most), 2
        while short in found:
            short, times = f"{shown(name, most - 4)} ({times})", times + 1
        found.append(short)
    return found


def links_of(facts: Facts) -> "tuple[list[str], alt.Scale]":
    """Return the links' names as shown, and the scale of their colours with the result's."""
    import altair as alt  # noqa: PLC0415

    names = distinct([link["link"] for link in facts["run"]["links"]])
    colours = [link_colour(at) for at in range(len(names))]
    return names, alt.Scale(domain=[*names, "the result"], range=[*colours, colour("ink")])
