"""catena review: what waits for people in a run, who has labelled, how far they agree; and going on without them."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="review")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--finish",
    is_flag=True,
    help="Finish without people: what they have not labelled keeps its earlier votes.",
)
@click.option(
    "--gold",
    type=click.IntRange(min=1),
    help="Ask people for gold: so many random rows wait for them, blind.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="With --gold: draws the rows.")
@click.option(
    "--gold-out",
    type=click.Path(path_type=Path),
    help="Write that gold to this .csv, .jsonl or .parquet file (id, gold).",
)
@click.pass_obj
def command(output: Any, run: Path, finish: bool, gold: int | None, seed: int, gold_out: Path | None) -> None:
    """Say what waits for people in RUN, who has labelled how much, and how far they agree. They label with catena serve RUN.

    Also while RUN works. With --finish, the run at work goes on without people; where none is at work, it is finished here.
    """
    from catena.cli.output import counted
    from catena.cli.results import refuse
    from catena.engine.run import go_on
    from catena.errors import InputError
    from catena.evaluate.gold import ask_for_gold, write_gold
    from catena.evaluate.people import people_agreement
    from catena.ledger import Ledger
    from catena.ledger.desk import Desk, desk_of
    from catena.ledger.lock import holder

    with Ledger(run) as ledger:
        if gold_out:
            refuse(gold_out, run, ledger.get("source"))
    if gold:
        ask_for_gold(run, gold, seed)
    desk = desk_of(run)
    if desk is None:
        raise InputError(
            f"{run}: nothing has reached a person yet.", "A link of kind: human makes items wait for one."
        )
    with desk:
        queues = desk.queues()
        if finish:
            for queue in queues:
                desk.finish(queue.name)
    at_work = holder(run)
    if finish and at_work is None:
        go_on(run)
    with Desk(run) as desk:
        found = [
            {
                "link": queue.name,
                "waiting": (counts := desk.counts(queue.number)).waiting,
                "labelled": counts.labelled,
                "people": desk.annotators(queue.number),
                "agreement": people_agreement(desk, queue.number, queue.labels),
            }
            for queue in queues
        ]
    for each in found:
        output.say(*_lines(each))
    if finish:
        output.say("The run goes on without people." if at_work else "The run is finished without people.")
    elif any(each["waiting"] for each in found):
        output.say(f"People label on the page: catena serve {run}")
    if gold_out:
        output.say(f"{gold_out}: gold of {counted(write_gold(run, gold_out), 'row')}.")
    output.result({"run": str(run), "queues": found, "finished": finish and at_work is None})


def _lines(queue: dict[str, Any]) -> list[str]:
    from catena.cli.output import counted

    lines = [f"{queue['link']}: {counted(queue['waiting'], 'item')} waiting, {queue['labelled']:,} labelled"]
    lines += [f"  {who}: {counted(given, 'label')}" for who, given in queue["people"].items()]
    agreement = queue["agreement"]
    if agreement["items"]:
        alpha = "-" if agreement["alpha"] is None else f"{agreement['alpha']:.3f}"
        lines.append(
            f"  alpha {alpha} on {counted(agreement['items'], 'item')} that several people have labelled"
        )
    for pair in agreement["pairs"]:
        kappa = "-" if pair["kappa"] is None else f"{pair['kappa']:.3f}"
        lines.append(
            f"  {pair['people'][0]} and {pair['people'][1]}: kappa {kappa} on {counted(pair['items'], 'item')}"
        )
    return lines
