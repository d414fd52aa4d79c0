"""Every error that Catena raises on purpose, in one tree.

    CatenaError                 something a user can act on; `hint` says how
    ├── InputError              wrong usage or input: nothing was paid                      exit 2
    │   ├── TaskError           the task file: names the key
    │   ├── DataError           the rows or a vote table: names up to 20 places
    │   └── ChangedError        a run folder made from other rows, prompts or settings
    ├── MissingExtraError       a link needs a package that is not installed                exit 2
    └── StoppedError            the run stopped; the same command resumes it                exit 3
        ├── BusyError           another process works on this run
        ├── LinkError           a link is unusable as a whole (key, model, address, outage)
        │   └── ScoringError    its server does not score the labels itself in the way that was asked for
        └── LedgerError         the ledger can't be read or written

What goes wrong with a single item is never an exception: it is a `Failure` (see `types`).
"""

from collections.abc import Sequence

__all__ = [
    "BusyError",
    "CatenaError",
    "ChangedError",
    "DataError",
    "InputError",
    "LedgerError",
    "LinkError",
    "MissingExtraError",
    "ScoringError",
    "StoppedError",
    "TaskError",
    "places",
]

MOST_PLACES = 20


class CatenaError(Exception):
    """An error with one line that says what failed and where, and a `hint` that says what to do."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(CatenaError):
    """Wrong usage or input; found before anything is paid."""

    exit_code = 2


class TaskError(InputError):
    """A task file that can't be used; the message begins with the key."""


class DataError(InputError):
    """Rows or votes that can't be used; the message names the places."""


class ChangedError(InputError):
    """The run folder holds votes for other rows, prompts or link settings."""


class MissingExtraError(CatenaError):
    """A link needs a package that is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed.", f"Install them: pip install 'catena[{extra}]'"
        )


class StoppedError(CatenaError):
    """The run stopped before its end; all votes so far are kept and the same command resumes."""

    exit_code = 3
    retryable = True


class BusyError(StoppedError):
    """Another process works on this run."""


class LinkError(StoppedError):
    """A link is unusable as a whole: a refused key, an unknown model, an address where nothing answers."""


class ScoringError(LinkError):
    """A link whose server does not score the labels itself in the way that was asked for."""


class LedgerError(StoppedError):
    """The ledger can't be read or written."""


def places(found: Sequence[str], total: int | None = None) -> str:
    """Join up to 20 places into one line and say how many more there are.

    >>> places(["row 3", "row 7"])
    'row 3, row 7'
    """
    total = len(found) if total is None else total
    shown = ", ".join(found[:MOST_PLACES])
    more = total - min(len(found), MOST_PLACES)
    return f"{shown} and {more:,} more" if more > 0 else shown
