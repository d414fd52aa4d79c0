"""A task as a file: what a plan or a promise has found, ready to run."""

from pathlib import Path

import msgspec
import yaml

from catena.data.tables import replacing
from catena.task import Columns, TaskSpec

__all__ = ["REPLAY", "write_task"]

REPLAY = """\
# Replay it on the votes it was made from: catena simulate VOTES --task THIS_FILE
# To run it live, give every link of the chain its own kind and model, and the task its instruction.
"""
"""What stands in a task file whose links are recorded votes."""


def write_task(task: TaskSpec, path: Path, heading: str) -> None:
    """Write a task file under a heading of comments; what is as usual is left out."""
    usual = TaskSpec("task", "", {}, Columns(), ())
    said = msgspec.to_builtins(task)
    said = {
        key: value
        for key, value in said.items()
        if getattr(task, key) != getattr(usual, key) and key != "calibrated"
    }
    if task.policy.rule != "share":
        said["aggregate"] = task.aggregate
    described = any(task.labels.values())
    said["labels"] = dict(task.labels) if described else list(task.labels)
    said["chain"] = [{"name": link.name, "kind": link.kind, **link.options} for link in task.chain]
    if task.calibrated is not None:
        said["aggregate"] = {"calibrated": msgspec.to_builtins(task.calibrated)}
    for key in ("data", "budget"):
        if key in said:
            said[key] = {name: value for name, value in said[key].items() if value is not None}
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    with replacing(path) as file:
        file.write((heading + text).encode())
