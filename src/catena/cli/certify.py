"""catena certify: thresholds of a chain with a promise about its labels."""

from pathlib import Path
from typing import Any

import click

__all__ = ["asked_for", "command", "feasible", "percent", "show"]


@click.command(name="certify")
@click.argument("source", metavar="VOTES|TASK", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With TASK and DATA: the run's folder, whose ledger keeps the votes.",
)
@click.option(
    "--chain", help="Links in order, separated by commas.  [with TASK unless said: all of its links in order]"
)
@click.option("--agreement", default="0.9", show_default=True, help="The share of labels that must agree.")
@click.option(
    "--delta", type=float, default=0.1, show_default=True, help="The chance that the promise is false."
)
@click.option("--reference", help="The link whose labels must be met, or gold.  [default: the last link]")
@click.option(
    "--sample", type=int, help="The most items to draw for the test.  [default: as many as are worth it]"
)
@click.option("--seed", type=int, help="Draws the sample.  [default: 0; with TASK the task's]")
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    help="With TASK and --reference gold: a file with the gold of drawn items, columns id and gold.  "
    "[default: OUT/to-label.csv where it is there]",
)
@click.option(
    "--task",
    type=click.Path(path_type=Path),
    help="Write the certified chain as a task file here.  [with TASK: OUT/certified.yaml]",
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    help="Write the certificate here.  [with TASK: OUT/certificate.json]",
)
@click.pass_obj
def command(
    output: Any,
    /,
    source: Path,
    data: Path | None,
    out: Path | None,
    gold: Path | None,
    task: Path | None,
    certificate: Path | None,
    **wishes: Any,
) -> None:
    """Find thresholds for a chain whose labels surely agree with a reference.

    With chance 1 - delta at least the share --agreement of the labels of all items are the reference's. Its labels are looked
    at on a random sample only. Choose chain and seed before: a promise picked from several is void.

    With TASK and DATA, the votes that this takes are bought into the ledger of --out: those of the last link on the sample,
    look by look, those of the others on all items; the later catena run with the written task buys the rest. With VOTES, a
    recorded vote table, nothing is bought, and nothing is written into it.
    """
    from catena.errors import InputError

    if source.is_dir() != (data is None):
        raise InputError(
            f"{source} is {'a folder of votes: it takes no DATA' if source.is_dir() else 'no folder of votes'}.",
            "Write catena certify TASK DATA --out RUN, or catena certify VOTES --chain small,big.",
        )
    if data is not None:
        from catena.cli.promising import certify_live

        if out is None:
            raise InputError("with TASK and DATA, --out is needed.", "Name the run's folder: --out RUN")
        certify_live(output, source, data, out, wishes, gold=gold, task=task, certificate=certificate)
        return
    if out is not None or gold is not None:
        raise InputError("--out and --gold go with TASK and DATA.", "catena certify TASK DATA --out RUN")
    _certify_recorded(output, source, wishes, task, certificate)


def _certify_recorded(
    output: Any, votes: Path, wishes: dict[str, Any], task: Path | None, certificate: Path | None
) -> None:
    """Find thresholds on recorded votes."""
    from catena.cli.output import refuse_target
    from catena.data.votes import read_votes
    from catena.errors import InputError
    from catena.evaluate.certificate import certify, write_certificate, write_certified
    from catena.evaluate.promise import figures

    for file, option in ((task, "--task"), (certificate, "--certificate")):
        refuse_target(file, votes, option)
    if wishes["chain"] is None:
        raise InputError("--chain is needed: the links in order.", "Write --chain small,big.")
    asked = asked_for(wishes, (), 0)
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    certifier, found, promise = certify(table, asked, str(votes))
    document = figures(certifier, found, promise)
    _warn(output, document)
    if certificate:
        write_certificate(promise, certificate)
    if task and document["certified"]:
        write_certified(promise, table.labels, task)
    output.result(document)
    if not output.json:
        output.say(feasible(document))
        if document["certified"]:
            show(output, document)


def asked_for(wishes: dict[str, Any], links: tuple[str, ...], seed: int) -> Any:
    """Return what a certificate is asked for.

    Args:
        wishes: The options.
        links: The chain, unless they name one.
        seed: Likewise.
    """
    from catena.evaluate.certificate import Asked

    chain = wishes["chain"]
    names = links if chain is None else tuple(name.strip() for name in chain.split(","))
    seed = seed if wishes["seed"] is None else wishes["seed"]
    reference = wishes["reference"] or names[-1]
    return Asked(names, reference, wishes["agreement"].strip(), wishes["delta"], seed, wishes["sample"])


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


def show(output: Any, document: dict[str, Any]) -> None:
    """Print the certified chain, what is promised of it, and what it takes."""
    from catena.cli.tables import money, table

    thresholds = [*document["policy"]["threshold"], None]
    rows = [
        [link["link"], _least(least), f"{link['kept']:,}", f"{link['kept'] / document['n']:.1%}"]
        for link, least in zip(document["links"], thresholds, strict=True)
    ]
    names = ["link", "keeps from", "items", "share"]
    output.say(table("The certified chain", names, rows, left=1))
    drawn, calls = document["sample"]["n"], document["calls"]
    output.say(
        f"With chance {percent(1 - document['delta'])}, at least {percent(document['agreement'])} of its labels for these "
        f"{document['n']:,} items are those of {document['reference']}."
    )
    cost = f", {money(document['cost_usd'])} in all" if document["cost_usd"] is not None else ""
    times = f", {document['cost_share']:.2f}x of it alone" if document["cost_share"] is not None else ""
    output.say(
        f"It takes {calls['n']:,} calls of {calls['link']} ({calls['share']:.1%}), the {drawn:,} drawn items "
        f"among them{cost}{times}."
    )


def feasible(document: dict[str, Any]) -> str:
    """Say what no method can do without, as the drawn items show it."""
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


def percent(share: float) -> str:
    """Return a share as it is written.

    >>> percent(0.9), percent(0.975)
    ('90 %', '97.5 %')
    """
    return f"{100 * share:.6g} %"


def _least(value: float | None) -> str:
    if value is None:
        return "the rest"
    return "nothing" if value == float("inf") else f"{value:.6g}"
