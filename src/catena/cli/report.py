"""catena report: one page about a run."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write this .html file.  [default: RUN/report.html]"
)
@click.option(
    "--figures", type=click.Path(path_type=Path), help="Also write each figure as SVG and PNG here."
)
@click.option(
    "--items",
    type=click.IntRange(0, 500),
    default=24,
    show_default=True,
    help="How many of the items that links disagree about are shown.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws them; resamples for intervals.")
@click.pass_obj
def command(output: Any, run: Path, out: Path | None, figures: Path | None, items: int, seed: int) -> None:
    """Write what there is to see of RUN, finished or not, as one HTML file that needs nothing else.

    The chain as a picture, cost against quality, confidence, classes, agreement, failures, spend, and what is needed to
    do it again. It shows texts of the data: only you can read the file.
    """
    from catena.engine.run import task_of
    from catena.ledger import Ledger
    from catena.report.report import FILE, write_report

    path = out or run / FILE
    _refuse(path, figures, run)
    with Ledger(run) as ledger:
        facts = write_report(ledger, task_of(ledger), path, figures=figures, items=items, seed=seed)
    if not facts["finished"]:
        output.warn(f"{run} is not finished: the report says what there is so far.")
    output.say(f"Report: {path}")
    if figures:
        output.say(f"Figures: {figures}")
    size = path.stat().st_size
    output.result(
        {
            "report": str(path),
            "bytes": size,
            "figures": str(figures) if figures else None,
            "state": facts["state"],
            "gold": facts["gold"],
        }
    )


def _refuse(path: Path, figures: Path | None, run: Path) -> None:
    """Refuse to write over what a run consists of, or into a folder that is not there."""
    from catena.errors import InputError
    from catena.report.report import FILE

    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"{path}: a report is a .html file.", "Choose another --out.")
    if not path.parent.is_dir() and path.parent.resolve() != run.resolve():
        raise InputError(f"{path.parent} is no folder.", "Make it, or choose another --out.")
    inside = path.resolve().parent.is_relative_to(run.resolve()) and path.resolve() != (run / FILE).resolve()
    if inside:
        raise InputError(f"{path} is inside the run's folder, which stays as it is.", "Choose another --out.")
    if figures and figures.resolve().is_relative_to(run.resolve()):
        raise InputError(
            f"{figures} is inside the run's folder, which stays as it is.", "Choose another --figures."
        )
    if figures and figures.exists() and not figures.is_dir():
        raise InputError(f"{figures} is no folder.", "Choose another --figures.")
