"""Which kinds of links there are: those of the house, and those of plug-ins that a task names.

Adding one to the house is one new file and one line here. A plug-in is an installed package with an entry point of the group
`catena.links`; its name is the kind.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from catena.errors import CatenaError, TaskError
from catena.task import LinkSpec, TaskSpec
from catena.types import Link

__all__ = ["GROUP", "KINDS", "open_link"]

KINDS = {
    "anthropic": "catena.links.anthropic",
    "embedding": "catena.links.embedding",
    "human": "catena.links.human",
    "litellm": "catena.links.litellm",
    "openai": "catena.links.openai",
    "replay": "catena.links.replay",
    "transformers": "catena.links.transformers",
}
"""Each module has `open_link(spec, task, where)`."""
GROUP = "catena.links"
"""The group of entry points of plug-ins; each is such a function."""

Opener = Callable[[LinkSpec, TaskSpec, str], Link]


def open_link(spec: LinkSpec, task: TaskSpec) -> Link:
    """Build a link from its entry in the task; nothing is called or loaded yet.

    The house's own kinds come first: no plug-in takes the place of one. Of plug-ins only the one that is named is imported.

    Raises:
        TaskError: An unknown kind, a wrong option, or a plug-in that can't be imported; the message names the link.
        MissingExtraError: The kind needs a package that is not installed.
    """
    where = f"link '{spec.name}'"
    own = KINDS.get(spec.kind)
    opener: Opener = import_module(own).open_link if own else _plugged_in(spec.kind, where)
    return opener(spec, task, where)


def _plugged_in(kind: str, where: str) -> Opener:
    """Return what opens links of a kind that a plug-in brings."""
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=kind)}
    if not found:
        known = sorted({*KINDS, *(entry.name for entry in entry_points(group=GROUP))})
        raise TaskError(f"{where}: unknown kind '{kind}'.", f"Kinds: {', '.join(known)}.")
    if len(found) > 1:
        raise TaskError(
            f"{where}: kind '{kind}' is brought by several packages: {', '.join(map(_package, found.values()))}.",
            "Uninstall all but one.",
        )
    (entry,) = found.values()
    try:
        opener = entry.load()
    except CatenaError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise TaskError(
            f"{where}: kind '{kind}' of {_package(entry)} can't be imported: {said}.",
            "Reinstall the package.",
        ) from error
    if not callable(opener):
        raise TaskError(
            f"{where}: kind '{kind}' of {_package(entry)} is no function that opens links.",
            "Its entry point must name one, such as my_package:open_link.",
        )
    found_opener: Opener = opener
    return found_opener


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
