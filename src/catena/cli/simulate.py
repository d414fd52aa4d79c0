"""catena simulate: what chains would have done, over recorded votes."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="simulate")
@click.argument("votes", type=click.Path(path_type=Path))
@click.option("--chain", help="Links in order, separated by commas.")
@click.option("--share", help="The share that each link keeps, separated by commas; equal unless said.")
@click.option("--permutations", type=int, help="Run every order of this many links instead of one chain.")
@click.option("--seed", type=int, default=0, show_default=True, help="Settles ties.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Write item_id, kept_by, last and rank to this file."
)
@click.pass_obj
def command(
    output: Any,
    votes: Path,
    chain: str | None,
    share: str | None,
    permutations: int | None,
    seed: int,
    labels: Path | None,
) -> None:
    """Replay chains over the vote table VOTES without a single call; nothing is written into it.

    A vote table is a folder with items.parquet, votes.parquet and labels.json.
    """
    from catena.data.votes import read_votes
    from catena.errors import InputError
    from catena.evaluate.simulate import Simulator

    if (chain is None) == (permutations is None):
        raise InputError("simulate needs either --chain a,b,c or --permutations K.")
    if labels and permutations:
        raise InputError("--labels goes with --chain.")
    shares = share.split(",") if share else None
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    simulator = Simulator(table, seed)
    if permutations is not None:
        results = list(simulator.permutations(permutations, shares))
        output.result({"results": results})
        if not output.json:
            _show(output, results)
        return
    names = [name.strip() for name in (chain or "").split(",")]
    decision = simulator.decide(names, shares)
    result = simulator.describe(names, decision)
    if labels:
        simulator.write_labels(names, decision, labels)
    output.result(result)
    if not output.json:
        _show(output, [result])


def _show(output: Any, results: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    from catena.cli.tables import money

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("chain", "kept", "failed", "rank acc.", "rank F1", "last acc.", "last F1", "cost"):
        table.add_column(name, justify="left" if name == "chain" else "right", overflow="fold")
    ordered = sorted(results, key=lambda r: -(r["aggregates"]["rank"]["accuracy"] or 0.0))
    for result in ordered:
        figures = [
            result["aggregates"][rule][key] for rule in ("rank", "last") for key in ("accuracy", "macro_f1")
        ]
        table.add_row(
            " > ".join(result["chain"]),
            "/".join(f"{link['kept']:,}" for link in result["links"]),
            f"{sum(link['failed'] for link in result['links']):,}",
            *["-" if figure is None else f"{figure:.4f}" for figure in figures],
            money(result["cost_usd"]),
        )
    output.say(table)
