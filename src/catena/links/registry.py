"""Which kinds of links there are. Adding one is one new file and one line here."""

from importlib import import_module

from catena.errors import TaskError
from catena.task import LinkSpec, TaskSpec
from catena.types import Link

__all__ = ["KINDS", "open_link"]

KINDS = {
    "anthropic": "catena.links.anthropic",
    "embedding": "catena.links.embedding",
    "human": "catena.links.human",
    "openai": "catena.links.openai",
    "replay": "catena.links.replay",
    "transformers": "catena.links.transformers",
}
"""Each module has `open_link(spec, task, where)`."""


def open_link(spec: LinkSpec, task: TaskSpec) -> Link:
    """Build a link from its entry in the task; nothing is called or loaded yet.

    Raises:
        TaskError: An unknown kind or a wrong option; the message names the link and the key.
        MissingExtraError: The kind needs a package that is not installed.
    """
    where = f"link '{spec.name}'"
    if spec.kind not in KINDS:
        raise TaskError(f"{where}: unknown kind '{spec.kind}'.", f"Kinds: {', '.join(sorted(KINDS))}.")
    link: Link = import_module(KINDS[spec.kind]).open_link(spec, task, where)
    return link
