"""catena evaluate: how good labels and votes are."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

SHOWN = ("classes", "confusion", "confidence", "agreement", "tests", "all")


@click.command(name="evaluate")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--votes", type=click.Path(path_type=Path), help="Evaluate this vote table instead of a run.")
@click.option("--chain", help="With --votes: links in order, separated by commas, that make the result.")
@click.option("--share", help="With --chain: the share that each link keeps; equal unless said.")
@click.option(
    "--aggregate",
    type=click.Choice(["rank", "last", "minmax"]),
    help="With --chain: the rule that makes the result.  [default: rank]",
)
@click.option(
    "--result",
    type=click.Path(path_type=Path),
    help="With --votes: the result is in this Parquet file (item_id, label, confidence), as catena plan writes it.",
)
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    help="With RUN: what counts as right is in this file (columns id and gold, or label) or vote table DIR[:LINK].",
)
@click.option("--labels", help="Take F1 over these labels only, separated by commas: favor,against.")
@click.option("--by", help="Score each value of this column for itself.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resampling; settles ties.")
@click.option("--show", multiple=True, type=click.Choice(SHOWN), help="Further tables; may be repeated.")
@click.pass_obj
def command(
    output: Any,
    run: Path | None,
    votes: Path | None,
    chain: str | None,
    share: str | None,
    aggregate: str | None,
    result: Path | None,
    gold: Path | None,
    labels: str | None,
    by: str | None,
    seed: int,
    show: tuple[str, ...],
) -> None:
    """Score the labels of RUN, or the vote table in --votes, against gold.

    Each link on what it saw, each rule of aggregation, and the labels as exported. --json holds everything that --show
    shows, and more.
    """
    from catena.cli.scores import further_tables, group_table
    from catena.cli.tables import classes_tables, scores_table
    from catena.errors import InputError
    from catena.evaluate.assess import assess, by_group

    if (run is None) == (votes is None):
        raise InputError("evaluate needs a run, or --votes with a vote table.", "Give one of them.")
    if votes is None and (chain or result or share or aggregate):
        raise InputError("--chain, --share, --aggregate and --result go with --votes.")
    if run is None and gold is not None:
        raise InputError("--gold goes with a run.", "A vote table has its gold in items.parquet.")
    if (share or aggregate) and not chain:
        raise InputError("--share and --aggregate go with --chain.")
    if chain and result:
        raise InputError("The result is that of --chain or that in --result.", "Give one of them.")
    if run is not None:
        judged, values = _of_run(output, run, gold, by)
    else:
        judged, values = _of_votes(output, votes, chain, share, aggregate or "rank", result, by, seed)
    over = _over(labels, judged.labels)
    document = assess(judged, over, seed)
    name = judged.result.name if judged.result else None
    output.say(scores_table(document, name))
    if run is not None and not document["labelled"]:
        output.say(
            f"None of its {document['n']:,} rows has a label: the column 'reason' of the labels says why."
        )
    if values is not None and by is not None:
        document["by"] = by_group(judged, values, by, over)
        output.say(group_table(document["by"]))
    if not output.json:
        output.say(
            *classes_tables(document, output.width), *further_tables(document, show, output.width, output.ink)
        )
        if not show:
            output.say(f"More with --show: {', '.join(SHOWN)}; everything with --json.")
    output.result(document)


def _of_run(output: Any, run: Path, gold: Path | None, by: str | None) -> Any:
    from catena.engine.run import task_of
    from catena.evaluate.given_gold import read_gold
    from catena.evaluate.judged import column_of_run, judged_run
    from catena.ledger import Ledger

    with Ledger(run) as ledger:
        task = task_of(ledger)
        given = None if gold is None else read_gold(gold, ledger.ids(), task.labels)
        judged = judged_run(ledger, task, None if given is None else given.label)
        values = None if by is None else column_of_run(ledger, task, by)
        finished = ledger.get("finished") is not None
    if given is not None and given.others:
        output.warn(f"{gold}: {given.others:,} of its items are none of the run, and do not count.")
    if not finished:
        output.warn(
            f"{run} is not finished: what its votes so far come to is scored, on the "
            f"{int((judged.gold >= 0).sum()):,} rows with gold that have one."
        )
    return judged, values


def _of_votes(
    output: Any,
    folder: Any,
    chain: str | None,
    share: str | None,
    rule: str,
    result: Path | None,
    by: str | None,
    seed: int,
) -> Any:
    from dataclasses import replace

    import numpy as np

    from catena.data.votes import read_votes
    from catena.evaluate.judged_votes import column_of_votes, judged_votes, read_result

    table = read_votes(folder)
    for note in table.notes:
        output.warn(note)
    values = None if by is None else column_of_votes(folder, by)
    names = [name.strip() for name in chain.split(",")] if chain else []
    judged = judged_votes(folder, table, names, share.split(",") if share else None, rule, seed)
    if result is not None:
        found, here = read_result(result, table)
        gold = np.where(here, judged.gold, -1).astype(np.int16)
        judged = replace(judged, result=found, gold=gold)
        if not here.all():
            output.warn(
                f"{result} has labels for {int(here.sum()):,} of {len(here):,} items: only these are scored."
            )
    return judged, values


def _over(labels: str | None, known: tuple[str, ...]) -> list[str]:
    from catena.errors import InputError, places

    names = [name.strip() for name in labels.split(",")] if labels else []
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"--labels: {places(unknown)}: no such label.", f"The labels are {', '.join(known)}."
        )
    return names
