"""The console script: finds the command, and turns every error into one line and an exit code."""

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence

import click

from catena import __version__
from catena.cli.output import Output
from catena.errors import CatenaError

__all__ = ["main"]

FILE_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
COMMANDS = (
    "demo",
    "init",
    "check",
    "run",
    "status",
    "results",
    "batch",
    "evaluate",
    "report",
    "estimate",
    "simulate",
    "plan",
    "certify",
    "serve",
)


class Commands(click.Group):
    """Imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands in the order in which one needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"catena.cli.{cmd_name}").command
        return command


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(__version__, prog_name="catena")
@click.pass_context
def catena(context: click.Context) -> None:
    """Label text data with a chain of LLMs: cheap links first, the dear ones only where they are needed.

    With --json, anywhere on the line, stdout is exactly one JSON document. With --debug, errors show where they arose.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        raise SystemExit(context.obj.error("which command? The list is above.", 2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 finished, 2 wrong usage or input, 3 stopped, 1 any other error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = _take(arguments, "--debug")
    output = Output(json=_take(arguments, "--json"))
    # With --json, whatever else prints (click's help, a library) is for a person: it goes to stderr.
    if argv is None:  # a supervisor's SIGTERM is a person's Ctrl+C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.redirect_stdout(sys.stderr) if output.json else contextlib.nullcontext():
        code = _run(arguments, output, debug=debug)
    output.result({})  # where a command had nothing to say, as with --help
    if argv is None:
        sys.exit(code)
    return code


def _run(arguments: list[str], output: Output, *, debug: bool) -> int:
    try:
        with _sigterm_like_ctrl_c():
            catena.main(arguments, prog_name="catena", standalone_mode=False, obj=output)
    except CatenaError as error:
        if debug:
            traceback.print_exc()
        return output.error(str(error), error.exit_code)
    except SystemExit as error:
        return int(error.code or 0)
    except click.ClickException as error:
        return output.error(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        return output.error("stopped. Every vote so far is kept; the same command goes on.", 3)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FILE_ERRORS as error:
        if debug:
            traceback.print_exc()
        return output.error(f"{error.filename}: {error.strerror}.", 2)
    except Exception as error:  # noqa: BLE001 - a traceback is no message for a user
        if debug:
            traceback.print_exc()
        return output.error(f"internal error: {type(error).__name__}: {error} (--debug shows where)", 1)
    return 0


@contextlib.contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM stop a command as Ctrl+C does: with one line, exit code 3 and nothing half done."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not in the main thread, where no signal comes
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _take(arguments: list[str], flag: str) -> bool:
    """Take a flag out of the line, wherever it stands before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found = flag in arguments[:end]
    arguments[:end] = [argument for argument in arguments[:end] if argument != flag]
    return found
