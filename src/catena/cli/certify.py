"""catena certify: thresholds of a chain with a promise about its labels."""

from pathlib import Path
from typing import Any

import click

__all__ = ["check_certificate", "command"]

MOST_LINES = 20


@click.command(name="certify")
@click.argument("votes", type=click.Path(path_type=Path))
@click.option("--chain", required=True, help="Links in order, separated by commas.")
@click.option("--agreement", default="0.9", show_default=True, help="The share of labels that must agree.")
@click.option(
    "--delta", type=float, default=0.1, show_default=True, help="The chance that the promise is false."
)
@click.option("--reference", help="The link whose labels must be met, or gold.  [default: the last link]")
@click.option(
    "--sample", type=int, help="The most items to draw for the test.  [default: as many as are worth it]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the sample.")
@click.option(
    "--task", type=click.Path(path_type=Path), help="Write the certified chain as a task file here."
)
@click.option("--certificate", type=click.Path(path_type=Path), help="Write the certificate here.")
@click.pass_obj
def command(
    output: Any,
    votes: Path,
    chain: str,
    agreement: str,
    delta: float,
    reference: str | None,
    sample: int | None,
    seed: int,
    task: Path | None,
    certificate: Path | None,
) -> None:
    """Find thresholds for a chain over the vote table VOTES whose labels surely agree with a reference.

    With chance 1 - delta at least the share --agreement of the labels of all items in VOTES are the reference's. Its
    labels are looked at on a random sample only. Choose chain and seed before: a promise picked from several is void.
    Nothing is written into the vote table.
    """
    from catena.cli.output import refuse_target
    from catena.data.votes import read_votes
    from catena.evaluate.certificate import Asked, certify, write_certificate, write_task
    from catena.evaluate.promise import figures

    for file, option in ((task, "--task"), (certificate, "--certificate")):
        refuse_target(file, votes, option)
    names = tuple(name.strip() for name in chain.split(","))
    asked = Asked(names, reference or names[-1], agreement.strip(), delta, seed, sample)
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    certifier, found, promise = certify(table, asked, str(votes))
    document = figures(certifier, found, promise)
    _warn(output, document)
    if certificate:
        write_certificate(promise, certificate)
    if task and document["certified"]:
        write_task(promise, table.labels, task)
    output.result(document)
    if not output.json:
        _show(output, document)


def check_certificate(output: Any, path: Path, votes: Path | None) -> None:
    """Say whether a certificate follows from the votes; exit code 1 where it does not."""
    from catena.data.votes import read_votes
    from catena.evaluate.certificate import certify, differences, read_certificate

    said = read_certificate(path)
    folder = votes or Path(said.votes)
    _, _, found = certify(read_votes(folder), said.asked, str(folder))
    differs = differences(said, found)
    well = not differs
    asked = said.asked
    if well and said.cut is not None:
        output.say(
            f"{path}: it holds. {folder} gives the same draw, tests and thresholds: with chance {_percent(1 - asked.delta)}, at "
            f"least {_percent(float(asked.share))} of the labels of {' > '.join(asked.chain)} are those of {asked.reference}."
        )
    elif well:
        output.say(f"{path}: it holds, and promises nothing.")
    else:
        output.say(f"{path}: IT DOES NOT HOLD for {folder}. What it says, and what follows from the votes:")
        output.say(*[f"  {line}" for line in differs[:MOST_LINES]])
        if len(differs) > MOST_LINES:
            output.say(f"  and {len(differs) - MOST_LINES:,} more")
    output.result(
        {"certificate": str(path), "votes": str(folder), "well": well, "asked": asked, "differs": differs}
    )
    if not well:
        raise SystemExit(1)


def _warn(output: Any, document: dict[str, Any]) -> None:
    if not document["certified"]:
        output.warn(
            f"nothing can be promised: {document['chain'][-1]} alone may miss the agreement. No task file is written."
        )
    for link in document["links"][:-1]:
        if link["missing"]:
            output.warn(
                f"{link['missing']:,} votes of {link['link']} are not recorded; such items go on to the next link."
            )


def _show(output: Any, document: dict[str, Any]) -> None:
    from catena.cli.tables import money, table

    output.say(_feasible(document))
    if not document["certified"]:
        return
    thresholds = [*document["policy"]["threshold"], None]
    rows = [
        [link["link"], _least(least), f"{link['kept']:,}", f"{link['kept'] / document['n']:.1%}"]
        for link, least in zip(document["links"], thresholds, strict=True)
    ]
    names = ["link", "keeps from", "items", "share"]
    output.say(table("The certified chain", names, rows, left=1))
    drawn, calls = document["sample"]["n"], document["calls"]
    output.say(
        f"With chance {_percent(1 - document['delta'])}, at least {_percent(document['agreement'])} of its labels for these "
        f"{document['n']:,} items are those of {document['reference']}."
    )
    cost = f", {money(document['cost_usd'])} in all" if document["cost_usd"] is not None else ""
    times = f", {document['cost_share']:.2f}x of it alone" if document["cost_share"] is not None else ""
    output.say(
        f"It takes {calls['n']:,} calls of {calls['link']} ({calls['share']:.1%}), the {drawn:,} drawn items "
        f"among them{cost}{times}."
    )


def _feasible(document: dict[str, Any]) -> str:
    found, chain = document["feasibility"], document["chain"]
    if found["base_risk"] is None:
        return "Feasibility: nothing was drawn, for no test can change anything."
    who = f"{chain[0]} disagrees" if len(chain) == 2 else "all links before the last disagree"
    said = (
        f"Feasibility: {who} with {document['reference']} on {found['base_risk']:.1%} of the "
        f"{document['sample']['n']:,} items drawn."
    )
    if not found["least_escalated"]:
        return f"{said} That is within the {found['alpha']:.1%} allowed: perhaps nothing need go on to {chain[-1]}."
    return (
        f"{said} Whatever the method, about {found['least_escalated']:.1%} of the items must then go on to {chain[-1]}; "
        f"{found['least_abstained']:.1%} if the items kept were to agree by themselves."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"


def _least(value: float | None) -> str:
    if value is None:
        return "the rest"
    return "nothing" if value == float("inf") else f"{value:.6g}"
