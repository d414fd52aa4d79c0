"""What catena check --estimate prints: what a run will cost, foretold from a sample."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["estimate_cost"]


def estimate_cost(output: Any, task: Path, data: Path | None, rows: int, out: Path | None) -> None:
    """Let all links vote on a sample of the rows, and say what a run will cost."""
    from catena.cli.watch import Watcher
    from catena.engine.run import Run
    from catena.errors import InputError
    from catena.evaluate.costing import by_calls, expected_cost
    from catena.task import load_task

    if data is None:
        raise InputError("--estimate needs the data.", f"catena check {task} DATA --estimate")
    given, batched = by_calls(load_task(task))
    watcher = Watcher()
    with _folder(out) as folder:
        run = Run(given, data, folder)
        try:
            with watcher.showing():
                document = expected_cost(
                    run, rows, batched=batched, keeps=out is not None, watch=watcher.begin
                )
        finally:
            for warning in watcher.warnings:
                output.warn(warning)
    document |= {"run": str(out) if out else None}
    output.result(document)
    if not output.json:
        output.say(_table(document), *_notes(document))
        output.say(*_closing(document, task, data, out))


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Give the run's folder, or one that is gone afterwards."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="catena-") as folder:
        yield Path(folder) / "run"


def _table(document: dict[str, Any]) -> Any:
    from catena.cli.tables import table

    names = ["link", "rows", "calls", "tokens in/out", "cost", "90 % interval", "time"]
    rows = [_row(link["link"], link) for link in document["links"]]
    if len(rows) > 1:
        rows.append(_row("in all", document["total"] | {"rows": None, "seconds": document["seconds"]}))
    title = f"What a run over {document['n']:,} rows will use, from {document['sample']['n']:,} of them"
    return table(title, names, rows, left=1)


def _row(name: str, of: dict[str, Any]) -> list[str]:
    from catena.cli.tables import money

    free, unknown = not of["cost_usd"], of.get("cost_known") is False
    between = "" if free else f"{money(of['cost_usd_low'])} to {money(of['cost_usd_high'])}"
    return [
        name,
        "" if of["rows"] is None else f"{of['rows']:,.0f}",
        f"{of['calls']:,.0f}",
        f"{of['prompt_tokens']:,.0f}/{of['completion_tokens']:,.0f}",
        "-" if free and unknown else money(of["cost_usd"]),
        between,
        _time(of["seconds"]),
    ]


def _time(seconds: float | None) -> str:
    """Return a time in the unit that suits it.

    >>> _time(0.4), _time(90), _time(7200), _time(None)
    ('1 s', '90 s', '2.0 h', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _notes(document: dict[str, Any]) -> list[str]:
    """Say what a figure in the table rests on, where that is not plain."""
    notes = []
    for link in document["links"]:
        name = link["link"]
        if link["person"]:
            notes.append(
                f"{name}: people are not asked here, and cost what the link's price says; counts behind them are as if they kept nothing."
            )
        elif link["half_price"]:
            notes.append(
                f"{name} asks in batches: half of what the sample's calls cost; it takes up to a day."
            )
        elif not link["cost_known"]:
            notes.append(f"{name} tells no costs: it counts as free.")
    if document["seconds"] is not None:
        notes.append(
            "Times are at the rate of the sample; the links work at the same time, and faster once they are at it."
        )
    return notes


def _closing(document: dict[str, Any], task: Path, data: Path, out: Path | None) -> list[str]:
    from catena.cli.tables import money

    total, sample = document["total"], document["sample"]
    low, mid, high = (money(total[f"cost_usd{end}"]) for end in ("_low", "", "_high"))
    lines = [
        f"A run costs about {mid}, by its 90 % interval {low} to {high}."
        if total["cost_usd"]
        else "A run costs nothing."
    ]
    lines += [_within(cap) for cap in document["budget"]]
    cost = "nothing" if not sample["cost_usd"] else money(sample["cost_usd"])
    if out is None:
        return [
            *lines,
            f"The sample cost {cost}, and its votes are not kept: with --out RUN they are, and the run would not buy them again.",
        ]
    return [
        *lines,
        (
            f"The sample cost {cost}; its votes are in {out}. About {money(document['to_come_usd'])} is still to pay: "
            f"catena run {task} {data} --out {out}"
        ),
    ]


def _within(cap: dict[str, Any]) -> str:
    """Say whether a cap is enough."""
    from catena.cli.tables import money

    def said(amount: float) -> str:
        return money(amount) if cap["kind"] == "usd" else f"{amount:,.0f} {cap['kind']}"

    most = f"The budget of {said(cap['cap'])}"
    if cap["high"] <= cap["cap"]:
        return f"{most} is enough."
    if cap["expected"] <= cap["cap"]:
        return f"{most} may not be enough: up to {said(cap['high'])}."
    return f"{most} is not enough: about {said(cap['expected'])} would be. The run would stop there and could go on with more."
