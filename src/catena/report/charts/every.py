"""Every chart that a run has figures for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from catena.report.charts.labels import agreement, failures, shares
from catena.report.charts.marks import MOST_CLASSES, Facts
from catena.report.charts.quality import confidence, confusion, coverage, frontier
from catena.report.charts.spend import spend
from catena.report.colours import colour
from catena.report.words import shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Chart", "charts"]


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
        yield _chart("cost-quality", "Accuracy against cost", frontier(facts))
    for at, each in enumerate(facts["confidences"]):
        made = confidence(facts, at)
        if made is not None:
            what = f"How sure {shown(each['link'], 60)} is, and how often it is right at each probability"
            yield _chart(f"confidence-{at + 1}", what, made, at)
    if facts["gold"]:
        if len(facts["labels"]) <= MOST_CLASSES:
            yield _chart("confusion", "Confusion of gold labels and labels of the run", confusion(facts))
        yield _chart("coverage-risk", "Errors among the surest labels", coverage(facts))
    yield _chart("class-shares", "Share of each label", shares(facts))
    if len(facts["run"]["links"]) > 1:
        yield _chart("agreement", "Agreement between links", agreement(facts))
    if any(link["failed_by"] for link in facts["run"]["links"]):
        yield _chart("failures", "Failures by cause", failures(facts))
    yield _chart("spend", "How the cost grew with the votes", spend(facts, "votes"))
    if facts["course"]["times"]:
        yield _chart("spend-over-time", "How the cost grew over time", spend(facts, "times"))


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
