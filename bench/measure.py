"""What every benchmark here needs: a command's cost, the machine it ran on, a table."""

import datetime as dt
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

MEGABYTE_OF_KILOBYTES = 1024


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Args:
        wall: Seconds from its start to its end.
        user: CPU seconds of it and the children it waited for.
        system: The same, in the kernel.
        peak: Largest resident memory of any one process of them, in MB; never less than this process's own.
    """

    wall: float
    user: float
    system: float
    peak: float

    @property
    def cpu(self) -> float:
        """CPU seconds in all."""
        return self.user + self.system


def run(command: Sequence[str | Path], **options: Any) -> tuple[Cost, str]:
    """Run a command to its end; returns what it took and its standard output.

    Args:
        command: The program and its arguments.
        options: As `subprocess.Popen` takes them, for example `cwd` and `env`.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, **options)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        said = _read(out)
        if child.returncode:
            lines = (_read(errors).strip() or said.strip() or "nothing was said").splitlines()
            raise SystemExit(f"error: {command[0]} ended with {child.returncode}: {' / '.join(lines[-3:])}")
    return Cost(wall, used.ru_utime, used.ru_stime, used.ru_maxrss / MEGABYTE_OF_KILOBYTES), said


def _read(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(figures) for figures in zip(*map(astuple, costs), strict=True)))


def machine() -> str:
    """Say when and on what this is measured, with the load before it began."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{today}; {os.cpu_count()} cores ({processor()}); load over 1, 5 and 15 minutes at the start: {loads}"


def processor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, where the system says it."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return "processor unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "processor unknown"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as a Markdown table; the keys of the first are the columns, the first of them a name."""
    head = list(rows[0])
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *[[row[name] for name in head] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
