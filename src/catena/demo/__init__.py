"""The demo: 240 messages to a town hall in 6 topics, with gold, and a chain of two local links.

Texts and gold are synthetic: written for this project, one by one, by a language model as the only annotator, before any
classifier was tried on them.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["messages", "task_text"]


def messages() -> Traversable:
    """Return the data file: id, message, topic."""
    return files("catena.demo") / "messages.csv"


def task_text() -> str:
    """Return the task file."""
    return (files("catena.demo") / "task.yaml").read_text("utf-8")
