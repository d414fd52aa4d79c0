"""What the engine itself costs: `catena run` end to end against a mock endpoint on this machine.

python bench/overhead.py [--rows 12000] [--concurrency 256] [--latency 100 --latency 0] [--runs 3] [--few 10]

Rows are 40 random words each, all distinct; one link, one call per row, label log-probabilities asked for. The endpoint is
bench/mock_server.c where gcc is at hand, else the (slower) provider of catena.testing. CPU seconds are those of the catena
process and its children, user and system, never the server's. A vote is a row whose answer gave a label: a run with fewer
is an error. Medians over the runs. Nothing here fails by time.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catena.testing.provider import spawn

SOURCE = Path(__file__).with_name("mock_server.c")
CATENA = Path(sys.executable).with_name("catena")
LABELS = ["positive", "negative", "neutral"]
WORDS_PER_ROW = 40
START_SECONDS = 10


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds on the clock, CPU seconds of user and system."""

    wall: float
    user: float
    system: float

    @property
    def cpu(self) -> float:
        """CPU seconds in all."""
        return self.user + self.system


def write_rows(path: Path, rows: int) -> None:
    """Write texts that all differ."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=4 + n % 7)) for n in range(5_000)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for n in range(rows):
            writer.writerow([f"r{n}", f"{n} " + " ".join(generator.choices(words, k=WORDS_PER_ROW - 1))])


def write_task(path: Path, base_url: str, concurrency: int) -> None:
    """Write a task of one link."""
    link = {
        "name": "mock",
        "kind": "openai",
        "model": "mock",
        "base_url": base_url,
        "price": "free",
        "concurrency": concurrency,
    }
    task = {
        "instruction": "What is the sentiment?",
        "labels": LABELS,
        "data": {"text": "text", "id": "id"},
        "chain": [link],
    }
    path.write_text(json.dumps(task), "utf-8")


def compile_server(folder: Path) -> Path | None:
    """Build the mock server; None without a compiler."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    program = folder / "mock_server"
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(program), str(SOURCE), "-lm"], check=True)
    return program


@contextlib.contextmanager
def serving(program: Path | None, latency_ms: int) -> Iterator[str]:
    """Run an endpoint on loopback and end it with the block; gives its base URL."""
    if program is None:
        with spawn(labels=LABELS, latency=latency_ms / 1000, other=0.0) as provider:
            yield provider.base_url
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), "-p", str(port), "-d", str(latency_ms)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        try:
            _wait_for(port, child)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.terminate()


def _wait_for(port: int, child: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise SystemExit(f"error: the mock server does not listen on port {port}.")


def timed(task: Path, data: Path, rows: int, folder: Path) -> Cost:
    """Run catena once in a new folder and return what it took; every row must get a label."""
    out = folder / "run"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [CATENA, "run", task, data, "--out", out, "--json"], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"error: catena run ended with {done.returncode}: {done.stderr}")
    result = json.loads(done.stdout)
    shutil.rmtree(out)
    if result["n"] != rows or result["failed"]:
        raise SystemExit(f"error: {result['failed']} of {result['n']} rows have no label, of {rows} given.")
    return Cost(wall, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)


def median(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        *(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "user", "system"))
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--few", type=int, default=10, help="rows of the run that shows what starting takes")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=int, action="append", help="milliseconds; may be repeated")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_server(folder)
        for rows in (given.rows, given.few):
            write_rows(folder / f"{rows}.csv", rows)
        load = os.getloadavg()[0]
        print(
            f"{given.rows:,} rows of {WORDS_PER_ROW} words, one link, concurrency {given.concurrency}; "
            f"{'bench/mock_server.c' if program else 'catena.testing.provider'}; {os.cpu_count()} cores, load {load:.1f} "
            f"at the start; medians of {given.runs} runs\n"
        )
        print(
            "| latency | rows | wall s | lowest-highest | ideal s | votes/s | CPU s | user | system | CPU s / 1,000 votes | start-up share of CPU |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for latency in given.latency or [100, 0]:
            with serving(program, latency) as base_url:
                write_task(folder / "task.yaml", base_url, given.concurrency)
                found = {rows: [] for rows in (given.few, given.rows)}
                for _ in range(given.runs):
                    for rows, costs in found.items():
                        costs.append(timed(folder / "task.yaml", folder / f"{rows}.csv", rows, folder))
            start = median(found[given.few]).cpu
            for rows, costs in found.items():
                cost, walls = median(costs), [each.wall for each in costs]
                ideal = -(-rows // given.concurrency) * latency / 1000
                print(
                    f"| {latency} ms | {rows:,} | {cost.wall:.2f} | {min(walls):.2f}-{max(walls):.2f} | {ideal:.2f} "
                    f"| {rows / cost.wall:,.0f} | {cost.cpu:.2f} | {cost.user:.2f} | {cost.system:.2f} "
                    f"| {cost.cpu / rows * 1000:.3f} | {start / cost.cpu:.0%} |"
                )


if __name__ == "__main__":
    main()
