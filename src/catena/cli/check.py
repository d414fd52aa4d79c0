"""catena check: validate a task and its data, call each link once, bound the cost."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="check")
@click.argument("task", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def command(output: Any, task: Path, data: Path | None) -> None:
    """Validate TASK and DATA, call each link once, and say the most that a run can cost."""
    from catena.cli.tables import money
    from catena.data.rows import read_rows
    from catena.engine.check import check_task
    from catena.errors import CatenaError
    from catena.task import load_task

    spec = load_task(task)
    rows = read_rows(data, spec.data, spec.labels.keys()) if data else None
    result = check_task(spec, rows)
    output.say(f"{task}: valid. Labels: {', '.join(spec.labels)}.")
    if rows is not None:
        output.say(f"{data}: {rows.count:,} rows, all readable.")
    for link in result["links"]:
        said = f"answered {link['label']!r}" if link["label"] else link["error"]
        source = f", confidence: {link['confidence']}" if link["label"] else ""
        speed = f", {link['latency_ms']:,.0f} ms" if link["latency_ms"] else ""
        cost = f", at most {money(link['most_usd'])}" if link["most_usd"] is not None else ""
        output.say(
            f"{'ok ' if link['answered'] else 'BAD'} {link['link']} ({link['kind']}, {link['model']}): {said}{source}{speed}{cost}"
        )
    if result["most_usd"] is not None:
        output.say(
            f"A run costs at most {money(result['most_usd'])}, retries apart; expect less: every byte of a prompt was counted as a token."
        )
    bad = [link["link"] for link in result["links"] if not link["answered"]]
    if bad and not output.json:
        raise CatenaError(f"{', '.join(bad)} gave no answer.", "Put that right before you run the task.")
    output.result(result)
    if bad:
        raise SystemExit(1)
