"""What a command says: text on a terminal, or exactly one JSON document."""

import sys
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Output", "counted", "refuse_target"]


class Output:
    """Where a command's words go. With `json`, only `result` writes to stdout.

    Attributes:
        json: Stdout is one JSON document.
        answered: The document is written.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.answered = False
        self._stdout = sys.stdout

    @property
    def width(self) -> int:
        """Characters in a line of the terminal, or of a file."""
        return int(self._console().width)

    @property
    def ink(self) -> Any:
        """What pictures are drawn with: ASCII where nothing else can be shown."""
        from catena.cli.drawing import Ink

        return Ink(ascii=self._console().options.ascii_only)

    def say(self, *things: Any) -> None:
        """Print lines or rich tables for a person; to stderr where stdout is JSON."""
        console = self._console()
        with console.capture() as captured:
            for thing in things:
                # What a very narrow terminal can't hold goes on in the next line: nothing is cut, no column left out.
                if (getattr(thing, "min_width", None) or 0) > console.width:
                    thing.width = thing.min_width
                console.print(thing, soft_wrap=isinstance(thing, str) and _whole(console, thing), crop=False)
        text = captured.get()
        if not console.is_terminal:
            text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        console.file.write(text)
        console.file.flush()

    def _console(self) -> Any:
        from rich.console import Console

        file = sys.stderr if self.json else sys.stdout
        console = Console(file=file, highlight=False, markup=False, emoji=False)
        if console.is_terminal:
            return console
        return Console(file=file, highlight=False, markup=False, emoji=False, width=160, color_system=None)

    def warn(self, line: str) -> None:
        """Print a line to stderr."""
        print(f"catena: {line}", file=sys.stderr)  # noqa: T201

    def result(self, value: Any) -> None:
        """Print the JSON document, if JSON was asked for. NaN and infinities become null."""
        if self.json and not self.answered:
            self.answered = True
            try:
                encoded = msgspec.json.encode(value)
            except UnicodeEncodeError:  # a path need not be Unicode
                encoded = msgspec.json.encode(_unicode(msgspec.to_builtins(value)))
            document = msgspec.json.format(encoded, indent=2).decode()
            self._stdout.write(document + "\n")
            self._stdout.flush()

    def error(self, line: str, code: int) -> int:
        """Say why the command failed, and return its exit code."""
        line = _unicode(" ".join(line.split()))
        self.warn(line)
        self.result({"error": line, "exit_code": code})
        return code


def _unicode(value: Any) -> Any:
    """Return plain data in which every text has a form that can be written: a byte that is none becomes its number."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_unicode(key): _unicode(each) for key, each in value.items()}
    return [_unicode(each) for each in value] if isinstance(value, list) else value


def _whole(console: Any, line: str) -> bool:
    """Whether a line is one piece, wherever the screen breaks it: one with a command or a path, which are copied, or in a file."""
    return not console.is_terminal or "catena " in line or "/" in line


def counted(n: int, what: str) -> str:
    """Return a number of things.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def refuse_target(file: Path | None, votes: Path, option: str) -> None:
    """Refuse to write into a vote table or into a folder that is not there.

    Raises:
        InputError: `file`, which the option names, is in such a place.
    """
    from catena.errors import InputError

    if file and file.resolve().is_relative_to(votes.resolve()):
        raise InputError(
            f"{file} is inside the vote table, which stays as it is.", f"Choose another {option}."
        )
    if file and not file.parent.is_dir():
        raise InputError(f"{file.parent} is no folder.", f"Make it, or choose another {option}.")
