"""What a command says: text on a terminal, or exactly one JSON document."""

import sys
from typing import Any

import msgspec

__all__ = ["Output"]


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

    def say(self, *things: Any) -> None:
        """Print lines or rich tables for a person; to stderr where stdout is JSON."""
        from rich.console import Console

        console = Console(
            file=sys.stderr if self.json else sys.stdout, highlight=False, markup=False, emoji=False
        )
        if not console.is_terminal:
            console = Console(
                file=console.file, highlight=False, markup=False, emoji=False, width=160, color_system=None
            )
        for thing in things:
            console.print(thing, soft_wrap=isinstance(thing, str))

    def warn(self, line: str) -> None:
        """Print a line to stderr."""
        print(f"catena: {line}", file=sys.stderr)  # noqa: T201

    def result(self, value: Any) -> None:
        """Print the JSON document, if JSON was asked for. NaN and infinities become null."""
        if self.json and not self.answered:
            self.answered = True
            document = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
            self._stdout.write(document + "\n")
            self._stdout.flush()

    def error(self, line: str, code: int) -> int:
        """Say why the command failed, and return its exit code."""
        line = " ".join(line.split()).encode(errors="backslashreplace").decode()  # a path need not be Unicode
        self.warn(line)
        self.result({"error": line, "exit_code": code})
        return code
