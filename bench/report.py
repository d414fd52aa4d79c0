"""What a report takes: seconds, peak memory of its process tree, and the size of its file, by the number of rows.

python bench/report.py [--rows 4163 --rows 1000000] [--folder DIR] [--no-gold]

The run is of three links by the paper's rule (equal shares, `rank`), with prices, log-probabilities, 1 % of failures, and
gold. Its votes are made up and written into the ledger directly; `catena run` then decides and writes the labels. With
--folder, runs are kept there and used again.
"""

import argparse
import asyncio
import csv
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from endpoint import CATENA, LABELS, link, write_task
from measure import machine, run, table
from memory import measured

LINKS = {"small": (0.70, 0.1), "middle": (0.78, 0.5), "big": (0.86, 5.0)}
"""Accuracy, and USD per million tokens."""

SUBJECTS = (
    "the bus",
    "a lamp",
    "the library",
    "my neighbour",
    "this phone",
    "the soup",
    "that film",
    "our street",
)
FAILURES = ("no_label", "refused", "cut", "filtered")  # none that a run would ask again about
FAILED = 0.01


def write_rows(path: Path, gold: np.ndarray, *, named: bool) -> None:
    """Write rows with short texts that all differ."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "gold"])
        for n, truth in enumerate(gold.tolist()):
            text = (
                f"Message {n}: they told me about {SUBJECTS[n % 8]}, and I have thought about it ever since."
            )
            writer.writerow([f"r{n}", text, LABELS[truth] if named else ""])


def said(gold: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return label indices (-1 for a failure) and probabilities of the labels, [links, rows]."""
    labels, chances = [], []
    for right, _ in LINKS.values():
        chance = np.clip(generator.beta(4 * right, 4 * (1 - right), len(gold)), 0.34, 0.999)
        hit = generator.random(len(gold)) < chance
        other = (gold + generator.integers(1, len(LABELS), len(gold))) % len(LABELS)
        label = np.where(hit, gold, other)
        label[generator.random(len(gold)) < FAILED] = -1
        labels.append(label.astype(np.int16))
        chances.append(chance)
    return np.array(labels), np.array(chances)


def fill(task: Path, data: Path, out: Path, label: np.ndarray, chance: np.ndarray) -> None:
    """Write the votes of every row that reaches a link into the ledger of a new run."""
    from catena.aggregate import decide
    from catena.engine.run import Run
    from catena.ledger import WritableLedger
    from catena.links.identity import vote_key
    from catena.routing import exact_shares, ties
    from catena.task import load_task
    from catena.types import Failure, Usage, Vote

    made = Run(load_task(task), data, out)
    out.mkdir(mode=0o700)
    with WritableLedger(out) as ledger:
        made._admit(ledger, update=False)  # noqa: SLF001 - as the run does
        rest = (1 - chance) / (len(LABELS) - 1)
        margin = np.where(label >= 0, np.log(chance) - np.log(rest), np.nan)
        reached = decide(label >= 0, margin, exact_shares(None, len(LINKS)), ties(ledger.ids(), 0)).reached
        numbers = [ledger.put_link(each.name, each.fingerprint, each.name) for each in made.links]

        async def write() -> None:
            writer = ledger.writer(lambda _: None)
            for j, (each, (_, price)) in enumerate(zip(made.links, LINKS.values(), strict=True)):
                for block in ledger.all_items():
                    for item in block:
                        if not reached[j, item.row]:
                            continue
                        key = vote_key(each.fingerprint, each.render(item))
                        usage = Usage(180, 2, 182e-6 * price, 250.0, 1)
                        at = int(label[j, item.row])
                        if at < 0:
                            reason = FAILURES[item.row % len(FAILURES)]
                            answer = Failure(
                                reason, "the answer could not be used", usage=usage, model=each.name
                            )
                        else:
                            words = np.log(np.full(len(LABELS), rest[j, item.row]))
                            words[at] = np.log(chance[j, item.row])
                            sure = float(margin[j, item.row])
                            answer = Vote(
                                LABELS[at],
                                sure,
                                "label_logprobs",
                                tuple(words.tolist()),
                                LABELS[at],
                                usage,
                                each.name,
                            )
                        await writer.append(numbers[j], key, (item.row,), answer)
            await writer.close()

        asyncio.run(write())


def finished_run(folder: Path, rows: int, *, named: bool) -> Path:
    """Return the folder of a finished run of so many rows; made where it is not there."""
    out = folder / f"run-{rows}{'' if named else '-no-gold'}"
    if (out / "labels.parquet").exists():
        return out
    task, data = folder / f"{out.name}.json", folder / f"{out.name}.csv"
    generator = np.random.default_rng(rows)
    gold = generator.integers(0, len(LABELS), rows)
    write_rows(data, gold, named=named)
    chain = [
        link(name, "http://127.0.0.1:9/v1", model="made up", price={"input": price, "output": price})
        for name, (_, price) in LINKS.items()
    ]
    write_task(task, chain, data={"text": "text", "id": "id", "gold": "gold"})
    child = os.fork()
    if not child:
        fill(task, data, out, *said(gold, generator))
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("error: the ledger could not be filled.")
    run([CATENA, "run", task, data, "--out", out, "--json"])
    return out


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-gold", action="store_true")
    given = parser.parse_args()
    print(machine(), "\n")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        for rows in given.rows or [4163, 1_000_000]:
            out = finished_run(folder, rows, named=not given.no_gold)
            report = folder / f"{out.name}.html"
            peak, seconds = measured("report", out, "--out", report)
            cpu = run([CATENA, "report", out, "--out", report, "--json"])
            written = json.loads(cpu[1])["bytes"]
            found.append(
                {
                    "rows": f"{rows:,}",
                    "votes": f"{_votes(out):,}",
                    "seconds": f"{seconds:.1f}",
                    "seconds again": f"{cpu[0].wall:.1f}",
                    "CPU seconds": f"{cpu[0].cpu:.1f}",
                    "peak MB": f"{peak:,.0f}",
                    "report, kB": f"{written / 1e3:,.0f}",
                }
            )
    print(table(found))


def _votes(out: Path) -> int:
    from catena.ledger import Ledger

    with Ledger(out) as ledger:
        return sum(ledger.votes_count(number) for number, _ in ledger.links().values())


if __name__ == "__main__":
    main()
