"""catena evaluate: how good a run's labels are."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_obj
def command(output: Any, run: Path) -> None:
    """Score RUN against its gold: each link on what it saw, each aggregate, and the labels as exported."""
    from catena.cli.tables import classes_tables, scores_table
    from catena.engine.run import task_of
    from catena.evaluate.describe import evaluate_run
    from catena.ledger import Ledger

    with Ledger(run) as ledger:
        task = task_of(ledger)
        scores = evaluate_run(ledger, task)
    output.say(scores_table(scores, task.aggregate), *classes_tables(scores, output.width))
    output.result(scores)
