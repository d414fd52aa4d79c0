"""catena demo: the main job on a small data set that ships with the program."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="demo")
@click.option(
    "--out",
    default="demo-run",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the run.",
)
@click.pass_obj
def command(output: Any, out: Path) -> None:
    """Label 240 messages with a chain of two local links: no key, no network.

    Leaves the task file and the data in the folder, to play with: where they are there already, they are used as they
    are.
    """
    from catena import demo
    from catena.cli.run import run_and_show
    from catena.task import load_task

    folder = out / "input"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    task, data = folder / "task.yaml", folder / "messages.csv"
    if not task.exists():
        task.write_text(demo.task_text(), "utf-8")
    if not data.exists():
        data.write_bytes(demo.messages().read_bytes())
    output.say(
        "240 messages to a town hall, 6 topics. Link 1 knows the labels' names, link 2 also examples.", ""
    )
    run_and_show(output, load_task(task), data, out / "run")
    output.say(f"Again, by hand: catena run {task} {data} --out {out / 'run'}")
