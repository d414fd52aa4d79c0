"""The task: what to ask, about which columns, of which links, and how to decide; and its file."""

from catena.task.file import load_task, look_of, parse_task
from catena.task.spec import BudgetSpec, Columns, Draw, LinkSpec, TaskSpec
from catena.task.words import convert

__all__ = [
    "BudgetSpec",
    "Columns",
    "Draw",
    "LinkSpec",
    "TaskSpec",
    "convert",
    "load_task",
    "look_of",
    "parse_task",
]
