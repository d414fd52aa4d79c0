"""The report of a run: one HTML file that needs nothing else, and its figures as files."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from catena.data.tables import replacing
from catena.ledger import Ledger
from catena.report.charts import MOST_CLASSES, charts
from catena.report.colours import follow_the_page, link_class
from catena.report.draw import cleaned, need_extra, png, svg
from catena.report.facts import facts_of_run
from catena.report.flow import flow
from catena.report.origin import hidden
from catena.report.pages import environment, look, style_hash
from catena.task import TaskSpec

__all__ = ["FILE", "write_report"]

FILE = "report.html"
SIZES = """
figure > .scroll { margin: 0; }
figure > .scroll > svg { display: block; margin: 0 auto; }
figure.shrinks > .scroll > svg { max-width: 100%; height: auto; }
figure.quality > .scroll > svg { min-width: 31rem; max-width: 100%; height: auto; }
figure.flow > .scroll > svg { min-width: 38rem; max-width: 100%; height: auto; }
.conflict { margin: 0 0 1.25rem; }
.conflict table { width: 100%; }
.conflict .scroll { margin: 0; }
.conflict th { min-width: 7rem; }
td.name { min-width: 9rem; overflow-wrap: anywhere; }
@media print { figure > .scroll > svg, td.name, .conflict th { min-width: 0 !important; } }
"""


def write_report(
    ledger: Ledger,
    task: TaskSpec,
    path: Path,
    *,
    figures: Path | None = None,
    items: int = 24,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the report of a run, finished or not; returns what it tells, as plain data.

    The file is whole or not there, and only its owner can read it.

    Args:
        ledger: Of the run.
        task: The run's.
        path: The HTML file.
        figures: A folder for each figure as SVG and PNG; made where it is missing.
        items: How many of the items that links disagree about are shown.
        seed: Draws them, and resamples for intervals.

    Raises:
        MissingExtraError: The extra `report` is not installed.
    """
    need_extra()
    facts = facts_of_run(ledger, task, items=items, seed=seed)
    whole = {"flow": flow(facts)}
    made = list(charts(facts))
    whole |= {chart.name: svg(chart.spec) for chart in made}
    labels = {"flow": "The chain: what each link received, kept, forwarded, failed and cost"}
    labels |= {chart.name: chart.label for chart in made}
    style = f"{look()}{follow_the_page()}{SIZES}"
    page = _template().render(
        facts=facts,
        style=Markup(style),  # noqa: S704 - our own
        style_hash=style_hash(style),
        pictures={
            name: Markup(cleaned(picture, f"{name}-", labels[name]))  # noqa: S704 - put together anew
            for name, picture in whole.items()
        },
        link_class=link_class,
        hue={link["link"]: link_class(at) for at, link in enumerate(facts["run"]["links"])},
        most_classes=MOST_CLASSES,
    )  # fmt: skip
    _write(path, hidden(page, task).encode("utf-8", "replace"))
    if figures is not None:
        _write_figures(figures, whole, task)
    return facts


@lru_cache(maxsize=1)
def _template() -> Template:
    return environment().get_template("report.html.jinja")


def _write_figures(folder: Path, pictures: Mapping[str, str], task: TaskSpec) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, picture in pictures.items():
        text = hidden(picture, task)
        _write(folder / f"{name}.svg", text.encode("utf-8", "replace"))
        _write(folder / f"{name}.png", png(text))


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
