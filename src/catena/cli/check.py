"""catena check: validate a task and its data, call each link once, bound the cost."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

MOST_LABELS = 10


@click.command(name="check")
@click.argument("task", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def command(output: Any, task: Path, data: Path | None) -> None:
    """Validate TASK and DATA, call each link once, and say the most that a run can cost."""
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
    if result["most_usd"]:
        output.say(
            f"A run costs at most {money(result['most_usd'])}, retries apart; expect less: every byte of a prompt was counted as a token."
        )
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
    from catena.cli.output import counted
    from catena.cli.tables import money

    name = link["link"]
    said = f"answered {link['label']!r}" if link["label"] is not None else link["error"]
    for own in (f"link '{name}': ", f"link '{name}' ", f"{name}: "):
        said = said.removeprefix(own)
    speed = f" in {link['latency_ms']:,.0f} ms" if link["latency_ms"] else ""
    lines = [
        f"{'ok ' if link['answered'] else 'BAD'} {name} ({link['kind']}, {link['model']}): {said}{speed}"
    ]
    can = [f"confidence: {link['confidence']}"] if link["label"] is not None else []
    if "batch" in link:
        can += [
            f"{counted(link['batch'], 'prompt')} per call",
            f"{counted(link['concurrency'], 'call')} at a time"
            if link["concurrency"]
            else "as many calls at a time as it takes",
        ]
    if can:
        lines.append(f"    {', '.join(can)}")
    if link["most_usd"] is not None:
        lines.append(f"    costs at most {money(link['most_usd'])}" if link["most_usd"] else "    free")
    return lines
