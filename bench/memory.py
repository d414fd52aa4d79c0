"""What a run keeps in memory: peak over the process tree, and bytes for each further row.

python bench/memory.py [--rows 100000 --rows 200000] [--phases filled|http] [--concurrency 256]

`http` (the default) runs `catena run` with three openai links against bench/mock_server.c, then resumes the finished run,
changes the aggregate, changes the seed, exports with --join, and asks for the status. `filled` writes the same ledger
directly, without HTTP: it measures everything but the pipeline. Peak: the larger of what is sampled 50 times a second over
the process and its children (VmRSS, summed) and the kernel's own high-water mark of the process (ru_maxrss).
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from endpoint import CATENA, LABELS, compile_server, link, serving, write_rows, write_task

LINKS = ("small", "middle", "big")
Figures = dict[str, dict[int, tuple[float, float]]]


def tree_kib(root: int) -> int:
    """Return the resident memory of a process and all below it, KiB."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text("utf-8")
            except OSError:
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    total, todo = 0, [root]
    while todo:
        number = todo.pop()
        todo += parents.get(number, [])
        try:
            status = Path(f"/proc/{number}/status").read_text("utf-8")
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return total


def measured(*arguments: object) -> tuple[float, float]:
    """Run a catena command and return (peak MB, seconds)."""
    start = time.perf_counter()
    command = [str(CATENA), *map(str, arguments), "--json"]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        while True:
            peak = max(peak, tree_kib(child.pid))
            number, status, usage = os.wait4(child.pid, os.WNOHANG)
            if number:
                break
            time.sleep(0.02)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"error: {' '.join(command)}: {child.stderr.read().decode()}")
    return max(peak, usage.ru_maxrss) * 1024 / 1e6, time.perf_counter() - start


def chain(base_url: str, concurrency: int) -> list[dict[str, Any]]:
    """Return three links of one endpoint."""
    return [link(name, base_url, concurrency=concurrency) for name in LINKS]


def fill(task: Path, data: Path, out: Path) -> None:
    """Write the ledger of a run whose links have answered every row, without asking them."""
    from catena.engine.run import Run
    from catena.ledger import WritableLedger
    from catena.links.identity import vote_key
    from catena.task import load_task
    from catena.types import Usage, Vote

    run = Run(load_task(task), data, out)
    out.mkdir()
    with WritableLedger(out) as ledger:
        run._admit(ledger, update=False)  # noqa: SLF001 - as the run does
        numbers = [ledger.put_link(link.name, link.fingerprint, "m") for link in run.links]

        async def write() -> None:
            writer = ledger.writer(lambda _: None)
            for link, number in zip(run.links, numbers, strict=True):
                for block in ledger.all_items():
                    for item in block:
                        key = vote_key(link.fingerprint, link.render(item))
                        sure = int.from_bytes(key[:4], "big") / 2**32
                        vote = Vote(
                            LABELS[key[4] % 3], sure, "label_logprobs", (-1.0, -1.1, -1.2), "x", Usage(200, 1)
                        )
                        await writer.append(number, key, (item.row,), vote)
            await writer.close()

        asyncio.run(write())


def measure(rows: int, folder: Path, base_url: str, given: argparse.Namespace, found: Figures) -> None:
    """Measure every phase at one number of rows."""
    data, task, out = folder / "rows.csv", folder / "task.json", folder / "run"
    write_rows(data, rows)
    links = chain(base_url, given.concurrency)
    write_task(task, links)
    if given.phases == "filled":
        child = os.fork()
        if not child:
            fill(task, data, out)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("error: the ledger could not be filled.")

    def note(phase: str, *arguments: object) -> None:
        found.setdefault(phase, {})[rows] = measured(*arguments)
        print(
            f"| {phase} | {rows:,} | {found[phase][rows][0]:,.0f} | {found[phase][rows][1]:,.1f} |",
            flush=True,
        )

    run = ("run", task, data, "--out", out)
    note("run" if given.phases == "http" else "run over known votes", *run)
    note("resume of a finished run", *run)
    write_task(task, links, aggregate="last")
    note("another aggregate", *run)
    write_task(task, links, aggregate="last", seed=1)
    note("another seed", *run)
    note("results --join", "results", out, "--join", "--out", folder / "x.csv")
    note("results --votes", "results", out, "--votes", folder / "votes")
    note("status", "status", out)
    note("check --ledger", "check", "--ledger", out)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--phases", choices=["http", "filled"], default="http")
    given = parser.parse_args()
    sizes = given.rows or [100_000, 200_000]
    found: Figures = {}
    print("| phase | rows | peak MB | seconds |\n|---|---|---|---|")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with serving(compile_server(folder), "-d", "0") as base_url:
                measure(rows, folder, base_url, given, found)
    if len(sizes) > 1:
        print("\n| phase | bytes for each further row |\n|---|---|")
        for phase, peaks in found.items():
            slope = (peaks[sizes[-1]][0] - peaks[sizes[0]][0]) * 1e6 / (sizes[-1] - sizes[0])
            print(f"| {phase} | {slope:,.0f} |")


if __name__ == "__main__":
    main()
