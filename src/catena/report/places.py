"""Where the names of points go, so that they neither overlap nor leave the picture."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["Place", "placed"]

WIDTH_OF_A_LETTER, HEIGHT_OF_A_LINE = 6.6, 15.0
POINT = 8.0  # half of what a point covers, with some air


class Place(NamedTuple):
    """A name beside its point: by how much it is moved, and which of its ends that is."""

    dx: float
    dy: float
    align: Literal["left", "right", "center"]


TRIED = (
    Place(11, 0, "left"), Place(-11, 0, "right"), Place(10, -11, "left"), Place(10, 12, "left"), Place(-10, -11, "right"),
    Place(-10, 12, "right"), Place(0, -17, "center"), Place(0, 18, "center"), Place(10, -26, "left"), Place(10, 27, "left"),
    Place(-10, -26, "right"), Place(-10, 27, "right"),
)  # fmt: skip


def placed(
    points: Sequence[tuple[float, float, str]],
    across: Sequence[float],
    up: Sequence[float],
    size: tuple[float, float],
    *,
    log: bool = False,
) -> list[Place]:
    """Return a place for the name of each point, the first ones first; the least bad one where all overlap.

    Args:
        points: (x, y, name).
        across: The least and the largest x of the picture.
        up: The least and the largest y.
        size: Width and height of the picture.
        log: Whether x is on a logarithmic scale.
    """
    scaled = math.log if log else float
    left, right = (scaled(edge) for edge in across)
    at = [
        ((scaled(x) - left) / (right - left) * size[0], (up[1] - y) / (up[1] - up[0]) * size[1])
        for x, y, _ in points
    ]
    taken = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in at]
    found = []
    for (x, y), (_, _, name) in zip(at, points, strict=True):
        boxes = [_box(x, y, name, place) for place in TRIED]
        costs = [sum(_overlap(box, other) for other in taken) + _outside(box, size) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        found.append(TRIED[best])
    return found


Box = tuple[float, float, float, float]


def _box(x: float, y: float, name: str, place: Place) -> Box:
    width = WIDTH_OF_A_LETTER * len(name)
    start = x + place.dx - {"left": 0.0, "right": width, "center": width / 2}[place.align]
    return start, y + place.dy - HEIGHT_OF_A_LINE / 2, start + width, y + place.dy + HEIGHT_OF_A_LINE / 2


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _outside(box: Box, size: tuple[float, float]) -> float:
    beyond = max(0.0, -box[0]) + max(0.0, box[2] - size[0])
    return beyond * HEIGHT_OF_A_LINE + 100 * (max(0.0, -box[1]) + max(0.0, box[3] - size[1]))
