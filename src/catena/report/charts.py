"""The charts of a report as Vega-Lite, in the colours of the look in light; each has its data in it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from catena.report.colours import colour, link_colour
from catena.report.places import placed
from catena.report.words import money, share, shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Chart", "charts"]

Facts = Mapping[str, Any]

WIDE, HALF, LOW = 640, 330, 150
MOST_CLASSES = 40  # rows of a picture of classes; a matrix is drawn up to this many
NUMBERED = 16  # labels up to which the cells of a matrix have their count written in
LONGEST = 28


class Chart(NamedTuple):
    """One chart.

    Args:
        name: Of its file.
        label: What it shows, for those who don't see it.
        spec: Vega-Lite.
        link: Place in the chain, where it is about one link.
    """

    name: str
    label: str
    spec: dict[str, Any]
    link: int | None = None


def charts(facts: Facts) -> Iterator[Chart]:
    """Yield every chart that a run has figures for."""
    if facts["frontier"] and facts["frontier"]["points"]:
        yield _chart("cost-quality", "Accuracy against cost", _frontier(facts))
    for at, each in enumerate(facts["confidences"]):
        made = _confidence(facts, at)
        if made is not None:
            what = f"How sure {shown(each['link'], 60)} is, and how often it is right at each probability"
            yield _chart(f"confidence-{at + 1}", what, made, at)
    if facts["gold"]:
        if len(facts["labels"]) <= MOST_CLASSES:
            yield _chart("confusion", "Confusion of gold labels and labels of the run", _confusion(facts))
        yield _chart("coverage-risk", "Errors among the surest labels", _coverage(facts))
    yield _chart("class-shares", "Share of each label", _shares(facts))
    if len(facts["run"]["links"]) > 1:
        yield _chart("agreement", "Agreement between links", _agreement(facts))
    if any(link["failed_by"] for link in facts["run"]["links"]):
        yield _chart("failures", "Failures by cause", _failures(facts))
    if len(facts["course"]["points"]) > len(facts["course"]["links"]):
        yield _chart("spend", "How the cost grew with the votes", _spend(facts))


def _chart(name: str, label: str, made: "alt.TopLevelMixin", link: int | None = None) -> Chart:
    ink, muted, line, edge = (colour(each) for each in ("ink", "muted", "line", "edge"))
    words = {"labelColor": muted, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    axis = {
        **words,
        "titleFontWeight": "normal",
        "gridColor": line,
        "domainColor": edge,
        "tickColor": edge,
        "labelLimit": 190,
        "labelFlush": False,
    }
    config = {
        "background": colour("surface"),
        "aria": False,
        "padding": 8,
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "legend": {**words, "orient": "top", "title": None, "labelLimit": 190, "symbolStrokeWidth": 2},
        "header": words,
        "title": {"color": ink, "fontSize": 13, "anchor": "start", "subtitleColor": muted, "subtitleFontSize": 12},
        "text": {"fontSize": 12, "color": ink},
    }  # fmt: skip
    return Chart(name, label, {**made.to_dict(validate=False), "config": config}, link)


def _rows(values: Sequence[Mapping[str, Any]]) -> "alt.Data":
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


def _links(facts: Facts) -> "tuple[list[str], alt.Scale]":
    """Return the links' names as shown, and the scale of their colours with the result's."""
    import altair as alt  # noqa: PLC0415

    names = distinct([link["link"] for link in facts["run"]["links"]])
    colours = [link_colour(at) for at in range(len(names))]
    return names, alt.Scale(domain=[*names, "the result"], range=[*colours, colour("ink")])


def _frontier(facts: Facts) -> "alt.TopLevelMixin":
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
              axis=alt.Axis(title=title, format="~s" if found["unit"] == "votes" else "$~g", tickCount=6, grid=False, labelOverlap=True))  # fmt: skip
    y = alt.Y(
        "accuracy:Q",
        scale=alt.Scale(domain=heights, nice=False),
        axis=alt.Axis(title="accuracy", format=".0%", tickCount=6),
    )
    layers: list[alt.Chart] = []
    if found["orders"]:
        orders = alt.Chart(
            _rows([{"cost": each["cost"], "accuracy": each["accuracy"]} for each in found["orders"]])
        )
        layers.append(orders.mark_circle(size=26, color=colour("edge"), opacity=0.55).encode(x=x, y=y))
    base = alt.Chart(_rows(points))
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
            x=x, y=alt.Y("low:Q", title="accuracy"), y2="high:Q", color=hue
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
        text = alt.Chart(_rows([each])).mark_text(dx=place.dx, dy=place.dy, align=place.align, baseline="middle", color=colour("ink"),
                                                  fontWeight=600 if each["kind"] == "result" else 400)  # fmt: skip
        layers.append(text.encode(x=x, y=y, text="name:N"))
    return alt.layer(*layers).properties(width=wide, height=tall)


def _confidence(facts: Facts, at: int) -> "alt.TopLevelMixin | None":
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
    bars = alt.Chart(_rows(values)).mark_rect(
        color=link_colour(at), stroke=colour("surface"), strokeWidth=0.5
    )
    x = alt.X(
        "low:Q",
        scale=alt.Scale(zero=False, nice=False),
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
    ideal = alt.Chart(_rows([{"p": 0, "right": 0}, {"p": 1, "right": 1}])).mark_line(
        color=colour("edge"), strokeDash=[4, 4], strokeWidth=1
    )
    base = alt.Chart(_rows(bins))
    line = base.transform_filter(f"datum.n >= {max(5, 0.002 * calibration['n'])}").mark_line(
        color=link_colour(at), strokeWidth=1.5, opacity=0.6
    )
    dots = base.mark_circle(color=link_colour(at), opacity=1, stroke=colour("surface"), strokeWidth=1)
    size = alt.Size("n:Q", scale=alt.Scale(range=[18, 260], domainMin=0), legend=None)
    layers = (ideal.encode(x=x, y=y), line.encode(x=x, y=y), dots.encode(x=x, y=y, size=size))
    return alt.layer(*layers).properties(width=HALF, height=HALF * 0.62)


def _confusion(facts: Facts) -> "alt.TopLevelMixin":
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
    base = alt.Chart(_rows(cells))
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


def _coverage(facts: Facts) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    names, scale = _links(facts)
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
    lines = alt.Chart(_rows(values)).mark_line(strokeWidth=2)
    hue = alt.Color("of:N", scale=scale, legend=alt.Legend(columns=2))
    dash = alt.StrokeDash(
        "of:N", scale=alt.Scale(domain=scale.domain, range=[[1, 0]] * len(names) + [[6, 3]]), legend=None
    )
    return alt.layer(lines.encode(x=x, y=y, color=hue, strokeDash=dash)).properties(width=HALF, height=230)


def _shares(facts: Facts) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    names, scale = _links(facts)
    labels = distinct(facts["labels"])
    index = {link["link"]: name for link, name in zip(facts["run"]["links"], names, strict=True)}
    series = [
        (
            index[each["link"]]
            if each["of"] == "link"
            else {"gold": "gold", "result": "the result"}[each["of"]],
            each,
        )
        for each in facts["shares"]
    ]
    order = sorted(
        range(len(labels)),
        key=lambda k: (
            -max((each["shares"][k] for name, each in series if name in {"gold", "the result"}), default=0.0)
        ),
    )
    chosen = sorted(order[:MOST_CLASSES])
    values = [
        {"label": labels[k], "share": each["shares"][k], "of": name} for name, each in series for k in chosen
    ]
    whose = [name for name, _ in series]
    colours = dict(zip(scale.domain, scale.range, strict=True)) | {"gold": colour("good")}
    shapes = {"gold": "square", "the result": "diamond"}
    x = alt.X("share:Q", axis=alt.Axis(title="share of the labels", format=".0%", tickCount=5))
    y = alt.Y("label:N", sort=None, axis=alt.Axis(title=None, grid=True, domain=False, ticks=False))
    points = alt.Chart(_rows(values)).mark_point(filled=True, size=85, opacity=0.85)
    hue = alt.Color(
        "of:N",
        scale=alt.Scale(domain=whose, range=[colours[name] for name in whose]),
        legend=alt.Legend(columns=2),
    )
    shape = alt.Shape(
        "of:N", scale=alt.Scale(domain=whose, range=[shapes.get(name, "circle") for name in whose])
    )
    return alt.layer(points.encode(x=x, y=y, color=hue, shape=shape)).properties(
        width=250, height=max(70, 26 * len(chosen))
    )


def _agreement(facts: Facts) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    names, _ = _links(facts)
    index = {link["link"]: name for link, name in zip(facts["run"]["links"], names, strict=True)}
    cells = [
        {
            "a": index[each["links"][0]],
            "b": index[each["links"][1]],
            "same": each["same"],
            "said": f"{share(each['same'])}" + ("" if each["kappa"] is None else f"  κ {each['kappa']:.2f}"),
        }
        for each in facts["agreement"]
        if each["n"]
    ]
    cells = cells or [{"a": names[0], "b": names[1], "same": 0, "said": "none in common"}]
    x = alt.X(
        "a:N",
        sort=None,
        scale=alt.Scale(domain=names[:-1]),
        axis=alt.Axis(
            title=None,
            grid=False,
            domain=False,
            ticks=False,
            labelAngle=0 if len(names) < 5 else -30,
            labelLimit=110,
        ),
    )
    y = alt.Y(
        "b:N",
        sort=None,
        scale=alt.Scale(domain=names[1:]),
        axis=alt.Axis(title=None, grid=False, domain=False, ticks=False),
    )
    base = alt.Chart(_rows(cells))
    opacity = alt.Opacity("same:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    layers = [
        base.mark_rect(color=colour("accent"), stroke=colour("surface"), strokeWidth=2).encode(
            x=x, y=y, opacity=opacity
        )
    ]
    layers.append(base.mark_text(color=colour("ink"), fontSize=11).encode(x=x, y=y, text="said:N"))
    return alt.layer(*layers).properties(width=108 * (len(names) - 1), height=38 * (len(names) - 1))


def _failures(facts: Facts) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    names, scale = _links(facts)
    values = [
        {"reason": each["reason"].replace("_", " "), "rows": each["rows"], "link": name}
        for name, link in zip(names, facts["run"]["links"], strict=True)
        for each in link["failed_by"]
    ]
    reasons = len({each["reason"] for each in values})
    x = alt.X(
        "rows:Q",
        axis=alt.Axis(title="rows without a label of the link", format="~s", tickMinStep=1, tickCount=5),
    )
    y = alt.Y("reason:N", sort="-x", axis=alt.Axis(title=None, grid=False, ticks=False))
    hue = alt.Color(
        "link:N",
        scale=scale,
        legend=alt.Legend(columns=2, values=[n for n in names if any(v["link"] == n for v in values)]),
    )
    bars = alt.Chart(_rows(values)).mark_bar(size=18, stroke=colour("surface"), strokeWidth=1)
    return alt.layer(bars.encode(x=x, y=y, color=hue)).properties(width=400, height=max(40, 30 * reasons))


def _spend(facts: Facts) -> "alt.TopLevelMixin":
    import altair as alt  # noqa: PLC0415

    course = facts["course"]
    names, scale = _links(facts)
    index = {link["link"]: name for link, name in zip(facts["run"]["links"], names, strict=True)}
    others = [name for name in course["links"] if name not in index]
    index |= dict.fromkeys(others, "outside the chain")
    domain, colours = (
        [*names, *(["outside the chain"] if others else [])],
        [*scale.range[:-1], *([colour("edge")] if others else [])],
    )
    values: dict[tuple[int, str], float] = {}
    for each in course["points"]:
        key = each["votes"], index[each["link"]]
        values[key] = values.get(key, 0.0) + each["amount"]
    points = [{"votes": votes, "link": name, "amount": amount} for (votes, name), amount in values.items()]
    points += [
        {"votes": 0, "link": name, "amount": 0.0} for name in {index[name] for name in course["links"]}
    ]
    title = {"USD": "USD so far", "tokens": "tokens so far", "votes": "votes so far"}[course["unit"]]
    x = alt.X(
        "votes:Q",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(
            title="votes, in the order in which they came in", format="~s", tickCount=6, grid=False
        ),
    )
    y = alt.Y(
        "amount:Q",
        stack="zero",
        axis=alt.Axis(title=title, format="$~g" if course["unit"] == "USD" else "~s", tickCount=5),
    )
    hue = alt.Color("link:N", scale=alt.Scale(domain=domain, range=colours), legend=alt.Legend(columns=2))
    area = alt.Chart(_rows(points)).mark_area(opacity=0.75, interpolate="linear")
    layers = [area.encode(x=x, y=y, color=hue, order=alt.Order("link:N"))]
    if (
        course["unit"] == "USD"
        and facts["budget"]
        and facts["budget"] <= 3 * max(1e-12, sum(link["cost_usd"] or 0 for link in facts["run"]["links"]))
    ):
        cap = alt.Chart(_rows([{"amount": facts["budget"], "said": f"budget {money(facts['budget'])}"}]))
        layers.append(cap.mark_rule(color=colour("bad"), strokeDash=[5, 4]).encode(y="amount:Q"))
        layers.append(
            cap.mark_text(align="left", dx=4, dy=-7, color=colour("bad")).encode(
                y="amount:Q", x=alt.value(0), text="said:N"
            )
        )
    return alt.layer(*layers).properties(width=400, height=200)
