"""The charts of a report as Vega-Lite, in the colours of the look in light; each has its data in it."""

from catena.report.charts.every import Chart, charts
from catena.report.charts.marks import MOST_CLASSES, distinct

__all__ = ["MOST_CLASSES", "Chart", "charts", "distinct"]
