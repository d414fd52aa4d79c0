"""catena run: label a data set with a chain."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command", "run_and_show"]


@click.command(name="run")
@click.argument("task", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run; the same command resumes it.",
)
@click.option(
    "--update",
    is_flag=True,
    help="Go on although rows, prompts or link settings changed; buy only what is new.",
)
@click.option("--fresh", is_flag=True, help="Move an earlier run in this folder aside first.")
@click.option(
    "--retry-failed", is_flag=True, help="Ask again where a link failed for a reason that may have passed."
)
@click.option(
    "--without-people",
    is_flag=True,
    help="Don't wait for people: what they have not labelled takes its label from the links before.",
)
@click.pass_obj
def command(
    output: Any, /, task: Path, data: Path, out: Path, update: bool, fresh: bool, **how: bool
) -> None:
    """Label DATA with the chain of TASK.

    DATA is a .csv, .tsv, .jsonl, .parquet or .arrow file. A killed or stopped run goes on where it was; a finished one
    does nothing; another chain, policy or aggregate re-decides from the votes at hand and buys only those it lacks.
    """
    from catena.errors import InputError
    from catena.task import load_task

    if update and fresh:
        raise InputError(
            "--update goes on with the run that is there, --fresh moves it aside.", "Give one of them."
        )
    run_and_show(output, load_task(task), data, out, update=update, fresh=fresh, **how)


def run_and_show(output: Any, task: Any, data: Path, out: Path, **how: bool) -> None:
    """Run a task and show what it did."""
    from catena.cli.output import counted
    from catena.cli.watch import Watcher
    from catena.engine.run import Run

    watcher = Watcher()
    try:
        with watcher.showing():
            outcome = Run(task, data, out).execute(watch=watcher.begin, **how)
    finally:
        for warning in watcher.warnings:
            output.warn(warning)
    if outcome.stay:
        output.warn(
            f"{counted(outcome.stay, 'failed vote')} not asked again: a certificate counts on them as they are. Another --out would ask."
        )
    if outcome.did_nothing:
        output.say(f"{out} is finished and nothing has changed: nothing to do.")
    elif outcome.reused:
        output.say(f"{outcome.reused:,} votes were taken from the ledger or shared by equal prompts.")
    show(output, out, task)


def show(output: Any, out: Path, task: Any) -> None:
    """Print the tables of a finished run, and where its labels are."""
    from catena.cli.output import counted
    from catena.cli.pictures import flow_picture
    from catena.cli.tables import classes_tables, links_tables, saving_line, scores_table
    from catena.engine.results import LABELS_FILE
    from catena.evaluate.assess import scores_of
    from catena.evaluate.describe import describe_run
    from catena.evaluate.judged import judged_run
    from catena.ledger import Ledger

    with Ledger(out) as ledger:
        run = describe_run(ledger, task)
        output.say(*links_tables(run, output.width))
        if not output.json:
            output.say(*flow_picture(run, output.width, output.ink))
        lines = [saving_line(run)]
        if task.data.gold and any(ledger.gold()):
            judged = judged_run(ledger, task, chances=False)
            scores = scores_of(judged)
            run["scores"] = scores
            tables = classes_tables(scores, output.width)
            output.say("", scores_table(scores, judged.result.name if judged.result else None), *tables)
            right = scores["final"]["accuracy"] if "final" in scores else None
            if right is not None:
                lines.insert(0, f"Right in {right:.1%} of the {counted(scores['gold'], 'row')} with gold.")
        output.say(*lines)
    if unheard := _unheard(run):
        output.warn(unheard)
    if run["failed"]:
        output.say(
            f"{run['failed']:,} of {counted(run['n'], 'row')} without a label; the column 'reason' says why."
        )
    output.say(f"Labels: {out / LABELS_FILE}")
    output.result(run | {"state": "finished", "labels": str(out / LABELS_FILE)})


def _unheard(run: dict[str, Any]) -> str:
    """Say which links were asked for nothing: `rank` takes the surest vote, and theirs have no confidence."""
    if run["aggregate"] != "rank":
        return ""
    voted = [link for link in run["links"][1:] if link["received"] > link["failed"]]
    lost = [link for link in voted if link["kept"] and not link["labels"] and link["confidences"] is None]
    if not lost:
        return ""
    names, kept = " and ".join(link["link"] for link in lost), sum(link["kept"] for link in lost)
    return (
        f"no label is that of {names}, where {kept:,} rows ended: such votes have no confidence, and `aggregate: rank` takes "
        "the surest. Write `aggregate: last`, which buys nothing anew, or give them one: `confidence: auto`."
    )
