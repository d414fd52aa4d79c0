"""Drawing with characters: nothing leaves its place, and what is there is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.cli.drawing import Ink, Point, bar, plane, spark, stair

BLOCKS, ASCII = Ink(), Ink(ascii=True)
inks = pytest.mark.parametrize("ink", [BLOCKS, ASCII], ids=["blocks", "ascii"])


@inks
@given(share=st.floats(0, 1), width=st.integers(1, 60))
def test_a_bar_has_its_width(ink, share, width):
    """Whatever the share; what is not nothing is never invisible, and all of it fills the bar."""
    drawn = bar(share, width, ink)
    assert len(drawn) == width
    assert (drawn.strip() != "") == (share > 0)
    assert bar(1.0, width, ink) == ink.full * width


@inks
@given(counts=st.lists(st.integers(0, 1000), max_size=30))
def test_a_sparkline_has_a_character_for_each(ink, counts):
    """The largest is the highest; none is blank."""
    drawn = spark(counts, ink)
    assert len(drawn) == len(counts)
    for count, character in zip(counts, drawn, strict=True):
        assert (character == " ") == (count == 0)
        assert character == ink.heights[-1] or count < max(counts) or not count


@inks
@given(data=st.data(), n=st.integers(1, 2000), width=st.integers(8, 60))
def test_the_steps_of_a_chain_meet(ink, data, n, width):
    """Where one link's kept part ends the next one's begins, and the last one ends at the right."""
    cuts = sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2)))
    kept = [cuts[0], cuts[1] - cuts[0], n - cuts[1]]
    steps = [stair(sum(kept[:at]), kept[at], n - sum(kept[: at + 1]), n, width, ink) for at in range(3)]
    assert all(len(step) == width for step in steps)
    assert (
        "".join(
            column[0]
            for column in ["".join(s[at] for s in steps if s[at] == ink.full) for at in range(width)]
        )
        == ink.full * width
    )


def test_a_plane_holds_every_mark():
    """Also where points coincide; the best is drawn last, with its interval."""
    points = [
        Point("a", 0.1, 0.7, 0.7, 0.7),
        Point("b", 0.1, 0.7, 0.7, 0.7),
        Point("1", 1.0, 0.9, 0.8, 1.0),
        Point("★", 1.0, 0.9, 0.85, 0.95, best=True),
    ]
    lines = [line.plain for line in plane(points, 40, 11, BLOCKS)]
    text = "\n".join(lines)
    assert all(mark in text for mark in "ab★")
    assert "│" in text
    assert max(map(len, lines)) <= 40
    assert lines[-1].split() == ["0.10x", "1.00x"]
    assert next(line.split()[0] for line in lines if "%" in line) == "100%"
    styled = [span.style for line in plane(points, 40, 11, BLOCKS) for span in line.spans]
    assert "bold green" in styled
    assert len(styled) == sum(
        not cell.isspace() for line in lines[:-2] for cell in line[7:]
    )  # blanks have none


@pytest.mark.parametrize("width", [24, 40, 80])
def test_ascii_is_all_ascii(width):
    """Where nothing else can be shown."""
    points = [Point("a", x / 10, 0.5 + x / 40, 0.4, 0.9) for x in range(11)]
    text = "\n".join(line.plain for line in plane(points, width, 9, ASCII))
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_single_point_is_a_picture():
    """No width and no height of its own."""
    text = "\n".join(line.plain for line in plane([Point("a", 1.0, 0.5, 0.5, 0.5)], 30, 5, BLOCKS))
    assert text.count("a") == 1
