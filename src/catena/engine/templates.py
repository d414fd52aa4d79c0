"""The templates of a task and of its links, seen before anything is asked."""

from collections.abc import Sequence

from catena.data.rows import Rows
from catena.errors import DataError, TaskError
from catena.prompts import Prompter
from catena.task import TaskSpec
from catena.types import Link

__all__ = ["check_templates", "names_used"]


def check_templates(task: TaskSpec, links: Sequence[Link], rows: Rows) -> None:
    """Refuse templates that use what is no column, or that fail on the first row.

    Raises:
        TaskError: Names the template and what is wrong with it.
    """
    first = next(iter(rows))[0]
    for prompter in _prompters(task, links):
        try:
            prompter.check(rows.column_names)
            prompter(first)
        except DataError as error:
            raise TaskError(f"{' or '.join(prompter.keys)}: {error.message}") from error
        except TaskError as error:
            if task.data.target is None and "target" in error.message:
                raise TaskError(error.message, "Name the column: data: {target: COLUMN}.") from error
            raise


def names_used(task: TaskSpec, links: Sequence[Link]) -> frozenset[str]:
    """Return the columns that any template uses."""
    return frozenset().union(*(prompter.names for prompter in _prompters(task, links)))


def _prompters(task: TaskSpec, links: Sequence[Link]) -> list[Prompter]:
    """Return what renders the task's own questions, and those of each link that is asked by templates."""
    found = [getattr(link, "prompter", link.render) for link in links]  # what it renders may be more
    return [Prompter(task), *(each for each in found if isinstance(each, Prompter))]
