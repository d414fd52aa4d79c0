"""A chain whose links work at the same time against the same links one after the other.

python bench/pipelining.py [--rows 3000] [--rate 150] [--concurrency 16] [--latency 100] [--runs 3]

Three links, each a bench/mock_server.c of its own that answers so many requests a second and no more (further ones get 429);
equal shares. "Together" is one `catena run`: what a link surely forwards, the next one gets at once. "One after the other" is
three runs over the same folder: the chain of the first link alone, then of two, then of three, with shares that make each
link keep what it keeps in the whole chain; so each run buys the votes of one link. Both must end with the same labels, byte
for byte. Start-up is what the same commands take on a few rows; the ratio is of the wall times less it, so that starting
three times counts for nothing. Nothing here fails by time.
"""

import argparse
import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from endpoint import compile_server, label, link, serving, write_rows, write_task
from measure import machine, table

FEW = 9
AIM = 0.6
NAMES = ("first", "second", "third")
SHARES = (None, ["1/3", "2/3"], None)
"""Of the chains of one, two and three links."""

WAYS = {"together": (3,), "one after the other": (1, 2, 3)}
"""Lengths of the chains that are run in turn."""


@contextlib.contextmanager
def chain(program: Path, rate: float, latency: int, concurrency: int) -> Iterator[list[dict[str, Any]]]:
    """Run a server for each link; gives the chain."""
    limits = ["-d", str(latency), "-r", str(rate), "-b", str(concurrency), "-a", "1"]
    with contextlib.ExitStack() as servers:
        yield [
            link(name, servers.enter_context(serving(program, *limits)), model=name, concurrency=concurrency)
            for name in NAMES
        ]


def walls(
    folder: Path, links: Sequence[dict[str, Any]], lengths: Sequence[int], rows: int
) -> tuple[list[float], bytes]:
    """Run chains of these lengths in turn over one folder; returns the wall time of each and the labels at the end."""
    data, out = folder / f"{rows}.csv", folder / "run"
    found = []
    for length in lengths:
        shares = SHARES[length - 1]
        policy = {} if shares is None else {"policy": {"share": shares}}
        write_task(folder / "task.yaml", links[:length], **policy)
        found.append(label(folder / "task.yaml", data, out, rows).wall)
    labels = (out / "labels.parquet").read_bytes()
    shutil.rmtree(out)
    return found, labels


def middle(found: Sequence[Sequence[float]]) -> list[float]:
    """Return the median wall time of each command in a sequence of them."""
    return [statistics.median(each) for each in zip(*found, strict=True)]


def report(found: Mapping[tuple[str, int], Sequence[Sequence[float]]], rows: int, rate: float) -> str:
    """Return the table and the ratio.

    Args:
        found: Wall times of the commands of each run, by way and count of rows.
        rows: How many were labelled.
        rate: Requests a second that each link answers.
    """
    lines, beyond = [], []
    for way, commands in WAYS.items():
        whole, start = middle(found[way, rows]), middle(found[way, FEW])
        beyond.append(sum(whole) - sum(start))
        votes = sum(rows * (len(NAMES) - at) / len(NAMES) for at in range(len(NAMES)))
        lines.append(
            {
                "links work": way,
                "commands": str(len(commands)),
                "wall s": f"{sum(whole):.1f} ({' + '.join(f'{wall:.1f}' for wall in whole)})",
                "start-up s": f"{sum(start):.1f}",
                "beyond start-up s": f"{beyond[-1]:.1f}",
                "at the rate alone s": f"{(rows if len(commands) == 1 else votes) / rate:.1f}",
            }
        )
    return f"{table(lines)}\n\nBeyond start-up: {beyond[0] / beyond[1]:.2f} of the time (aim <= {AIM}; by the rates alone 0.50)."


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--rate", type=float, default=150, help="requests a second that each link answers")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=int, default=100, help="milliseconds")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    found: dict[tuple[str, int], list[list[float]]] = {
        (way, rows): [] for rows in (FEW, given.rows) for way in WAYS
    }
    where, labels = machine(), set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compile_server(folder)
        for rows in (FEW, given.rows):
            write_rows(folder / f"{rows}.csv", rows)
        for _ in range(given.runs):
            for (way, rows), runs in found.items():
                with chain(program, given.rate, given.latency, given.concurrency) as links:
                    took, said = walls(folder, links, WAYS[way], rows)
                runs.append(took)
                labels |= {said} if rows == given.rows else set()
    if len(labels) != 1:
        raise SystemExit("error: the two ways do not give the same labels.")
    print(
        f"{where}\n\n{given.rows:,} rows, three links of {given.rate:g} requests/s each, latency {given.latency} ms, "
        f"concurrency {given.concurrency} a link; medians of {given.runs} runs; all with the same labels\n"
    )
    print(report(found, given.rows, given.rate))


if __name__ == "__main__":
    main()
