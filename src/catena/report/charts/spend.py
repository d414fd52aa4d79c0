"""Charts of how the cost grew."""

from typing import TYPE_CHECKING, Any

from catena.report.charts.marks import Facts, links_of, rows
from catena.report.colours import colour
from catena.report.words import money

if TYPE_CHECKING:
    import altair as alt

__all__ = ["spend"]

UNITS = (
    (3 * 86400.0, 86400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (300.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)
"""From how many seconds on time is told in which unit."""


def spend(facts: Facts, over: str) -> "alt.TopLevelMixin":
    """Return the cost of each link over `votes` as they came in, or over `times`."""
    import altair as alt  # noqa: PLC0415

    course = facts["course"]
    names, scale = links_of(facts)
    index = {link["link"]: name for link, name in zip(facts["run"]["links"], names, strict=True)}
    others = [name for name in course["links"] if name not in index]
    index |= dict.fromkeys(others, "outside the chain")
    domain, colours = (
        [*names, *(["outside the chain"] if others else [])],
        [*scale.range[:-1], *([colour("edge")] if others else [])],
    )
    points, where = _points(course, over, index)
    title = {"USD": "USD so far", "tokens": "tokens so far", "votes": "votes so far"}[course["unit"]]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(title=where, format="~s" if over == "votes" else ",~r", tickCount=6, grid=False),
    )
    y = alt.Y(
        "amount:Q",
        stack="zero",
        axis=alt.Axis(title=title, format="$,~r" if course["unit"] == "USD" else "~s", tickCount=5),
    )
    hue = alt.Color("link:N", scale=alt.Scale(domain=domain, range=colours), legend=alt.Legend(columns=2))
    area = alt.Chart(rows(points)).mark_area(opacity=0.75, interpolate="linear")
    layers = [area.encode(x=x, y=y, color=hue, order=alt.Order("link:N")), *_cap(facts)]
    return alt.layer(*layers).properties(width=340, height=190)


def _points(course: Facts, over: str, index: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """Return amounts along the chosen axis, those of links outside the chain together, and what the axis is called."""
    if over == "votes":
        along, where, unit = (
            [(each["votes"], each) for each in course["points"]],
            "votes, in the order in which they came in",
            1.0,
        )
    else:
        _, unit, name = next(each for each in UNITS if course["seconds"] >= each[0])
        along, where = (
            [(each["at"], each) for each in course["times"]],
            f"{name} since the first vote, pauses included",
        )
    sums: dict[tuple[float, str], float] = {}
    for place, each in along:
        key = place / unit, index[each["link"]]
        sums[key] = sums.get(key, 0.0) + each["amount"]
    return [{"x": place, "link": name, "amount": amount} for (place, name), amount in sums.items()], where


def _cap(facts: Facts) -> "list[alt.Chart]":
    """Return the line of the budget, where it is near enough to be in the picture."""
    import altair as alt  # noqa: PLC0415

    spent = sum(link["cost_usd"] or 0.0 for link in facts["run"]["links"])
    if facts["course"]["unit"] != "USD" or not facts["budget"] or facts["budget"] > 3 * spent:
        return []
    cap = alt.Chart(rows([{"amount": facts["budget"], "said": f"budget {money(facts['budget'])}"}]))
    line = cap.mark_rule(color=colour("bad"), strokeDash=[5, 4]).encode(y="amount:Q")
    words = cap.mark_text(align="left", dx=4, dy=-7, color=colour("bad")).encode(
        y="amount:Q", x=alt.value(0), text="said:N"
    )
    return [line, words]
