"""catena export: a run's items with suggestions and labels, for another tool in which people label."""

from pathlib import Path
from typing import Any

import click

from catena.data.exchange import FORMATS

__all__ = ["command"]


@click.command(name="export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "name", required=True, type=click.Choice(FORMATS), help="Format of FILE.")
@click.option(
    "--only",
    type=click.Choice(["waiting", "disagreeing"]),
    help="Only items that wait for people, or those on which votes differ.  [default: all]",
)
@click.pass_obj
def command(output: Any, run: Path, file: Path, name: str, only: Any) -> None:
    """Write the items of RUN into FILE for another tool: what links said as suggestions, what people said as labels.

    label-studio and argilla are JSON, crowd-kit is CSV with task, worker, label. `catena import` reads them back.
    """
    from collections.abc import Iterator

    from catena.cli.output import counted
    from catena.cli.results import refuse
    from catena.data.exchange import Outgoing, write_outgoing
    from catena.engine.exchange import outgoing
    from catena.engine.run import task_of
    from catena.ledger import Ledger

    items = labels = 0

    def counting(found: Iterator[Outgoing]) -> Iterator[Outgoing]:
        nonlocal items, labels
        for each in found:
            items, labels = items + 1, labels + len(each.given)
            yield each

    with Ledger(run) as ledger:
        refuse(file, run, ledger.get("source"))
        write_outgoing(name, file, counting(outgoing(ledger, only or "all")), list(task_of(ledger).labels))
    output.say(f"{file}: {counted(items, 'item')}, {counted(labels, 'label')} of people.")
    output.result({"run": str(run), "file": str(file), "to": name, "items": items, "people_labels": labels})
