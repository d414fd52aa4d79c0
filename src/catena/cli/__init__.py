"""The command line: one file per command. Heavy rooms are imported by the command that needs them."""

from catena.cli.main import main

__all__ = ["main"]
