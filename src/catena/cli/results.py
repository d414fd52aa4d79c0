"""catena results: a run's labels in other formats, joined to the input; its votes as a vote table."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command", "refuse"]


@click.command(name="results")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the labels to this .parquet, .csv or .jsonl file."
)
@click.option("--join", is_flag=True, help="With all columns of the input before those of the result.")
@click.option("--spreadsheet-safe", is_flag=True, help="In CSV, keep text from being run as a formula.")
@click.option(
    "--votes", type=click.Path(path_type=Path), help="Write all votes as a vote table into this folder."
)
@click.pass_obj
def command(
    output: Any, run: Path, out: Path | None, join: bool, spreadsheet_safe: bool, votes: Path | None
) -> None:
    """Export the labels of RUN, or its votes. Without options, print the first labels and where all are."""
    from catena.cli.output import counted
    from catena.engine.results import LABELS_FILE, check_labels, need_finished, write_labels
    from catena.engine.run import task_of
    from catena.errors import InputError
    from catena.ledger import Ledger
    from catena.ledger.export import export_votes

    if join and not out:
        raise InputError("--join goes with --out: name the file to write.")
    with Ledger(run) as ledger:
        if out:
            refuse(out, run, ledger.get("source"))
        task = task_of(ledger)
        provisional = ledger.get("finished") is None
        if not votes and not (out and ledger.links()):
            need_finished(ledger)
        if out:
            if provisional:
                output.warn(
                    f"{run} is not finished: its labels are provisional. The same catena run command goes on."
                )
            write_labels(ledger, task, out, join, spreadsheet_safe, provisional)
            output.say(f"Labels: {out}")
        if votes:
            counts = export_votes(
                ledger, [spec.name for spec in task.chain], list(task.labels), task.data, votes
            )
            output.say(
                f"Votes: {votes} ({counted(counts['items'], 'item')}, {counted(counts['votes'], 'vote')})"
            )
        if not out and not votes:
            _head(output, check_labels(ledger))
    output.result({"labels": str(out or run / LABELS_FILE), "votes": str(votes) if votes else None})


def refuse(out: Path, run: Path, source: str | None) -> None:
    """Refuse to write over the run, over its input, or into a folder that is not there."""
    from catena.errors import InputError

    if out.resolve().is_relative_to(run.resolve()):
        raise InputError(f"{out} is inside the run's folder, which stays as it is.", "Choose another --out.")
    if source and out.resolve() == Path(source).resolve():
        raise InputError(f"{out} is the input of this run, which stays as it is.", "Choose another --out.")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is no folder.", "Make it, or choose another --out.")


def _head(output: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    from catena.cli.tables import table

    batch = next(pq.ParquetFile(path).iter_batches(10), None)
    rows = batch.to_pylist() if batch else []
    names = list(rows[0]) if rows else []
    cells = [
        ["" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        for row in rows
    ]
    output.say(table(None, names, cells, left=len(names)), f"All of them: {path}")
