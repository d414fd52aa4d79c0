"""Charts of how good labels are, and how sure links are of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from catena.report.charts.marks import HALF, LOW, NUMBERED, WIDE, Facts, distinct, links_of, rows
from catena.report.colours import colour, link_colour
from catena.report.places import placed
from catena.report.words import shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["confidence", "confusion", "coverage", "frontier"]


def frontier(facts: Facts) -> "alt.TopLevelMixin":
    """Return accuracy against cost, with the names beside the points."""
    import altair as alt  # noqa: PLC0415

    found, wide, tall = facts["frontier"], WIDE, 330
    points = [
        {
            "name": shown(each["name"], 40) + ("" if each["fair"] else ", on what it saw"),
            "cost": each["cost"],
            "accuracy": each["accuracy"],
            "low": each["accuracy_low"] if each["accuracy_low"] is not None else each["accuracy"],
            "high": each["accuracy_high"] if each["accuracy_high"] is not None else each["accuracy"],
            "kind": each["kind"] if each["fair"] else "saw",
            "colour": link_colour(each["at"]) if "at" in each else colour("ink"),
        }
        for each in found["points"]
    ]
    costs = [each["cost"] for each in points + found["orders"]]
    log = min(costs) > 0 and max(costs) / min(costs) > 15
    edges = [min(costs) / 1.3, max(costs) * 1.3] if log else [0, 1.08 * max(costs) or 1.0]
    ys = [each[key] for each in points for key in ("low", "high")] + [
        each["accuracy"] for each in found["orders"]
    ]
    margin = max(0.02, 0.08 * (max(ys) - min(ys)))
    heights = [max(0.0, min(ys) - margin), min(1.0, max(ys) + margin)]
    title = "USD for all rows" if found["unit"] == "USD" else "votes for all rows (they are free)"
    x = alt.X("cost:Q", scale=alt.Scale(type="log" if log else "linear", domain=edges, nice=False),
              axis=alt.Axis(title=title, format="~s" if found["unit"] == "votes" else "$,~r", tickCount=6, grid=False, labelOverlap=True))  # fmt: skip
    y_scale = alt.Scale(domain=heights, nice=False)
    y = alt.Y(
        "accuracy:Q",
        scale=y_scale,
        axis=alt.Axis(title="accuracy", format=".0%", tickCount=6),
    )
    layers: list[alt.Chart] = []
    if found["orders"]:
        orders = alt.Chart(
            rows([{"cost": each["cost"], "accuracy": each["accuracy"]} for each in found["orders"]])
        )
        layers.append(orders.mark_circle(size=26, color=colour("edge"), opacity=0.55).encode(x=x, y=y))
    base = alt.Chart(rows(points))
    hue = alt.Color("colour:N", scale=None)
    shape = alt.Shape(
        "kind:N",
        legend=None,
        scale=alt.Scale(
            domain=["result", "link", "saw", "paper"], range=["diamond", "circle", "circle", "square"]
        ),
    )
    layers.append(
        base.mark_rule(strokeWidth=1.5, opacity=0.55).encode(
            x=x, y=alt.Y("low:Q", scale=y_scale, title="accuracy"), y2="high:Q", color=hue
        )
    )
    solid = base.transform_filter("datum.kind != 'saw'")
    hollow = base.transform_filter("datum.kind == 'saw'")
    layers.append(solid.mark_point(size=150, filled=True, opacity=1).encode(x=x, y=y, color=hue, shape=shape))
    layers.append(
        hollow.mark_point(size=130, filled=True, strokeWidth=2, fill=colour("surface"), opacity=1).encode(
            x=x, y=y, stroke=alt.Stroke("colour:N", scale=None)
        )
    )
    places = placed(
        [(each["cost"], each["accuracy"], each["name"]) for each in points],
        edges, heights, (wide, tall), log=log,
    )  # fmt: skip
    for each, place in zip(points, places, strict=True):
        text = alt.Chart(rows([each])).mark_text(dx=place.dx, dy=place.dy, align=place.align, baseline="middle", color=colour("ink"),
                                                  fontWeight=600 if each["kind"] == "result" else 400)  # fmt: skip
        layers.append(text.encode(x=x, y=y, text="name:N"))
    return alt.layer(*layers).properties(width=wide, height=tall)


def confidence(facts: Facts, at: int) -> "alt.TopLevelMixin | None":
    """Return the distribution of a link's confidence over its reliability, as far as there are such."""
    import altair as alt  # noqa: PLC0415

    found = facts["confidences"][at]
    calibration = facts["scores"]["links"][at]["calibration"] if facts["gold"] else None
    parts = [_distribution(facts, at)] if found["bins"] else []
    parts += [_reliability(calibration, at)] if calibration else []
    return alt.vconcat(*parts, spacing=14) if parts else None  # type: ignore[arg-type]


def _distribution(facts: Facts, at: int) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    found, last = facts["confidences"][at], at == len(facts["confidences"]) - 1
    kept = "kept" if facts["finished"] else "stand here"
    values = [
        {"low": each["low"], "high": each["high"], "from": start, "to": start + each[key], "what": name}
        for each in found["bins"]
        for key, name, start in (("kept", kept, 0), ("forwarded", "forwarded", each["kept"]))
        if each[key]
    ]
    opacity = alt.Opacity(
        "what:N",
        scale=alt.Scale(domain=[kept, "forwarded"], range=[0.9, 0.35]),
        legend=None if last else alt.Legend(offset=2),
    )
    bars = alt.Chart(rows(values)).mark_rect(color=link_colour(at), stroke=colour("surface"), strokeWidth=0.5)
    x = alt.X(
        "low:Q",
        scale=alt.Scale(domain=[found["bins"][0]["low"], found["bins"][-1]["high"]], nice=False),
        axis=alt.Axis(title="confidence", grid=False, tickCount=6),
    )
    y = alt.Y("from:Q", axis=alt.Axis(title="votes", tickCount=4, format="~s"))
    return alt.layer(bars.encode(x=x, x2="high:Q", y=y, y2="to:Q", opacity=opacity)).properties(
        width=HALF, height=LOW
    )


def _reliability(calibration: Mapping[str, Any], at: int) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    bins = [
        {"p": each["mean_probability"], "right": each["hit_rate"], "n": each["n"]}
        for each in calibration["bins"]
        if each["n"]
    ]
    scale = alt.Scale(domain=[0, 1])
    x = alt.X(
        "p:Q",
        scale=scale,
        axis=alt.Axis(title="probability that the link gives its label", format=".0%", tickCount=5),
    )
    y = alt.Y("right:Q", scale=scale, axis=alt.Axis(title="of these, right", format=".0%", tickCount=5))
    ideal = alt.Chart(rows([{"p": 0, "right": 0}, {"p": 1, "right": 1}])).mark_line(
        color=colour("edge"), strokeDash=[4, 4], strokeWidth=1
    )
    base = alt.Chart(rows(bins))
    line = base.transform_filter(f"datum.n >= {max(5, 0.002 * calibration['n'])}").mark_line(
        color=link_colour(at), strokeWidth=1.5, opacity=0.6
    )
    dots = base.mark_circle(color=link_colour(at), opacity=1, stroke=colour("surface"), strokeWidth=1)
    size = alt.Size("n:Q", scale=alt.Scale(range=[18, 260], domainMin=0), legend=None)
    layers = (ideal.encode(x=x, y=y), line.encode(x=x, y=y), dots.encode(x=x, y=y, size=size))
    return alt.layer(*layers).properties(width=HALF, height=HALF * 0.62)


def confusion(facts: Facts) -> "alt.TopLevelMixin":
    """Return the matrix of gold and given labels, shaded by the share of each gold label."""
    import altair as alt  # noqa: PLC0415

    names, matrix = distinct(facts["labels"], 22), facts["scores"]["final"]["confusion"]
    unlabelled = any(row[-1] for row in matrix)
    columns = [*names, "no label"] if unlabelled else names
    cells = [
        {"gold": gold, "given": given, "n": n, "share": n / sum(row)}
        for gold, row in zip(names, matrix, strict=True)
        for given, n in zip(columns, row, strict=False)
        if n
    ]
    side = max(14, min(54, 560 // len(columns)))
    x = alt.X(
        "given:N",
        sort=None,
        scale=alt.Scale(domain=columns),
        axis=alt.Axis(
            title="label of the run",
            orient="top",
            grid=False,
            domain=False,
            ticks=False,
            labelAngle=-40 if len(columns) > 4 or max(map(len, columns)) > 8 else 0,
            labelLimit=130,
        ),
    )
    y = alt.Y(
        "gold:N",
        sort=None,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(title="gold", grid=False, domain=False, ticks=False),
    )
    base = alt.Chart(rows(cells))
    opacity = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    layers = [
        base.mark_rect(color=colour("accent"), stroke=colour("surface")).encode(x=x, y=y, opacity=opacity)
    ]
    if len(columns) <= NUMBERED:
        layers.append(
            base.mark_text(color=colour("ink"), fontSize=11).encode(
                x=x, y=y, text=alt.Text("n:Q", format=",")
            )
        )
    return alt.layer(*layers).properties(width=side * len(columns), height=min(side, 34) * len(names))


def coverage(facts: Facts) -> "alt.TopLevelMixin":
    """Return how many labels are wrong among the surest ones, for each link and the result."""
    import altair as alt  # noqa: PLC0415

    names, scale = links_of(facts)
    of = [*zip(names, facts["scores"]["links"], strict=True), ("the result", facts["scores"]["final"])]
    values = [
        {"coverage": coverage, "risk": risk, "of": name}
        for name, scores in of
        if scores["coverage_risk"]
        for coverage, risk in zip(
            scores["coverage_risk"]["coverage"], scores["coverage_risk"]["risk"], strict=True
        )
    ]
    x = alt.X(
        "coverage:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(title="the surest share of the labels", format=".0%", tickCount=5),
    )
    y = alt.Y("risk:Q", axis=alt.Axis(title="of these, wrong", format=".0%", tickCount=5))
    lines = alt.Chart(rows(values)).mark_line(strokeWidth=2)
    hue = alt.Color("of:N", scale=scale, legend=alt.Legend(columns=2))
    dash = alt.StrokeDash(
        "of:N", scale=alt.Scale(domain=scale.domain, range=[[1, 0]] * len(names) + [[6, 3]]), legend=None
    )
    return alt.layer(lines.encode(x=x, y=y, color=hue, strokeDash=dash)).properties(width=HALF, height=230)
