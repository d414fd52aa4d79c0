"""The endpoint that benchmarks ask, and what they ask it: bench/mock_server.c, rows and a task."""

import contextlib
import csv
import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import Cost, run

SOURCE = Path(__file__).with_name("mock_server.c")
CATENA = Path(sys.executable).with_name("catena")
LABELS = ["positive", "negative", "neutral"]
"""What the server answers with."""

WORDS_PER_ROW = 40
START_SECONDS = 10


def write_rows(path: Path, rows: int) -> None:
    """Write texts that all differ."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=4 + n % 7)) for n in range(5_000)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for n in range(rows):
            writer.writerow([f"r{n}", f"{n} " + " ".join(generator.choices(words, k=WORDS_PER_ROW - 1))])


def link(name: str, base_url: str, **options: Any) -> dict[str, Any]:
    """Return an entry of `chain`."""
    return {
        "name": name,
        "kind": "openai",
        "model": "mock",
        "base_url": base_url,
        "price": "free",
        **options,
    }


def write_task(path: Path, chain: Sequence[Mapping[str, Any]], **keys: Any) -> None:
    """Write a task of these links."""
    task = {
        "instruction": "What is the sentiment?",
        "labels": LABELS,
        "data": {"text": "text", "id": "id"},
        "chain": chain,
        **keys,
    }
    path.write_text(json.dumps(task), "utf-8")


def compile_server(folder: Path) -> Path:
    """Build the server."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit(f"error: {SOURCE.name} needs a C compiler, and there is none.")
    program = folder / "mock_server"
    subprocess.run([compiler, "-O2", "-pthread", "-o", program, SOURCE, "-lm"], check=True)
    return program


@contextlib.contextmanager
def serving(program: Path, *options: str) -> Iterator[str]:
    """Run the server on loopback and end it with the block; gives its base URL.

    Args:
        program: As `compile_server` built it.
        options: For example `-d 100` (milliseconds), `-r 200` (requests a second).
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "-p", str(port), *options]
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


def label(task: Path, data: Path, out: Path, rows: int) -> Cost:
    """Run catena once and return what it took; every row must get a label."""
    cost, said = run([CATENA, "run", task, data, "--out", out, "--json"])
    result = json.loads(said)
    if result["n"] != rows or result["failed"]:
        raise SystemExit(f"error: {result['failed']} of {result['n']} rows have no label, of {rows} given.")
    return cost
