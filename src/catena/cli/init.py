"""catena init: a first task file, from a data set or from one of the paper's tasks."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="init")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--preset",
    type=click.Choice(["stance", "ideology", "misinformation"]),
    help="One of the paper's tasks, fitted to DATA where it is given.",
)
@click.option(
    "--out", default="task.yaml", show_default=True, type=click.Path(path_type=Path), help="The task file."
)
@click.pass_obj
def command(output: Any, data: Path | None, preset: str | None, out: Path) -> None:
    """Write a task file with a comment on each key, made from DATA.

    DATA is a .csv, .tsv, .jsonl, .parquet or .arrow file. Its columns tell by their names and contents which holds the
    text, the id, the target and the gold label. Nothing is called, and no file is overwritten.
    """
    from catena.cli.output import counted
    from catena.cli.task_text import preset_text, task_text
    from catena.data.guess import guess_columns
    from catena.errors import InputError
    from catena.prompts import Prompter
    from catena.task import parse_task

    if data is None and preset is None:
        raise InputError(
            "init needs DATA, a preset, or both.",
            "For example: catena init data.csv, or catena init --preset stance",
        )
    if out.exists() or out.is_symlink():
        raise _taken(out)
    labels = parse_task(preset_text(preset, None, out)[0]).labels if preset else ()
    guess = guess_columns(data, tuple(labels)) if data else None
    if preset:
        text, notes = preset_text(preset, guess, out)
    else:
        assert data is not None
        assert guess is not None
        text, notes = task_text(guess, data, out)
    task = parse_task(text, str(out))
    Prompter(task)
    _write(text, out)
    for note in notes:
        output.warn(f"{note}.")
    columns = {key: getattr(task.data, key) for key in ("text", "id", "target", "gold")}
    if guess is not None:
        output.say(
            f"{data}: {counted(guess.rows, 'row')}.",
            *[f"  {key}: {name or '-'}" for key, name in columns.items()],
        )
    output.say(f"Wrote {out}. Look it over, then: catena check {out} {data or 'DATA'}")
    found = {"rows": guess.rows if guess else None, **columns, "labels": list(task.labels), "notes": notes}
    output.result({"task": str(out), "preset": preset, "data": str(data) if data else None, **found})


def _write(text: str, out: Path) -> None:
    from catena.errors import InputError

    try:
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise _taken(out) from None
    except OSError as error:
        raise InputError(f"{out} can't be written: {error.strerror}.", "Choose another --out.") from error


def _taken(out: Path) -> Exception:
    from catena.errors import InputError

    return InputError(f"{out} is there already and stays as it is.", "Choose another name with --out.")
