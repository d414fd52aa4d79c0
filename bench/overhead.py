"""What the engine itself costs: `catena run` end to end against a mock endpoint on the same machine.

python bench/overhead.py [--rows 12000] [--concurrency 256] [--latency 100 --latency 0] [--runs 5] [--few 10]

Reading, rendering, calling, scoring, routing, ledger and labels.parquet; rows of 40 random words, all distinct; one link,
one call per row, label log-probabilities asked for. A vote is a row whose answer gave a label: a run with fewer is an
error. CPU seconds are those of the catena process and its children, user and system, never the server's. Medians over the
runs. Nothing here fails by time: the last columns only say what was reached.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from endpoint import WORDS_PER_ROW, compile_server, label, link, serving, write_rows, write_task
from measure import Cost, machine, median, table

ALLOWED_SECONDS = 1.5  # for starting: on the clock, and of CPU time
SHARE, RATE, CPU = 0.85, 4_000, 0.30

MEANING = f"""\
Three figures each: whole / beyond the {ALLOWED_SECONDS} s allowed for starting / beyond its own start.

- Votes/s: rows / wall seconds; aim >= {RATE:,} at 0 ms.
- Share of the bound, which is concurrency / latency; aim >= {SHARE:.0%} beyond {ALLOWED_SECONDS} s at 100 ms.
- CPU s / 1,000 votes: user + system; aim <= {CPU:.2f} beyond {ALLOWED_SECONDS} s.
- Own start: what the command takes for the few rows, less one latency."""


def row(latency: int, rows: int, concurrency: int, costs: Sequence[Cost], start: Cost) -> Mapping[str, str]:
    """Return one line of the table.

    Args:
        latency: Milliseconds.
        rows: How many were labelled.
        concurrency: Most calls at a time.
        costs: Of each run.
        start: Of the command on few rows.
    """
    cost, walls = median(costs), [each.wall for each in costs]
    own = start.wall - latency / 1000
    rates = [rows / max(cost.wall - allowed, 1e-9) for allowed in (0.0, ALLOWED_SECONDS, own)]
    cpus = [max(cost.cpu - allowed, 0.0) / rows * 1000 for allowed in (0.0, ALLOWED_SECONDS, start.cpu)]
    bound = concurrency / latency * 1000 if latency else None
    return {
        "latency": f"{latency} ms",
        "wall s": f"{cost.wall:.2f} ({min(walls):.2f}-{max(walls):.2f})",
        "votes/s": " / ".join(f"{rate:,.0f}" for rate in rates),
        "bound": f"{bound:,.0f}" if bound else "-",
        "share of the bound": " / ".join(f"{rate / bound:.0%}" for rate in rates) if bound else "-",
        "CPU s / 1,000 votes": " / ".join(f"{cpu:.3f}" for cpu in cpus),
        "user s": f"{cost.user:.2f}",
        "system s": f"{cost.system:.2f}",
        "peak MB": f"{cost.peak:.0f}",
        "own start s": f"{own:.2f}",
        "its CPU s": f"{start.cpu:.2f}",
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--few", type=int, default=10, help="rows of the run that shows what starting takes")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=int, action="append", help="milliseconds; may be repeated")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_server(folder)
        for rows in (given.few, given.rows):
            write_rows(folder / f"{rows}.csv", rows)
        lines = []
        for latency in given.latency or [100, 0]:
            with serving(program, "-d", str(latency)) as base_url:
                write_task(folder / "task.yaml", [link("mock", base_url, concurrency=given.concurrency)])
                found: dict[int, list[Cost]] = {given.few: [], given.rows: []}
                for _ in range(given.runs):
                    for rows, costs in found.items():
                        costs.append(
                            label(folder / "task.yaml", folder / f"{rows}.csv", folder / "run", rows)
                        )
                        shutil.rmtree(folder / "run")
            start = median(found[given.few])
            lines.append(row(latency, given.rows, given.concurrency, found[given.rows], start))
    print(f"{where}\n")
    print(
        f"{given.rows:,} rows of {WORDS_PER_ROW} words, one link, concurrency {given.concurrency}; bench/mock_server.c; "
        f"medians of {given.runs} runs (lowest-highest)\n"
    )
    print(f"{table(lines)}\n\n{MEANING}")


if __name__ == "__main__":
    main()
