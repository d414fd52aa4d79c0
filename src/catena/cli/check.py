"""catena check: validate a task and its data, find out what each link gives, bound the cost."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

MOST_LABELS = 10
SAMPLE_ROWS = 50


@click.command(name="check")
@click.argument("task", required=False, type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--ledger", "run", type=click.Path(path_type=Path), help="Check every vote of this run instead."
)
@click.option("--repair", is_flag=True, help="Save what is whole; the damaged file is moved aside.")
@click.option(
    "--certificate", type=click.Path(path_type=Path), help="Work this certificate out again instead."
)
@click.option("--estimate", is_flag=True, help="Foretell what a run will cost from a random sample of rows.")
@click.option(
    "--rows", type=click.IntRange(10), help=f"With --estimate: of the sample.  [default: {SAMPLE_ROWS}]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With --estimate: the folder of the run, which uses its votes.",
)
@click.pass_obj
def command(
    output: Any,
    task: Path | None,
    data: Path | None,
    run: Path | None,
    repair: bool,
    certificate: Path | None,
    estimate: bool,
    rows: int | None,
    out: Path | None,
) -> None:
    """Validate TASK and DATA, find out by a few calls what each link gives, and say the most that a run can cost.

    With --ledger, read all of a finished or stopped RUN and say whether it is what was stored; --repair saves what is whole.

    With --estimate, let every link vote on a random sample instead and say what a run will cost, with its interval.

    With --certificate, work a promise of catena certify out again from its votes, a vote table's or a run's; name their folder if
    it has moved. Of a run that has ended, say too whether its labels are the promised ones.
    """
    if certificate is not None:
        if run is not None or repair or data is not None:
            raise click.UsageError("--certificate goes with at most one argument: the folder of the votes.")
        from catena.cli.certificate import check_certificate

        check_certificate(output, certificate, task)
        return
    if run is not None:
        if task is not None:
            raise click.UsageError("--ledger checks a run by itself: leave TASK and DATA out.")
        check_ledger(output, run, mend=repair)
        return
    if repair:
        raise click.UsageError("--repair goes with --ledger: name the run's folder.")
    if task is None:
        raise click.UsageError("Missing argument 'TASK'. To check a run: catena check --ledger RUN")
    if not estimate and (out is not None or rows is not None):
        raise click.UsageError(f"{'--out' if rows is None else '--rows'} goes with --estimate.")
    if estimate:
        from catena.cli.costing import estimate_cost

        estimate_cost(output, task, data, rows or SAMPLE_ROWS, out)
        return
    check_task_and_data(output, task, data)


def check_ledger(output: Any, run: Path, *, mend: bool) -> None:
    """Say what a run's ledger holds, and with `mend` save what is whole; exit code 1 where damage stays."""
    from catena.cli.output import counted
    from catena.errors import InputError
    from catena.ledger import FILE, RunLock
    from catena.ledger.audit import audit
    from catena.ledger.repair import repair

    if not (run / FILE).exists():
        raise InputError(f"{run} holds no run.", "Name the folder of a run.")
    lock = RunLock(run)
    try:
        found, mended = audit(run), None
        if mend and not found.well:
            mended = repair(run, found)
    finally:
        lock.release()
    output.say(*_findings(run, found))
    if mended:
        kept, lost = sum(mended.after.votes.values()), mended.lost
        said = counted(kept, "vote")
        output.say(
            f"Repaired: {said} kept, {lost:,} lost. The damaged file is {mended.aside}.",
            "The same catena run command goes on; it buys only what was lost.",
        )
    elif not found.well:
        output.say(f"Save what is whole with: catena check --ledger {run} --repair")
    output.result({"run": str(run), "well": found.well, "found": found, "repaired": mended})
    if not (mended.after if mended else found).well:
        raise SystemExit(1)


def _findings(run: Path, found: Any) -> list[str]:
    from catena.cli.output import counted

    votes = [f"{link} {count:,}" for link, count in found.votes.items()]
    damaged = [f"{count:,} of {table}" for table, count in found.damaged.items() if count]
    return [
        (
            f"{run}: {'all is well' if found.well else 'DAMAGED'}. {counted(found.rows, 'row')}, whole votes: "
            f"{', '.join(votes) or 'none'}; {found.orphans:,} of them are used by no row now."
        ),
        *([f"  damaged rows: {', '.join(damaged)}"] if damaged else []),
        *[f"  {fault}" for fault in found.faults],
    ]


def check_task_and_data(output: Any, task: Path, data: Path | None) -> None:
    """Validate a task and its rows, and ask each link a few times."""
    from catena.cli.capabilities import capability_tables
    from catena.cli.output import counted
    from catena.cli.tables import money
    from catena.data.rows import read_rows
    from catena.engine.check import check_task
    from catena.errors import CatenaError
    from catena.task import load_task

    spec = load_task(task)
    rows = read_rows(data, spec.data, spec.labels.keys()) if data else None
    result = check_task(spec, rows)
    output.say(f"{task}: valid. {_labels(list(spec.labels))}.")
    if rows is not None:
        output.say(f"{data}: {counted(rows.count, 'row')}, all readable.")
    for link in result["links"]:
        output.say(*_lines(link))
    output.say(*capability_tables(result["links"]))
    if result["most_usd"]:
        output.say(
            f"A run costs at most {money(result['most_usd'])}, retries apart; expect less: every byte of a prompt was counted as a token."
        )
    if result["paid_usd"]:
        output.say(f"The calls of this check cost {money(result['paid_usd'])}.")
    bad = [link["link"] for link in result["links"] if not link["answered"]]
    if bad and not output.json:
        raise CatenaError(f"{', '.join(bad)} gave no label.", "Put that right before you run the task.")
    output.result(result)
    if bad:
        raise SystemExit(1)


def _labels(labels: list[str]) -> str:
    if len(labels) <= MOST_LABELS:
        return f"Labels: {', '.join(labels)}"
    return f"{len(labels):,} labels: {', '.join(labels[:MOST_LABELS])}, ..."


def _lines(link: dict[str, Any]) -> list[str]:
    """Say what a link answered and what it can do, and what it costs."""
    from catena.cli.capabilities import offers, recommendation
    from catena.cli.output import counted
    from catena.cli.tables import money

    name = link["link"]
    said = f"answered {link['label']!r}" if link["label"] is not None else link["error"]
    for own in (f"link '{name}': ", f"link '{name}' ", f"{name}: "):
        said = said.removeprefix(own)
    speed = f" in {link['latency_ms']:,.0f} ms" if link["latency_ms"] else ""
    lines = [
        f"{'ok ' if link['answered'] else 'BAD'} {name} ({', '.join(filter(None, (link['kind'], link['model'])))}): {said}{speed}"
    ]
    can = [f"confidence: {link['confidence']}"] if link["label"] is not None else []
    if "batch" in link and link["kind"] != "human":
        can += [
            f"{counted(link['batch'], 'prompt')} per call",
            f"{counted(link['concurrency'], 'call')} at a time"
            if link["concurrency"]
            else "as many calls at a time as it takes",
        ]
    if can:
        lines.append(f"    {', '.join(can)}")
    if best := recommendation(link):
        lines.append(f"    recommended: {best}")
    if offer := offers(link):
        lines.append(f"    its server scores labels itself: {offer}")
    if link["most_usd"] is not None:
        lines.append(f"    costs at most {money(link['most_usd'])}" if link["most_usd"] else "    free")
    return lines
