"""catena status: how far a run is."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

WRONG = {"changed": "is not what the run has written", "missing": "is missing"}


@click.command(name="status")
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_obj
def command(output: Any, run: Path) -> None:
    """Say how far RUN is and what it has cost; also while it works in another terminal."""
    from catena.cli.output import counted
    from catena.cli.pictures import progress_bar
    from catena.cli.tables import money
    from catena.engine.results import LABELS_FILE, labels_state
    from catena.engine.run import task_of
    from catena.evaluate.describe import progress_of_run
    from catena.evaluate.people import waiting_for_people
    from catena.ledger import Ledger
    from catena.ledger.lock import holder

    with Ledger(run) as ledger:
        task = task_of(ledger)
        progress = progress_of_run(ledger, task)
        at_work = holder(run)
        labels = labels_state(ledger) if progress["state"] == "finished" and not at_work else None
    waiting = waiting_for_people(run)
    if at_work:
        progress |= {"state": "running", "holder": at_work}
    output.say(f"{run}: {progress['state']}" + (f" ({at_work})" if at_work else ""))
    output.say(f"  {counted(progress['n'], 'row')}")
    for link in progress["links"]:
        rows = progress["n"] if link["expected"] is None else link["expected"]
        output.say(
            f"  {progress_bar(link['answered'], rows, output.ink)} {link['link']}: {link['answered']:,} answered ({link['failed']:,} failed), "
            f"{counted(link['calls'], 'call')}, {money(link['cost_usd'])}"
            + (f", confidence from {link['confidence']}" if "confidence" in link else "")
        )
    for link, count in waiting.items():
        output.say(f"  {link}: {counted(count, 'item')} waiting for people: catena serve {run}")
    if progress["stopped"] and not at_work:
        output.say(f"It stopped because: {progress['stopped']}")
    if labels == "whole":
        output.say(f"Labels: {run / LABELS_FILE}")
    elif labels:
        output.warn(
            f"{run / LABELS_FILE} {WRONG[labels]}: the same catena run command writes it again, without a call."
        )
    elif not at_work:
        output.say("The same catena run command goes on.")
    output.result(progress | {"labels": labels} | ({"waiting_for_people": waiting} if waiting else {}))
