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

    Also leaves the task file and the data in the folder, to play with.
    """
    from catena import demo
    from catena.cli.run import run_and_show
    from catena.task import parse_task

    text, data = demo.task_text(), demo.messages().read_bytes()
    folder = out / "input"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(text, "utf-8")
    (folder / "messages.csv").write_bytes(data)
    output.say(
        "240 messages to a town hall, 6 topics. Link 1 knows the labels' names, link 2 also examples.", ""
    )
    run_and_show(output, parse_task(text), folder / "messages.csv", out / "run")
    output.say(
        f"Again, by hand: catena run {folder / 'task.yaml'} {folder / 'messages.csv'} --out {out / 'run'}"
    )
