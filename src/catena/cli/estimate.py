"""catena estimate: how common each label is, with honest intervals."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="estimate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    help="Gold labels of a random sample of rows: a file (columns id and gold, or label) or a vote table DIR[:LINK]; the run's own gold unless said.",
)
@click.option(
    "--draw",
    type=click.IntRange(min=1),
    help="Draw a random sample of this many rows, for a person to label.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With --draw: write it to this .csv, .jsonl or .parquet file.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="With --draw: draws the sample.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.pass_obj
def command(
    output: Any, run: Path, gold: Path | None, draw: int | None, out: Path | None, seed: int, level: float
) -> None:
    """Estimate the share of each label in RUN from its labels and the gold of a random sample of its rows.

    First draw a sample (--draw 200 --out sample.csv) and have a person fill in its column gold; then estimate (--gold
    sample.csv). Gold that is there for other reasons than chance gives intervals that mean nothing.
    """
    from catena.engine.run import task_of
    from catena.errors import InputError
    from catena.evaluate.sampled import draw_sample, estimate_run
    from catena.ledger import Ledger

    if (draw is None) != (out is None):
        raise InputError("--draw and --out go together: how many rows, and where to write them.")
    if draw and gold:
        raise InputError("--draw makes the file that --gold reads.", "Give one of them.")
    if out and not out.parent.is_dir():
        raise InputError(f"{out.parent} is no folder.", "Make it, or choose another --out.")
    if out and out.exists():
        raise InputError(f"{out} is there already; it may hold somebody's work.", "Choose another --out.")
    with Ledger(run) as ledger:
        task = task_of(ledger)
        if draw and out:
            draw_sample(ledger, task, draw, seed, out)
            document: dict[str, Any] = {"sample": str(out), "n": draw, "seed": seed}
        else:
            document = estimate_run(ledger, task, gold, level)
    output.result(document)
    if draw:
        output.say(
            f"{draw:,} rows drawn at random: {out}. Have every gold cell filled in, then: catena estimate {run} --gold {out}"
        )
    elif not output.json:
        _show(output, document)


def _show(output: Any, document: dict[str, Any]) -> None:
    from catena.cli.tables import table

    rows = [
        [
            each["label"],
            f"{each['share']:.1%}",
            f"{each['low']:.1%} to {each['high']:.1%}",
            f"{each['gold_low']:.1%} to {each['gold_high']:.1%}",
            f"{each['labelled']:.1%}",
        ]
        for each in document["shares"]
    ]
    level = f"{100 * document['level']:g} %"
    names = ["label", "share", f"{level} interval", "from gold alone", "as labelled"]
    output.say(table("How common each label is", names, rows, left=1))
    output.say(
        f"From {document['gold']:,} rows with gold, which must be a random sample, and the labels of all {document['n']:,} rows. "
        f"Gold that was chosen in any other way makes these intervals wrong."
    )
    if document["blank"]:
        output.say(
            f"{document['blank']:,} rows of the sample have no gold: the rest is a random sample only if they were left out "
            "by chance, not because they were hard."
        )
