"""catena batch: what of a run is at a provider's batch endpoint."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.group(name="batch")
def command() -> None:
    """See the batches of a run, or cancel them."""


@command.command(name="list")
@click.argument("run", type=click.Path(path_type=Path))
@click.pass_obj
def list_batches(output: Any, run: Path) -> None:
    """List the batches of RUN as last seen: state, counts, age, cost so far. Nothing is called."""
    from catena.ledger import Ledger

    ledger = Ledger(run)
    try:
        names = {number: name for name, (number, _) in ledger.links().items()}
        batches = [_described(record, names) for record in ledger.batches()]
    finally:
        ledger.close()
    _show(output, run, batches)
    output.result({"run": str(run), "batches": batches})


@command.command(name="cancel")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("batch", required=False)
@click.pass_obj
def cancel(output: Any, run: Path, batch: str | None) -> None:
    """Ask the provider to cancel the open batches of RUN, or the one with the id BATCH.

    What was answered by then is paid for: the next catena run harvests it, and asks again about the rest.
    """
    from catena.engine.cancel import cancel_batches
    from catena.ledger import Ledger

    ledger = Ledger(run)
    try:
        names = {number: name for name, (number, _) in ledger.links().items()}
        cancelled = [_described(record, names) for record in cancel_batches(ledger, batch)]
    finally:
        ledger.close()
    for each in cancelled:
        output.say(f"Asked to cancel {each['batch']} ({each['link']}, {each['count']:,} questions).")
    if cancelled:
        output.say("What was answered is harvested by the same catena run command.")
    else:
        output.say(f"{run} has no open batch.")
    output.result({"run": str(run), "batches": cancelled})


def _described(record: Any, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "batch": record.remote,
        "shard": record.shard,
        "link": names.get(record.link),
        "state": record.state,
        "said": record.said,
        "tries": record.tries,
        "count": record.count,
        "done": record.done,
        "counts": dict(record.counts),
        "age": time.time() - record.began,
        "cost_usd": record.cost_usd,
        "most_usd": record.most_usd,
    }


def _show(output: Any, run: Path, batches: list[dict[str, Any]]) -> None:
    from catena.cli.tables import money, table

    if not batches:
        output.say(f"{run} has no batches.")
        return
    names = ["link", "batch", "state", "results", "questions", "done", "age", "cost", "at most"]
    rows = [
        [
            each["link"] or "-",
            each["batch"] or "-",
            each["state"] + (f" ({each['said']})" if each["said"] and each["cost_usd"] is None else ""),
            ", ".join(f"{count:,} {name}" for name, count in sorted(each["counts"].items())) or "-",
            f"{each['count']:,}",
            f"{each['done']:,}",
            _age(each["age"]),
            money(each["cost_usd"]),
            money(each["most_usd"]),
        ]
        for each in batches
    ]
    output.say(table("Batches", names, rows, left=4))


def _age(seconds: float) -> str:
    """Return an age in its largest unit.

    >>> _age(59), _age(3700), _age(200_000)
    ('59 s', '1.0 h', '2.3 d')
    """
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
