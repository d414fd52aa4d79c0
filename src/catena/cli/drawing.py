"""Drawing with characters: bars, sparklines and points in a plane. Where a terminal lacks the blocks, ASCII stands in."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from rich.text import Text

from catena.report.words import times

__all__ = ["Ink", "Point", "bar", "plane", "spark", "stair"]

LOG_FROM = 8.0  # where the largest x is so many times the smallest, the axis is one of logarithms
TICK = 8  # characters of a label under the axis, with the gap to the next one
BEST, COMMON = "bold green", "bold"


@dataclass(frozen=True)
class Ink:
    """The characters to draw with.

    Args:
        ascii: Whether nothing else can be shown.
    """

    ascii: bool = False

    @property
    def full(self) -> str:
        """What is there."""
        return "#" if self.ascii else "█"

    @property
    def light(self) -> str:
        """What goes on."""
        return ">" if self.ascii else "░"

    @property
    def parts(self) -> str:
        """A part of a character's width, from none to nearly all."""
        return " " if self.ascii else " ▏▎▍▌▋▊▉"

    @property
    def heights(self) -> str:
        """From low to high."""
        return "_.-=+*%#" if self.ascii else "▁▂▃▄▅▆▇█"

    @property
    def best(self) -> str:
        """The mark of what is recommended."""
        return "*" if self.ascii else "★"

    @property
    def stroke(self) -> str:
        """A piece of an interval."""
        return "|" if self.ascii else "│"

    @property
    def axes(self) -> str:
        """A piece of the axis to the left, of that below, and where they meet."""
        return "|-+" if self.ascii else "┤─└"


def bar(share: float, width: int, ink: Ink) -> str:
    """Return a bar as long as its share of the width; what is not nothing is never invisible.

    >>> bar(0.5, 6, Ink()), bar(0.01, 6, Ink()), bar(0.0, 6, Ink()), bar(0.5, 6, Ink(ascii=True))
    ('███   ', '▏     ', '      ', '###   ')
    """
    steps = len(ink.parts)
    units = min(round(share * width * steps), width * steps)
    units = max(units, 1 if share > 0 else 0)
    whole, part = divmod(units, steps)
    if ink.ascii and share > 0:
        whole = max(whole, 1)
    rest = ink.parts[part] if part else ""
    return (ink.full * whole + rest).ljust(width)


def stair(before: int, kept: int, forwarded: int, all_: int, width: int, ink: Ink) -> str:
    """Return one link's step: blank for what earlier links kept, full for what it kept, light for what it forwarded.

    >>> stair(2, 3, 5, 10, 10, Ink()), stair(2, 3, 5, 10, 10, Ink(ascii=True))
    ('  ███░░░░░', '  ###>>>>>')
    """
    ends = [
        round(count / all_ * width) if all_ else 0
        for count in (before, before + kept, before + kept + forwarded)
    ]
    return (" " * ends[0] + ink.full * (ends[1] - ends[0]) + ink.light * (ends[2] - ends[1])).ljust(width)


def spark(counts: Sequence[float], ink: Ink) -> str:
    """Return one character for each count, as high as its share of the largest one; blank for none.

    >>> spark([0, 1, 4, 8, 2], Ink()), spark([0, 1, 4, 8, 2], Ink(ascii=True)), spark([], Ink())
    (' ▁▄█▂', ' _=#.', '')
    """
    most, last = max(counts, default=0), len(ink.heights) - 1
    return "".join(
        ink.heights[min(max(round(count / most * (last + 1)) - 1, 0), last)] if count > 0 else " "
        for count in counts
    )


@dataclass(frozen=True)
class Point:
    """A point with the interval of its height.

    Args:
        mark: One character.
        x: To the right.
        y: Up.
        low: Where its interval begins, and
        high: ends; the same as `y` for none.
        best: Whether it stands out.
    """

    mark: str
    x: float
    y: float
    low: float
    high: float
    best: bool = False


def plane(points: Sequence[Point], width: int, height: int, ink: Ink) -> list[Text]:
    """Return points in a plane: shares in percent up, multiples to the right, on a logarithmic axis where they are far apart.

    Where two marks would fall into one place, the later one moves to the next free one; the best comes last and is always seen.

    Args:
        points: At least one.
        width: Of all, in characters; 24 at least.
        height: In lines, the axis with its labels apart.
        ink: What to draw with.
    """
    low, high = min(point.low for point in points), max(point.high for point in points)
    high = max(high, low + 0.01)
    left, columns = 7, max(width, 24) - 7
    across = _across([point.x for point in points], columns)

    def row(y: float) -> int:
        return round((high - y) / (high - low) * (height - 1))

    cells = [[" "] * columns for _ in range(height)]
    marks: dict[tuple[int, int], Point] = {}
    for point in sorted(points, key=lambda point: point.best):
        at = (row(point.y), across(point.x))
        for line in range(row(point.high), row(point.low) + 1):
            if cells[line][at[1]] == " ":
                cells[line][at[1]] = ink.stroke
        while at in marks and not point.best and at[1] + 1 < columns:
            at = (at[0], at[1] + 1)
        marks[at] = point
        cells[at[0]][at[1]] = point.mark
    upright, flat, corner = tuple(ink.axes)
    lines = []
    for line, row_ in enumerate(cells):
        labelled = line % max(height // 4, 1) == 0 or line == height - 1
        label = f"{high - (high - low) * line / (height - 1):.0%}" if labelled else ""
        drawn = Text(f"{label:>5} {upright if labelled else ink.stroke}")
        for column, character in enumerate(row_):
            mark = marks.get((line, column))
            style = BEST if mark and mark.best else COMMON if mark else "" if character == " " else "dim"
            drawn.append(character, style)
        lines.append(drawn)
    lines.append(Text(" " * (left - 1) + corner + flat * columns))
    lines.append(Text(" " * left + _ticks([point.x for point in points], across, columns)))
    return lines


def _across(xs: Sequence[float], columns: int) -> "_Across":
    return _Across(min(xs), max(xs), columns)


class _Across:
    """Where a value lies on the lower axis."""

    def __init__(self, low: float, high: float, columns: int) -> None:
        self.logarithmic = low > 0 and high > LOG_FROM * low
        self._low, self._span = self._at(low), self._at(high) - self._at(low)
        self._columns = columns

    def _at(self, x: float) -> float:
        return log(x) if self.logarithmic else x

    def __call__(self, x: float) -> int:
        """Return the column of a value; two columns stay free at either end."""
        share = (self._at(x) - self._low) / self._span if self._span else 0.5
        return 2 + round(share * (self._columns - 6))


def _ticks(xs: Sequence[float], across: "_Across", columns: int) -> str:
    """Return labels under the columns of as many values as there is room for, the ends first."""
    order = sorted(set(xs))
    wanted = [order[0], order[-1], *order[1:-1]]
    placed: dict[int, str] = {}
    for x in wanted:
        label, at = times(x), across(x)
        at = min(max(at - 2, 0), columns - len(label))
        if all(abs(at - other) >= TICK for other in placed):
            placed[at] = label
    line = ""
    for at in sorted(placed):
        line = line.ljust(at) + placed[at]
    return line
