"""catena plan: a chain chosen from a pilot, with what it will cost and how good it will be."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="plan")
@click.argument("source", metavar="VOTES|TASK", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With TASK and DATA: the run's folder, whose ledger keeps the pilot.",
)
@click.option(
    "--pilot",
    help="How many items, or (with VOTES) a file of item_ids.  [default: 300; with TASK a tenth, 100 to 300]",
)
@click.option(
    "--reference",
    help="What counts as right: gold, a link, dearest, or (with TASK) a vote table DIR[:LINK].  [default: gold; with TASK "
    "where 100 rows have it, otherwise people or the dearest link]",
)
@click.option("--budget", help="25usd, 2.5usd/1k, 0.5x:LINK, or 0.5x of the best single link.  [default: 1x]")
@click.option("--target", help="Take the cheapest plan expected to reach it: accuracy=0.85, agreement=0.9.")
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "macro_f1", "agreement"]),
    default="accuracy",
    help="What to choose by.",
)
@click.option("--links", type=click.IntRange(1), help="How many links a chain may have.  [default: all]")
@click.option(
    "--seed", type=int, help="Draws the pilot and settles ties.  [default: 0; with TASK the task's]"
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="With VOTES: write the labels of all other items here."
)
@click.option(
    "--task",
    type=click.Path(path_type=Path),
    help="Write the plan as a task file here.  [with TASK: OUT/plan.yaml]",
)
@click.pass_obj
def command(output: Any, /, source: Path, data: Path | None, out: Path | None, **asked: Any) -> None:
    """Choose a chain from a pilot: the best for a budget, or the cheapest for a target.

    With TASK and DATA, every link of the task is asked about a random pilot, into the ledger of --out; the later catena run
    with the written plan takes those votes from there. With VOTES, a recorded vote table, the plan is made on a pilot with
    gold and then run on all other items; only the pilot is seen while planning, and nothing is written into the table.
    """
    from catena.errors import InputError
    from catena.evaluate.budget import parse_budget, parse_target

    money, aim = asked.pop("budget"), asked.pop("target")
    budget = None if money is None else parse_budget(money)
    target = None if aim is None else parse_target(aim)
    if source.is_dir() != (data is None):
        raise InputError(
            f"{source} is {'a folder of votes: it takes no DATA' if source.is_dir() else 'no folder of votes'}.",
            "Write catena plan TASK DATA --out RUN, or catena plan VOTES.",
        )
    if data is None:
        if out is not None:
            raise InputError("--out goes with TASK and DATA.", "catena plan TASK DATA --out RUN")
        _plan_recorded(output, source, budget, target, **asked)
        return
    if out is None or asked.pop("labels") is not None:
        raise InputError(
            "with TASK and DATA, --out is needed and --labels does nothing.",
            "Name the run's folder: --out RUN",
        )
    _plan_live(output, source, data, out, budget, target, **asked)


def _plan_recorded(
    output: Any,
    votes: Path,
    budget: Any,
    target: Any,
    *,
    pilot: str | None,
    reference: str | None,
    metric: str,
    links: int | None,
    seed: int | None,
    labels: Path | None,
    task: Path | None,
) -> None:
    """Plan on recorded votes, then run the plan on the other items."""
    from dataclasses import replace

    import numpy as np

    from catena.cli.output import refuse_target
    from catena.cli.planned import show_held_out, show_plan, warn_of_plan
    from catena.data.distributions import read_logprobs
    from catena.data.votes import read_votes
    from catena.errors import InputError
    from catena.evaluate.pilot import choose_pilot, dearest, take
    from catena.evaluate.plan import Planner, held_out
    from catena.evaluate.planned import write_planned, write_planned_labels
    from catena.evaluate.summary import summary
    from catena.routing import ties

    for file, option in ((labels, "--labels"), (task, "--task")):
        refuse_target(file, votes, option)
    seed = seed or 0
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    metric = target.metric if target else metric
    compared = None
    if metric == "agreement" or reference is not None:
        metric, compared = "agreement", reference or dearest(table)
        table = replace(table, gold=table.chain([compared]).label[0])
    logprobs = read_logprobs(votes, table)
    rows = choose_pilot(table, pilot or "300", seed)
    rest = np.setdiff1d(np.arange(len(table)), rows)
    if not len(rest):
        raise InputError(
            f"--pilot {pilot or 300}: all {len(rows):,} items are in it: none is left to plan for.",
            "Take a smaller pilot.",
        )
    sample = take(table, logprobs, rows, ties(table.item_ids.tolist(), seed))
    planner = Planner(sample, len(rest), seed, metric, compared, links)
    budget = _usual(budget, target, planner)
    plan = planner.plan(budget, target)
    others, decided, figures = held_out(plan, table, logprobs, rest)
    if labels:
        write_planned_labels(plan.planned, others, decided, labels)
    if task:
        write_planned(plan.planned, votes, task)
    document = summary(planner, plan, planner.frontier(budget), others, figures)
    warn_of_plan(output, plan, document)
    output.result(document)
    if not output.json:
        show_plan(output, document)
        show_held_out(output, document)


def _plan_live(
    output: Any,
    source: Path,
    data: Path,
    out: Path,
    budget: Any,
    target: Any,
    *,
    pilot: str | None,
    reference: str | None,
    metric: str,
    links: int | None,
    seed: int | None,
    task: Path | None,
) -> None:
    """Ask all links about a pilot, plan on it, and write the plan down ready to run."""
    from catena.cli.planned import show_plan, warn_of_plan
    from catena.cli.watch import Watcher
    from catena.engine.run import Run
    from catena.errors import InputError
    from catena.evaluate.live import ask_pilot
    from catena.evaluate.plan import Planner
    from catena.evaluate.planned import write_planned_task
    from catena.evaluate.summary import summary
    from catena.task import load_task

    if pilot is not None and not pilot.isdecimal():
        raise InputError(
            f"--pilot {pilot}: with TASK and DATA it is a number.", "Leave it out for a tenth of the rows."
        )
    if task and not task.parent.is_dir():
        raise InputError(f"{task.parent} is no folder.", "Make it, or choose another --task.")
    given = load_task(source)
    if reference is None and "agreement" in (metric, target.metric if target else ""):
        reference = "dearest"
    seed = given.seed if seed is None else seed
    watcher = Watcher()
    run = Run(given, data, out)
    try:
        with watcher.showing():
            found = ask_pilot(
                run,
                size=int(pilot) if pilot else None,
                reference=reference,
                keep=(budget.link if budget else None) or "",
                seed=seed,
                watch=watcher.begin,
            )
    finally:
        for warning in watcher.warnings:
            output.warn(warning)
    metric = "agreement" if found.compared else target.metric if target else metric
    rest = found.rows - len(found.sample)
    if not rest:
        output.warn("all rows are in the pilot: the plan is for as many others like them.")
    planner = Planner(found.sample, rest or found.rows, seed, metric, found.compared or None, links)
    budget = _usual(budget, target, planner)
    plan = planner.plan(budget, target)
    file = task or out / "plan.yaml"
    write_planned_task(given, plan.planned, file)
    document = summary(planner, plan, planner.frontier(budget))
    document["pilot"]["cost_usd"] = found.cost_usd
    document |= {
        "measured_by": found.reference.said(found.compared),
        "dropped": list(found.dropped),
        "task": str(file),
    }
    warn_of_plan(output, plan, document)
    output.result(document)
    if not output.json:
        if found.dropped:
            output.say(
                f"Dropped early, surely worse than a link that costs no more: {', '.join(found.dropped)}."
            )
        if found.reference.kind != "gold":
            output.say(f"Accuracy below is agreement with {document['measured_by']}.")
        show_plan(output, document)
        output.say(
            f"Run it; the votes of the pilot are not bought again: catena run {file} {data} --out {out}"
        )


def _usual(budget: Any, target: Any, planner: Any) -> Any:
    """Return the budget; where neither it nor a target was asked for, what the best link costs, or any where all are free."""
    from catena.evaluate.budget import parse_budget

    if budget or target:
        return budget
    return parse_budget("1x" if planner.paid.any() else "1usd/1k")
