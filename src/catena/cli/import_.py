"""catena import: what people said in another tool, onto the desk of a run."""

from pathlib import Path
from typing import Any

import click

from catena.data.exchange import FORMATS

__all__ = ["command"]


@click.command(name="import")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "name", required=True, type=click.Choice(FORMATS), help="Format of FILE.")
@click.option("--link", help="The link that is people, where there are several.")
@click.pass_obj
def command(output: Any, run: Path, file: Path, name: str, link: str | None) -> None:
    """Take what people said in another tool from FILE: all of it, or nothing. Also while RUN works.

    Items are known by their ids, people by their names. A person's label takes the place of an earlier one of the same
    person, which stays on record. A run at work takes them in at once, otherwise the same catena run command does.
    """
    from catena.cli.output import counted
    from catena.data.exchange import read_given
    from catena.engine.exchange import take_in
    from catena.ledger.lock import holder

    given = read_given(name, file)
    new, counts = take_in(run, given, name, link)
    people = len({each.who for each in given})
    output.say(
        f"{file}: {counted(len(given), 'label')} of {people:,} {'person' if people == 1 else 'people'}, {new:,} of them new.",
        f"Waiting for people: {counted(counts.waiting, 'item')}.",
    )
    if new and holder(run) is None:
        output.say("The same catena run command takes them into the result.")
    output.result(
        {"run": str(run), "labels": len(given), "new": new, "people": people, "waiting": counts.waiting}
    )
