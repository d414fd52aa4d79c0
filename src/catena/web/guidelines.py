"""Guidelines as paragraphs, headings and lists: as much of Markdown as people need while they label. Nothing else is read."""

from typing import NamedTuple

__all__ = ["Block", "blocks"]

BULLETS = ("- ", "* ", "+ ")


class Block(NamedTuple):
    """A part of a text: its kind (`heading`, `list` or `text`), and its lines."""

    kind: str
    lines: list[str]


def blocks(text: str) -> list[Block]:
    """Return the parts of a text in order; what they hold is text, to be escaped like any other."""
    found: list[Block] = []
    begun = False
    for line in map(str.strip, text.splitlines()):
        if not line:
            begun = False
            continue
        title = line.lstrip("#")
        if title != line and title.startswith(" "):
            found.append(Block("heading", [title.strip()]))
            begun = False
            continue
        kind = "list" if line.startswith(BULLETS) else "text"
        if kind == "list":
            line = line[2:].strip()  # noqa: PLW2901 - the same line without its sign
        if begun and (found[-1].kind == kind or found[-1].kind == "list"):
            if kind == "list" or found[-1].kind == "text":
                found[-1].lines.append(line)
            else:  # a point that goes on in the next line
                found[-1].lines[-1] += f" {line}"
        else:
            found.append(Block(kind, [line]))
        begun = True
    return found
