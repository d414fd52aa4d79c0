"""The chain as a picture: how many items each link received, kept, forwarded, failed, and at what cost."""

from collections.abc import Mapping
from typing import Any

from catena.report.colours import colour, link_colour
from catena.report.pages import environment
from catena.report.words import count, money, shown

__all__ = ["flow"]

TALL = 230.0  # units for all items
HEAD = 152.0  # above the bands: names and figures
PITCH, BAR, LEFT, RIGHT = 196.0, 13.0, 96.0, 196.0
APART = 34.0  # between two words on the right
LEAST = 1.5  # units of a band that has any item
GAP = 10.0  # between the band of a link and what was kept before it
LONGEST_NAME = 22


def flow(facts: Mapping[str, Any]) -> str:
    """Return the picture as an SVG document in the colours of the look in light.

    Args:
        facts: From `facts.facts_of_run`.
    """
    links, n = facts["run"]["links"], max(1, facts["run"]["n"])
    columns = [_column(at, link, n, finished=facts["finished"]) for at, link in enumerate(links)]
    end = LEFT + PITCH * len(links)
    bands, ends = _bands(links, n, end)
    waiting = facts["run"]["n"] - (links[0]["received"] if links else 0)
    return environment().get_template("flow.svg.jinja").render(
        width=end + BAR + RIGHT,
        height=max([HEAD + TALL, *(each["top"] + each["height"] for each in ends), *(each["y"] + 18 for each in ends)]) + 14
        + (10 if waiting else 0),
        head=HEAD,
        tall=TALL,
        bar=BAR,
        left=LEFT,
        end=end,
        columns=columns,
        bands=bands,
        ends=ends,
        kept_by="kept by" if facts["finished"] else "stand at",
        all=count(facts["run"]["n"]),
        waiting=count(waiting) if waiting else "",
        received=TALL * (links[0]["received"] / n),
        colour=colour,
    )  # fmt: skip


def _column(at: int, link: Mapping[str, Any], n: int, *, finished: bool) -> dict[str, Any]:
    figures = [
        ("received", count(link["received"])),
        ("kept" if finished else "stand here", count(link["kept"])),
        ("forwarded", count(link["forwarded"])),
        ("failed", count(link["failed"])),
        ("cost", money(link["cost_usd"])),
    ]
    return {
        "x": LEFT + PITCH * at,
        "name": shown(link["link"], LONGEST_NAME),
        "whole": shown(f"{link['link']}: {link['model']}", 300),
        "model": shown(link["model"], LONGEST_NAME + 4),
        "figures": figures,
        "bad": bool(link["failed"]),
        "height": _height(link["received"], n),
        "failed": _height(link["failed"], n),
        "colour": link_colour(at),
    }


def _height(items: int, n: int) -> float:
    return max(LEAST, TALL * items / n) if items else 0.0


def _bands(
    links: list[dict[str, Any]], n: int, end: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the bands between the columns, and where what each link kept ends, with words that don't overlap.

    In every column the band of what goes on is on top, and beneath it what was kept, the latest first.
    """
    bands, tops = [], [HEAD] * len(links)
    kept = [_height(link["kept"], n) for link in links]
    received = [_height(link["received"], n) for link in links]
    place: list[float | None] = [None] * len(links)  # where the band of what a link kept stands now
    for at in range(len(links)):
        left, right = LEFT + PITCH * at + BAR, LEFT + PITCH * (at + 1)
        onward = received[at + 1] if at + 1 < len(links) else 0.0
        if onward:
            bands.append(_band(left, right, HEAD, HEAD, onward, link_colour(at + 1), "0.28"))
        below = HEAD + (onward + GAP if onward else 0.0)
        for link in range(at, -1, -1):
            if not kept[link]:
                continue
            start = place[link]
            if start is None:
                start = tops[at] + max(0.0, received[at] - kept[link])
            bands.append(
                _band(
                    left if link == at else left - BAR,
                    right,
                    start,
                    below,
                    kept[link],
                    link_colour(link),
                    "0.55",
                )
            )
            place[link] = below
            below += kept[link] + GAP
    return bands, _words(links, kept, place, n, end)


def _band(
    left: float, right: float, top: float, to: float, height: float, fill: str, opacity: str
) -> dict[str, Any]:
    middle = (left + right) / 2
    path = (
        f"M{left:.1f},{top:.1f}C{middle:.1f},{top:.1f} {middle:.1f},{to:.1f} {right:.1f},{to:.1f}"
        f"v{height:.1f}C{middle:.1f},{to + height:.1f} {middle:.1f},{top + height:.1f} {left:.1f},{top + height:.1f}Z"
    )
    return {"path": path, "fill": fill, "opacity": opacity}


def _words(
    links: list[dict[str, Any]], kept: list[float], place: list[float | None], n: int, end: float
) -> list[dict[str, Any]]:
    found, lowest = [], HEAD - APART
    for at in sorted(
        (at for at in range(len(links)) if place[at] is not None), key=lambda at: place[at] or 0.0
    ):
        top = place[at] or 0.0
        middle = max(top + kept[at] / 2, lowest + APART)
        lowest = middle
        found.append(
            {
                "x": end,
                "top": top,
                "height": kept[at],
                "y": middle,
                "colour": link_colour(at),
                "name": shown(links[at]["link"], LONGEST_NAME),
                "kept": f"{count(links[at]['kept'])} ({links[at]['kept'] / n:.1%})",
            }
        )
    return found
