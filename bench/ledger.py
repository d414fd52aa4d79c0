"""What it costs to keep a vote: the ledger's writer, alone.

python bench/ledger.py [--votes 20000] [--single 1000] [--runs 5] [--folder .]

Votes of 3 labels with log-probabilities, as a chat model gives them, on the disk that holds FOLDER. "Groups of 64" is the
writer as a run uses it: SQLite in WAL mode, synchronous=FULL, each group committed before more than 64 are uncommitted.
"One by one" is the same writer with groups of 1. The bound is the same votes as lines of JSON, appended to a file with one
fsync for each 64: no index, no checksum, no way to change anything. Bytes are those of the files at the end. The runs go
through the three in turn; medians. Nothing here fails by time.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import median
from unittest import mock

import msgspec

from catena.ledger import WritableLedger, writer
from catena.types import Usage, Vote
from measure import machine, table

LABELS = ("positive", "negative", "neutral")


@dataclass(frozen=True)
class Kept:
    """What keeping votes took: how many, seconds on the clock, CPU seconds, bytes on disk."""

    votes: int
    wall: float
    cpu: float
    size: int


def votes(count: int) -> list[tuple[bytes, Vote]]:
    """Return distinct keys and votes."""
    return [
        (
            blake2b(str(n).encode(), digest_size=16).digest(),
            Vote(
                LABELS[n % 3],
                0.1 + n / count,
                "label_logprobs",
                (-0.1 - n / count, -2.5 - n / count, -4.0),
                LABELS[n % 3],
                Usage(150, 1, 0.0000231, 100.0 + n % 7),
                "gpt-4o-mini-2024-07-18 fp_0123456789",
            ),
        )
        for n in range(count)
    ]


def into_ledger(given: Sequence[tuple[bytes, Vote]], folder: Path, group: int) -> None:
    """Store votes as a run does."""

    async def append() -> None:
        to = ledger.writer(lambda _: None)
        for row, (key, vote) in enumerate(given):
            await to.append(number, key, (row,), vote)
        await to.close()

    ledger = WritableLedger(folder)
    number = ledger.put_link("mini", b"fingerprint", "gpt-4o-mini")
    with mock.patch.object(writer, "GROUP", group):
        asyncio.run(append())
    stored = ledger.votes_count(number)
    ledger.close()
    if stored != len(given):
        raise SystemExit(f"error: {stored} of {len(given)} votes are in the ledger.")


def into_lines(given: Sequence[tuple[bytes, Vote]], folder: Path, group: int) -> None:
    """Append votes to a file of JSON lines."""
    encode = msgspec.json.Encoder().encode
    with (folder / "votes.jsonl").open("ab", buffering=0) as file:
        for at in range(0, len(given), group):
            lines = [encode((row, key, vote)) for row, (key, vote) in enumerate(given[at : at + group], at)]
            file.write(b"\n".join(lines) + b"\n")
            os.fsync(file.fileno())


def kept(
    how: Callable[[Sequence[tuple[bytes, Vote]], Path, int], None],
    given: Sequence[tuple[bytes, Vote]],
    group: int,
    under: Path,
) -> Kept:
    """Keep votes in a new folder and return what it took."""
    with tempfile.TemporaryDirectory(dir=under, prefix="ledger-bench-") as name:
        start, used = time.perf_counter(), time.process_time()
        how(given, Path(name), group)
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        size = sum(file.stat().st_size for file in Path(name).iterdir())
    return Kept(len(given), wall, cpu, size)


def line(name: str, runs: Sequence[Kept]) -> dict[str, str]:
    """Return a line of the table: medians of the runs."""
    count, walls = runs[0].votes, [run.wall for run in runs]
    wall = median(walls)
    return {
        "votes kept": name,
        "votes": f"{count:,}",
        "votes/s": f"{count / wall:,.0f} ({count / max(walls):,.0f}-{count / min(walls):,.0f})",
        "µs / vote": f"{wall / count * 1e6:,.1f}",
        "CPU µs / vote": f"{median(run.cpu for run in runs) / count * 1e6:,.1f}",
        "bytes / vote": f"{median(run.size for run in runs) / count:,.0f}",
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=20_000)
    parser.add_argument("--single", type=int, default=1_000, help="votes of the way that commits one by one")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    given = parser.parse_args()
    where, all_votes, few_votes = machine(), votes(given.votes), votes(given.single)
    group = writer.GROUP
    ways = {
        f"ledger, groups of {group}": (into_ledger, all_votes, group),
        "ledger, one by one": (into_ledger, few_votes, 1),
        f"JSON lines, an fsync for each {group} (bound)": (into_lines, all_votes, group),
    }
    found: dict[str, list[Kept]] = {name: [] for name in ways}
    for _ in range(given.runs):
        for name, (how, what, size) in ways.items():
            found[name].append(kept(how, what, size, given.folder))
    print(f"{where}\n\nMedians of {given.runs} runs (lowest-highest)\n")
    print(table([line(name, runs) for name, runs in found.items()]))


if __name__ == "__main__":
    main()
