"""catena plan: a chain chosen from a pilot, with what it will cost and how good it will be."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="plan")
@click.argument("votes", type=click.Path(path_type=Path))
@click.option("--pilot", default="300", show_default=True, help="How many items, or a file of item_ids.")
@click.option("--budget", help="25usd, 2.5usd/1k, 0.5x:LINK, or 0.5x of the best single link.  [default: 1x]")
@click.option("--target", help="Take the cheapest plan expected to reach it: accuracy=0.85.")
@click.option(
    "--metric", type=click.Choice(["accuracy", "macro_f1"]), default="accuracy", help="What to choose by."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the pilot and settles ties.")
@click.option("--labels", type=click.Path(path_type=Path), help="Write the labels of all other items here.")
@click.option("--task", type=click.Path(path_type=Path), help="Write the plan as a task file here.")
@click.pass_obj
def command(
    output: Any,
    votes: Path,
    pilot: str,
    budget: str | None,
    target: str | None,
    metric: str,
    seed: int,
    labels: Path | None,
    task: Path | None,
) -> None:
    """Choose a chain for the vote table VOTES from a pilot with gold, then run it on all other items.

    While planning, only the pilot is seen. Gold of other items is used to report how the plan did, for nothing else.
    Nothing is written into the vote table.
    """
    import numpy as np

    from catena.data.distributions import read_logprobs
    from catena.data.votes import read_votes
    from catena.evaluate.budget import parse_budget, parse_target
    from catena.evaluate.pilot import choose_pilot, take
    from catena.evaluate.plan import Planner, held_out
    from catena.evaluate.planned import write_planned, write_planned_labels
    from catena.evaluate.summary import summary
    from catena.routing import ties

    for file, option in ((labels, "--labels"), (task, "--task")):
        _refuse(file, votes, option)
    asked = parse_budget(budget or "1x") if budget or not target else None
    wanted = parse_target(target) if target else None
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    logprobs = read_logprobs(votes, table)
    rows = choose_pilot(table, pilot, seed)
    rest = np.setdiff1d(np.arange(len(table)), rows)
    sample = take(table, logprobs, rows, ties(table.item_ids.tolist(), seed))
    planner = Planner(sample, len(rest), seed, wanted.metric if wanted else metric)
    plan = planner.plan(asked, wanted)
    others, decision, figures = held_out(plan, table, logprobs, rest)
    if labels:
        write_planned_labels(plan.planned, others, decision, labels)
    if task:
        write_planned(plan.planned, votes, task)
    document = summary(planner, plan, planner.frontier(asked), others, figures)
    _warn(output, plan, document)
    output.result(document)
    if not output.json:
        _show(output, document)


def _refuse(file: Path | None, votes: Path, option: str) -> None:
    """Refuse to write into the vote table or into a folder that is not there."""
    from catena.errors import InputError

    if file and file.resolve().is_relative_to(votes.resolve()):
        raise InputError(
            f"{file} is inside the vote table, which stays as it is.", f"Choose another {option}."
        )
    if file and not file.parent.is_dir():
        raise InputError(f"{file.parent} is no folder.", f"Make it, or choose another {option}.")


def _warn(output: Any, plan: Any, document: dict[str, Any]) -> None:
    from catena.evaluate.plan import BLIND

    if plan.reached is False:
        output.warn("no plan within the budget is expected to reach the target; this is the best one.")
    if document["held_out"]["missing"]:
        output.warn(
            f"{document['held_out']['missing']:,} of the votes that this plan needs are not recorded; such votes count "
            "as failures and cost nothing, so its figures on the other items are not comparable."
        )
    for link in document["links"]:
        if link["link"] in plan.planned.chain[:-1] and link["auroc"] is not None and link["auroc"] < BLIND:
            output.warn(
                f"the confidence of {link['link']} hardly tells right from wrong (AUROC {link['auroc']:.2f}): it routes badly."
            )


def _show(output: Any, document: dict[str, Any]) -> None:
    from catena.cli.tables import money, table

    rows = [
        [
            " > ".join(each["chain"]),
            "/".join(f"{share:.0%}" for share in each["shares"]),
            f"{each['accuracy']:.1%}",
            f"{each['accuracy_low']:.1%} to {each['accuracy_high']:.1%}",
            _times(each["cost_share"]),
        ]
        for each in document["frontier"]
    ]
    names = ["chain", "keep", "accuracy", "95 % interval", "cost"]
    output.say(table("What money buys, as expected from the pilot", names, rows, left=2))
    singles = [
        [each["link"], f"{each['accuracy']:.1%}", _number(each["auroc"]), _times(each["cost_share"])]
        for each in sorted(document["links"], key=lambda each: each["cost_usd"])
    ]
    output.say(table("Single links on the pilot", ["link", "accuracy", "AUROC", "cost"], singles, left=1))
    pilot, expected = document["pilot"], document["expected"]
    rest = " More of the budget would buy nothing." if document["rest_buys_nothing"] else ""
    output.say(
        f"Take {' > '.join(document['chain'])}: {expected['accuracy']:.1%} accuracy expected "
        f"({expected['accuracy_low']:.1%} to {expected['accuracy_high']:.1%}) at {_times(expected['cost_share'])} of what "
        f"{document['reference']} alone costs.{rest}"
    )
    output.say(f"The pilot of {pilot['n']:,} items cost {money(pilot['cost_usd'])}. {_pays(document)}")
    _show_held_out(output, document)


def _pays(document: dict[str, Any]) -> str:
    rows, reference = document["pays_from_rows"], document["reference"]
    if rows is None:
        return f"The plan does not cost less than {reference} alone: it pays by its accuracy only."
    return f"Against {reference} alone, the plan has saved that after {rows:,} rows."


def _show_held_out(output: Any, document: dict[str, Any]) -> None:
    from catena.cli.tables import money

    held, single = document["held_out"], document["best_single"]
    if held["accuracy"] is None:
        output.say(
            f"On the other {held['n']:,} items, which have no gold, it cost {money(held['cost_usd'])}."
        )
        return
    alone = f"; {single['link']} alone had {single['accuracy']:.1%}" if single["accuracy"] is not None else ""
    output.say(
        f"On the other {held['n']:,} items it had {held['accuracy']:.1%} accuracy, macro-F1 {held['macro_f1']:.3f}, for "
        f"{money(held['cost_usd'])} ({_times(held['cost_share'])}){alone}."
    )


def _times(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}x"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
