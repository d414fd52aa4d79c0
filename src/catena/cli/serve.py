"""catena serve: a local page on a run."""

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="serve")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 8710 unless said, or any free one if that is taken."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than this machine's are open to the network.",
)
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--no-token", is_flag=True, help="Let every user of this machine in; only on its own addresses."
)
@click.pass_obj
def command(output: Any, run: Path, port: int | None, host: str, open_: bool, no_token: bool) -> None:
    """Show RUN on a local page, while it works and afterwards: progress, cost, items with all votes.

    The printed address opens the page once; Ctrl+C ends it. What is changed there (pause, calls at a time, budget) holds
    for the process that works on the run now.
    """
    import webbrowser

    from catena.errors import MissingExtraError

    try:
        from catena.web.serving import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError("catena serve", "web") from error

    told: list[str] = []

    def say(address: str) -> None:
        output.result({"run": str(run), "url": address})
        output.say(f"For another browser: {address}" if told else f"{run} is shown at {address}")
        if open_ and not told:
            webbrowser.open(address)
        told.append(address)

    serve(run, say, host=host, port=port, everyone=no_token)
