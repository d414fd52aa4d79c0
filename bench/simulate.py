"""How long a user waits for `catena simulate DIR --permutations 3 --json`: the whole process, from start to exit.

python bench/simulate.py [--items 100000] [--links 5] [--length 3] [--runs 3] [--profile]

The vote table is synthetic, written to a temporary folder. Without a command line in the package yet, a `python -c` that
does the same by the library is timed. Nothing here fails by time.
"""

import argparse
import cProfile
import json
import math
import pstats
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LABELS = 4
LIBRARY = """
import json, sys
from pathlib import Path
from catena.data.votes import read_votes
from catena.evaluate.simulate import Simulator
print(json.dumps(list(Simulator(read_votes(Path(sys.argv[1]))).permutations(int(sys.argv[2])))))
"""


def write(folder: Path, items: int, links: int) -> None:
    """Write a vote table: 2 % failures, a tenth of the confidences coarse, costs rising by link, shuffled rows."""
    rng = np.random.Generator(np.random.PCG64(0))
    names = np.array([f"label {k}" for k in range(LABELS)], dtype=object)
    ids = np.array([f"item-{i:09d}" for i in range(items)], dtype=object)
    gold = np.floor(rng.random(items) * LABELS).astype(int)
    columns: dict[str, list[np.ndarray]] = {
        "item_id": [],
        "link": [],
        "label": [],
        "confidence": [],
        "cost_usd": [],
    }
    for j in range(links):
        right = rng.random(items) < 0.5 + 0.4 * j / links
        label = names[np.where(right, gold, np.floor(rng.random(items) * LABELS).astype(int))]
        label[rng.random(items) < 0.02] = None
        confidence = rng.random(items)
        coarse = rng.random(items) < 0.1
        columns["item_id"].append(ids)
        columns["link"].append(np.full(items, f"link {j}", dtype=object))
        columns["label"].append(label)
        columns["confidence"].append(np.where(coarse, np.round(confidence, 1), confidence))
        columns["cost_usd"].append(np.full(items, 1e-5 * 3**j))
    votes = pa.table({name: np.concatenate(parts) for name, parts in columns.items()})
    pq.write_table(votes.take(rng.permutation(len(votes))), folder / "votes.parquet")
    pq.write_table(pa.table({"item_id": ids, "text": ids, "gold": names[gold]}), folder / "items.parquet")
    (folder / "labels.json").write_text(json.dumps(names.tolist()), "utf-8")


def timed(command: list[str], runs: int) -> tuple[float, float]:
    """Return the best and the median seconds of a process."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return min(seconds), sorted(seconds)[len(seconds) // 2]


def commands(folder: Path, length: int) -> dict[str, list[str]]:
    """Return what is timed, by name."""
    python = [sys.executable, "-c"]
    found = {
        "python, numpy and pyarrow.parquet alone": [*python, "import numpy, pyarrow.parquet"],
        "library": [*python, LIBRARY, str(folder), str(length)],
    }
    if find_spec("catena.cli") is not None and find_spec("catena.cli").origin:
        arguments = ["simulate", str(folder), "--permutations", str(length), "--json"]
        found["catena simulate"] = [*python, "from catena.cli import main; main()", *arguments]
    return found


def profile(folder: Path, length: int) -> None:
    """Print where the time goes."""
    sys.argv = ["simulate", str(folder), str(length)]
    profiler = cProfile.Profile()
    profiler.run(LIBRARY.replace("print(", "len("))
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(18)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--links", type=int, default=5)
    parser.add_argument("--length", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.items, given.links)
        orders = math.perm(given.links, given.length)
        print(
            f"{given.items:,} items x {given.links} links, {orders} orders of {given.length}; {given.runs} runs each"
        )
        print(f"{'':42} {'best':>8} {'median':>8}")
        for what, command in commands(folder, given.length).items():
            best, median = timed(command, given.runs)
            print(f"{what:42} {best:7.2f}s {median:7.2f}s")
        if given.profile:
            profile(folder, given.length)


if __name__ == "__main__":
    main()
