"""catena status: how far a run is."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="status")
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_obj
def command(output: Any, run: Path) -> None:
    """Say how far RUN is and what it has cost; also while it works in another terminal."""
    from catena.cli.run import show
    from catena.cli.tables import money
    from catena.engine.run import task_of
    from catena.evaluate.describe import progress_of_run
    from catena.ledger import Ledger

    ledger = Ledger(run)
    try:
        task = task_of(ledger)
        progress = progress_of_run(ledger, task)
    finally:
        ledger.close()
    if progress["state"] == "finished":
        show(output, run, task)
        return
    output.say(
        f"{run}: {progress['state']}"
        + (f" ({progress['stopped']})" if progress["stopped"] else "")
        + f", {progress['n']:,} rows"
    )
    for link in progress["links"]:
        output.say(
            f"  {link['link']}: {link['answered']:,} answered ({link['failed']:,} failed), "
            f"{link['calls']:,} calls, {money(link['cost_usd'])}"
        )
    output.say("The same catena run command goes on.")
    output.result(progress)
