"""Labels for a DataFrame, in one call."""

import asyncio
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catena.engine.results import LABELS_FILE
from catena.engine.run import Run
from catena.errors import InputError, StoppedError
from catena.ledger import FILE
from catena.task import TaskSpec, load_task, parse_task

if TYPE_CHECKING:
    from catena.engine.progress import Progress

__all__ = ["annotate"]

ADDED = ("label", "confidence", "link", "status", "reason")


def annotate(
    frame: Any,
    task: TaskSpec | Mapping[str, Any] | str | Path,
    *,
    out: Path | str | None = None,
    update: bool = False,
    fresh: bool = False,
) -> Any:
    """Label the rows of a DataFrame with a chain. Also works in a notebook.

    Args:
        frame: A pandas or Polars DataFrame.
        task: A task file's path, or its content as YAML text or as a mapping, or a `TaskSpec`.
        out: The run's folder, which the same call resumes. Without it the run lives in a temporary folder that is
            removed when it has finished, and kept and named when it stops.
        update: Go on in `out` although rows, prompts or link settings changed.
        fresh: Move an earlier run in `out` aside first.

    Returns:
        A DataFrame of the same kind: the given columns, then label, confidence, link, status and reason (see
        `RUN/labels.parquet`). Where a given column has such a name, ours is `label_catena` and so on.

    Warns:
        UserWarning: What `catena run` says on stderr, such as that a link's votes have no confidence.

    Raises:
        InputError: The task or the rows can't be used; nothing was paid.
        StoppedError: The run stopped before its end; the message names the folder to resume from.
    """
    _check_frame(frame)
    spec = _task(task)
    temporary = Path(tempfile.mkdtemp(prefix="catena-")) if out is None else None
    folder = temporary / "run" if temporary is not None else Path(out or ".")
    seen: list[Progress] = []
    try:
        _apart_from_any_loop(
            lambda: Run(spec, frame, folder).execute(update=update, fresh=fresh, watch=seen.append)
        )
    except BaseException as error:
        if temporary is not None and not (folder / FILE).exists():
            shutil.rmtree(temporary)
        elif temporary is not None and isinstance(error, StoppedError):
            raise type(error)(error.message, f"{error.hint} Go on with out={str(folder)!r}.") from error
        elif temporary is not None:
            error.add_note(f"The votes so far are in {folder}.")
        raise
    labelled = _with_labels(frame, folder / LABELS_FILE)
    if temporary is not None:
        shutil.rmtree(temporary)
    for line in (line for progress in seen for line in progress.warnings):
        warnings.warn(f"catena: {line}", stacklevel=2)
    return labelled


def _check_frame(frame: Any) -> None:
    frames = [getattr(sys.modules.get(name), "DataFrame", None) for name in ("pandas", "polars")]
    if not isinstance(frame, tuple(kind for kind in frames if kind is not None)):
        raise InputError(
            f"annotate labels a pandas or Polars DataFrame, not a {type(frame).__name__}.",
            "For a file use catena run; collect() a LazyFrame.",
        )


def _apart_from_any_loop(work: Callable[[], Any]) -> None:
    """Run here, or in a thread of its own where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def _task(task: TaskSpec | Mapping[str, Any] | str | Path) -> TaskSpec:
    if isinstance(task, TaskSpec):
        return task
    if isinstance(task, Path) or (isinstance(task, str) and "\n" not in task):
        return load_task(Path(task))
    if isinstance(task, str):
        return parse_task(task)
    import yaml  # noqa: PLC0415 - only for mappings

    given = dict(task)
    if isinstance(given.get("labels"), Mapping):
        given["labels"] = {label: text or "" for label, text in given["labels"].items()}
    return parse_task(yaml.safe_dump(given, sort_keys=False, allow_unicode=True))


def _with_labels(frame: Any, path: Path) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    labels = pq.read_table(path, columns=list(ADDED))
    labels = labels.rename_columns([f"{name}_catena" if name in frame.columns else name for name in ADDED])
    polars = sys.modules.get("polars")
    if polars and isinstance(frame, polars.DataFrame):
        return frame.with_columns(polars.from_arrow(labels))
    added = labels.to_pandas()
    added.index = frame.index
    return frame.assign(**{name: added[name] for name in added.columns})
