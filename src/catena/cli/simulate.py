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
@click.option(
    "--task",
    type=click.Path(path_type=Path),
    help="Replay the chain, policy and aggregate of this task file.",
)
@click.option(
    "--crowd",
    type=click.Choice(["dawid-skene", "mace", "glad"]),
    help="Aggregate all votes of all links (or those of --chain) by this method; every link must have been asked.",
)
@click.option(
    "--items", type=click.Path(path_type=Path), help="With --crowd: only these item_ids, one a line."
)
@click.option(
    "--trials", type=int, default=20, show_default=True, help="How often to route at random; 0: not."
)
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
    task: Path | None,
    crowd: str | None,
    items: Path | None,
    trials: int,
    seed: int,
    labels: Path | None,
) -> None:
    """Replay chains over the vote table VOTES without a single call; nothing is written into it.

    A vote table is a folder with items.parquet, votes.parquet and labels.json.
    """
    from catena.data.votes import read_votes
    from catena.errors import InputError
    from catena.evaluate.simulate import Simulator

    if sum(way is not None for way in (crowd or chain, permutations, task)) != 1:
        raise InputError(
            "simulate needs either --chain a,b,c or --permutations K or --task FILE or --crowd METHOD."
        )
    if items and not crowd:
        raise InputError("--items goes with --crowd.")
    if labels and permutations:
        raise InputError("--labels goes with --chain, --task or --crowd.")
    if labels and labels.resolve().is_relative_to(votes.resolve()):
        raise InputError(
            f"{labels} is inside the vote table, which stays as it is.", "Choose another --labels."
        )
    if labels and not labels.parent.is_dir():
        raise InputError(f"{labels.parent} is no folder.", "Make it, or choose another --labels.")
    shares = share.split(",") if share else None
    table = read_votes(votes)
    for note in table.notes:
        output.warn(note)
    if task:
        _replay(output, votes, table, task, labels)
        return
    names = [name.strip() for name in chain.split(",")] if chain else []
    if crowd:
        _crowd(output, table, crowd, names, items, seed, labels)
        return
    simulator = Simulator(table, seed)
    if permutations is not None:
        results = list(simulator.permutations(permutations, shares, trials))
        _warn(output, results)
        output.result({"results": results})
        if not output.json:
            _show(output, results)
        return
    decision = simulator.decide(names, shares)
    chance = simulator.random(names, shares, trials) if trials else None
    result = simulator.describe(names, decision) | {"random": chance}
    if labels:
        simulator.write_labels(names, decision, labels)
    _warn(output, [result])
    output.result(result)
    if not output.json:
        _show(output, [result])
        _show_links(output, result)


def _crowd(
    output: Any,
    table: Any,
    method: str,
    chain: list[str],
    items: Path | None,
    seed: int,
    labels: Path | None,
) -> None:
    """Aggregate the votes of links that were all asked about the same items."""
    from catena.cli import tables
    from catena.evaluate.crowded import crowded, write_crowded_labels

    found = crowded(table, method, chain, items, seed)
    if labels:
        write_crowded_labels(table, found, labels)
    figures = found.figures
    output.result(figures)
    if not output.json:
        rows = [[method, _figure(figures["accuracy"]), _figure(figures["macro_f1"])]]
        rows += [
            [each["link"], _figure(each["accuracy"]), _figure(each["macro_f1"])] for each in figures["alone"]
        ]
        title = f"{len(figures['links'])} links on {figures['n']:,} items, for {tables.money(figures['cost_usd'])}"
        output.say(tables.table(title, ["labels of", "accuracy", "macro-F1"], rows, left=1))


def _replay(output: Any, folder: Path, table: Any, task: Path, labels: Path | None) -> None:
    """Replay the chain, policy and aggregate of a task file on the items outside its pilot."""
    from catena.cli.tables import money
    from catena.data.distributions import read_logprobs
    from catena.evaluate.planned import read_planned, replay_planned, rest_of, write_planned_labels

    plan = read_planned(task)
    sample, _ = rest_of(plan, table, read_logprobs(folder, table))
    decided, result = replay_planned(plan, sample)
    if labels:
        write_planned_labels(plan, sample, decided, labels)
    _warn(output, [result])
    output.result(result)
    if not output.json:
        scores = result["aggregates"][plan.aggregate]
        accuracy = "no gold" if scores["accuracy"] is None else f"accuracy {scores['accuracy']:.4f}"
        kept = "/".join(f"{link['kept']:,}" for link in result["links"])
        output.say(f"{' > '.join(plan.chain)} keep {kept}: {accuracy}, cost {money(result['cost_usd'])}")


def _warn(output: Any, results: list[dict[str, Any]]) -> None:
    """Say that votes are missing, whose absence makes a chain look bad and cheap."""
    lacking = [result for result in results if _missing(result)]
    if not lacking:
        return
    if len(results) == 1:
        needed = sum(link["received"] for link in results[0]["links"])
        what = f"{_missing(lacking[0]):,} of the {needed:,} votes that this chain needs are not recorded"
        figures = "its figures are not comparable"
    else:
        what = f"{len(lacking):,} of the {len(results):,} orders need votes that are not recorded"
        figures = "their figures are not comparable"
    output.warn(f"{what}; such votes count as failures and cost nothing, so {figures}.")


def _missing(result: dict[str, Any]) -> int:
    return sum(link["missing"] for link in result["links"])


def _show(output: Any, results: list[dict[str, Any]]) -> None:
    from catena.cli.tables import money, split_tables

    lacking = any(map(_missing, results))
    names = ["chain", "failed", *(["missing"] if lacking else [])]
    names += [
        "rank\nacc.",
        "rank\nF1",
        "last\nacc.",
        "last\nF1",
        "minmax\nacc.",
        "random\nacc.",
        "oracle\nacc.",
        "cost",
    ]
    rows = []
    for result in sorted(results, key=lambda r: -(r["aggregates"]["rank"]["accuracy"] or 0.0)):
        figures = [
            result["aggregates"][rule][key] for rule in ("rank", "last") for key in ("accuracy", "macro_f1")
        ]
        figures += [result["aggregates"]["minmax"]["accuracy"], (result["random"] or {}).get("accuracy")]
        rows.append(
            [
                " > ".join(result["chain"]),
                f"{sum(link['failed'] for link in result['links']):,}",
                *([f"{_missing(result):,}"] if lacking else []),
                *map(_figure, [*figures, result["oracle"]["reached"]]),
                money(result["cost_usd"]),
            ]
        )
    # Which link stands where makes no difference to how many items are kept there.
    kept = "/".join(f"{link['kept']:,}" for link in results[0]["links"])
    output.say(*split_tables(f"Links in order keep {kept}", names, rows, output.width, left=1))


def _show_links(output: Any, result: dict[str, Any]) -> None:
    from catena.cli.tables import money, table

    rows = [
        [
            link["link"],
            *[f"{link[key]:,}" for key in ("received", "kept", "failed")],
            _figure(link["accuracy"]),
            _figure(link["macro_f1"]),
            money(link["cost_usd"]),
        ]
        for link in result["links"]
    ]
    names = ["link", "received", "kept", "failed", "accuracy", "macro-F1", "cost"]
    output.say(table("Each link on what it received", names, rows, left=1))
    bound, reached = result["oracle"]["all"], result["oracle"]["reached"]
    if bound is not None:
        output.say(
            f"Some link of the chain is right on {bound:.1%} of all items: no rule can do better. With these shares, one that "
            f"the item reached is right on {reached:.1%}: the oracle's accuracy above."
        )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
