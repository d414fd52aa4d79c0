"""Labels for a DataFrame, in one call."""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catena.engine.results import LABELS_FILE
from catena.engine.run import Run
from catena.errors import StoppedError
from catena.ledger import FILE
from catena.task import TaskSpec, load_task, parse_task

__all__ = ["annotate"]

ADDED = ("label", "confidence", "link", "status", "reason")


def annotate(
    frame: Any, task: TaskSpec | Mapping[str, Any] | str | Path, *, out: Path | str | None = None
) -> Any:
    """Label the rows of a DataFrame with a chain.

    Args:
        frame: A pandas or Polars DataFrame.
        task: A task file's path, or its content as YAML text or as a mapping, or a `TaskSpec`.
        out: The run's folder, which the same call resumes. Without it the run lives in a temporary folder that is
            removed when it has finished, and kept when it stops.

    Returns:
        A DataFrame of the same kind: the given columns, then label, confidence, link, status and reason (see
        `RUN/labels.parquet`). A column of such a name that is there already is replaced.

    Raises:
        InputError: The task or the rows can't be used.
        StoppedError: The run stopped before its end; the message names the folder to resume from.
    """
    spec = _task(task)
    temporary = None if out is not None else Path(tempfile.mkdtemp(prefix="catena-"))
    folder = Path(out) if out is not None else temporary / "run"  # type: ignore[operator]
    try:
        Run(spec, frame, folder).execute()
    except StoppedError as error:
        if temporary is None:
            raise
        raise type(error)(error.message, f"{error.hint} Go on with out={str(folder)!r}.") from error
    except BaseException:
        if temporary is not None and not (folder / FILE).exists():
            shutil.rmtree(temporary)
        raise
    labelled = _with_labels(frame, folder / LABELS_FILE)
    if temporary is not None:
        shutil.rmtree(temporary)
    return labelled


def _task(task: TaskSpec | Mapping[str, Any] | str | Path) -> TaskSpec:
    if isinstance(task, TaskSpec):
        return task
    if isinstance(task, Path) or (isinstance(task, str) and "\n" not in task):
        return load_task(Path(task))
    if isinstance(task, str):
        return parse_task(task)
    import yaml  # noqa: PLC0415 - only for mappings

    return parse_task(yaml.safe_dump(dict(task), sort_keys=False, allow_unicode=True))


def _with_labels(frame: Any, path: Path) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

    labels = pq.read_table(path, columns=list(ADDED))
    polars = sys.modules.get("polars")
    if polars and isinstance(frame, polars.DataFrame):
        return frame.with_columns(polars.from_arrow(labels))
    added = labels.to_pandas()
    added.index = frame.index
    return frame.assign(**{name: added[name] for name in ADDED})
