"""Charts of what links say: shares of labels, agreement, failures."""

from typing import TYPE_CHECKING

from catena.report.charts.marks import MOST_CLASSES, Facts, distinct, links_of, rows
from catena.report.colours import colour
from catena.report.words import share

if TYPE_CHECKING:
    import altair as alt

__all__ = ["agreement", "failures", "shares"]


def shares(facts: Facts) -> "alt.TopLevelMixin":
    """Return how labels are shared out in gold, the result, and the votes of each link."""
    import altair as alt  # noqa: PLC0415

    names, scale = links_of(facts)
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
    points = alt.Chart(rows(values)).mark_point(filled=True, size=85, opacity=0.85)
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


def agreement(facts: Facts) -> "alt.TopLevelMixin":
    """Return how often two links give one label, and kappa."""
    import altair as alt  # noqa: PLC0415

    names, _ = links_of(facts)
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
    base = alt.Chart(rows(cells))
    opacity = alt.Opacity("same:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    layers = [
        base.mark_rect(color=colour("accent"), stroke=colour("surface"), strokeWidth=2).encode(
            x=x, y=y, opacity=opacity
        )
    ]
    layers.append(base.mark_text(color=colour("ink"), fontSize=11).encode(x=x, y=y, text="said:N"))
    return alt.layer(*layers).properties(width=108 * (len(names) - 1), height=38 * (len(names) - 1))


def failures(facts: Facts) -> "alt.TopLevelMixin":
    """Return how many rows each link has no label for, by cause."""
    import altair as alt  # noqa: PLC0415

    names, scale = links_of(facts)
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
    bars = alt.Chart(rows(values)).mark_bar(size=18, stroke=colour("surface"), strokeWidth=1)
    return alt.layer(bars.encode(x=x, y=y, color=hue)).properties(width=400, height=max(40, 30 * reasons))
