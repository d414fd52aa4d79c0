"""How long each view of the local page takes, on a run of many rows.

python bench/serve.py [--rows 1000000] [--asks 15] [--folder .] [--keep]

Makes a finished run of two links in FOLDER without a call: random words of about 200 characters, the second link on half of
the rows, one vote in fifty a failure. Then `catena serve` is started on it, as a process of its own, with no index yet. While
that is made, and again when it is whole, each view is asked for in turn, ASKS times each, over HTTP from this process: the
time is from the first byte sent to the last one read. Nothing here fails by time.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from http.client import HTTPConnection
from itertools import accumulate
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec

from catena.engine.results import LABELS_FILE, labels_digest, write_labels
from catena.ledger import WritableLedger
from catena.ledger.file import connect
from catena.ledger.rows import INSERT_VOTE, checksum, vote_row
from catena.ledger.schema import count
from catena.task import TaskSpec, parse_task
from catena.types import Answer, Failure, Item, Usage, Vote
from measure import machine, table

LABELS = ("favor", "against", "none", "unclear")
TASK = """
instruction: What does the author think of it?
labels: [favor, against, none, unclear]
data: {id: id}
chain:
  - {name: small, kind: openai, model: small, price: free, base_url: "http://localhost:1/v1"}
  - {name: big, kind: openai, model: big, price: free, base_url: "http://localhost:1/v1"}
"""
BLOCK = 20_000
VIEWS = {
    "the run": "/",
    "its live parts": "/live",
    "items": "/items",
    "items, last page": "/items?before=4611686018427387904",
    "items, in the midst": "/items?after={middle}",
    "by label": "/items?label=favor",
    "by label, last page": "/items?label=favor&before=4611686018427387904",
    "by link": "/items?link=big",
    "links disagree": "/items?disagree=1",
    "failures": "/items?failure=any",
    "without a label": "/items?status=failed",
    "rare: disagree, one label, one failure": "/items?failure=cut&label=none&disagree=1",
    "least sure first": "/items?order=unsure",
    "least sure first, in the midst": "/items?order=unsure&after={middle}",
    "disagree, surest first": "/items?disagree=1&order=sure",
    "confidence from 2 to 2.1": "/items?least=2&most=2.1",
    "confidence from 2 to 2.1, surest first": "/items?least=2&most=2.1&order=sure",
    "one label, confidence under 0.01": "/items?label=favor&most=0.01",
    "search: a frequent word": "/items?search=the",
    "search: a rare word": "/items?search={rare}",
    "search: what is nowhere": "/items?search=zzyzzx",
    "search: two letters": "/items?search=qz",
    "search: a phrase": "/items?search={phrase}",
    "search and filters": "/items?search=ing&label=favor&disagree=1",
    "search, least sure first": "/items?search={rare}&order=unsure",
    "search: an id": "/items?search=item-{middle}",
    "one item": "/items/{middle}",
    "the next item, of a filter": "/items/{middle}/next?label=favor&disagree=1",
}


def words(seed: int = 0) -> list[str]:
    """Return 30,000 words, the first ones short and frequent."""
    draw = random.Random(seed)
    made = ["the", "of", "and", "to", "in", "ing"]
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    made += ["".join(draw.choices(letters, range(26, 0, -1), k=draw.randint(3, 10))) for _ in range(30_000)]
    return made


def items(n: int) -> Iterator[list[Item]]:
    """Yield items of random words."""
    draw, known = random.Random(1), words()
    weights = list(accumulate(1 / (at + 5) for at in range(len(known))))
    for start in range(0, n, BLOCK):
        rows = range(start, min(start + BLOCK, n))
        yield [
            Item(
                row,
                f"item-{row}",
                " ".join(draw.choices(known, cum_weights=weights, k=draw.randint(15, 50))),
                {"source": "bench"},
            )
            for row in rows
        ]


def answer(row: int, link: str) -> Answer:
    """Return what a link says about a row: mostly what the other one says."""
    luck = blake2b(f"{link} {row}".encode(), digest_size=8).digest()
    usage = Usage(150, 1, 0.0000231, 100.0)
    if luck[0] < 5:
        return Failure(
            ("cut", "no_label", "filtered")[luck[1] % 3], "as it happens", text="well, perhaps", usage=usage
        )
    label = (row * 7 // 3 + (luck[2] < 60)) % len(LABELS)
    sure = int.from_bytes(luck[3:6]) / (1 << 22)
    return Vote(
        LABELS[label],
        sure,
        "label_logprobs",
        tuple(-0.2 - sure * (at != label) for at in range(4)),
        LABELS[label],
        usage,
        "m",
    )


def make_run(folder: Path, n: int) -> None:
    """Make a finished run."""
    task: TaskSpec = parse_task(TASK)
    with WritableLedger(folder) as ledger:
        ledger.replace_items(
            items(n),
            columns=["id", "text", "source"],
            id_type="string",
            template="t",
            source="bench.csv",
            gold=None,
        )
        numbers = [ledger.put_link(name, b"f" * 16, name) for name in ("small", "big")]
        connection = connect(ledger.path, "rw")
        for number, name, share in zip(numbers, ("small", "big"), (1, 2), strict=True):
            for start in range(0, n, BLOCK):
                connection.execute("BEGIN")
                rows = [row for row in range(start, min(start + BLOCK, n)) if row % share == 0]
                keys = [blake2b(f"{name} {row}".encode(), digest_size=16).digest() for row in rows]
                votes = [
                    vote_row(number, key, answer(row, name)) for key, row in zip(keys, rows, strict=True)
                ]
                connection.executemany(INSERT_VOTE, votes)
                asked = [(number, row, key) for row, key in zip(rows, keys, strict=True)]
                connection.executemany(
                    "INSERT INTO asked (link, row, key, crc) VALUES (?, ?, ?, ?)",
                    [(*each, checksum(each)) for each in asked],
                )
                connection.execute("COMMIT")
            count(connection, number)
        connection.close()
        ledger.put(task=msgspec.to_builtins(task))
        write_labels(ledger, task, folder / LABELS_FILE, provisional=True)
        ledger.put(finished="bench", labels=labels_digest(folder / LABELS_FILE))


class Page:
    """A page at work, and what asks it."""

    def __init__(self, run: Path) -> None:
        line = [str(Path(sys.executable).with_name("catena")), "serve", str(run), "--port", "0", "--no-token"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = urlsplit(self.process.stdout.readline().split()[-1]).port or 0
        self._cookie = ""
        self.ask("/")

    def ask(self, path: str) -> tuple[float, str]:
        """Return the seconds that a view takes, and its text."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        began = time.perf_counter()
        connection.request("GET", path, headers={"cookie": self._cookie})
        found = connection.getresponse()
        text = found.read().decode()
        took = time.perf_counter() - began
        connection.close()
        if found.status not in {200, 303}:
            raise SystemExit(f"error: {path}: {found.status}: {text[:500]}")
        self._cookie = (found.getheader("set-cookie") or self._cookie).partition(";")[0]
        return took, text

    def whole(self) -> bool:
        """Whether the index is whole."""
        return "being made" not in self.ask("/items/index")[1]

    def end(self) -> None:
        """End it as Ctrl+C does."""
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise SystemExit("error: the page did not end as it should.")


def measured(page: Page, views: dict[str, str], asks: int) -> dict[str, list[float]]:
    """Return the milliseconds of each view, asked for in turn."""
    taken: dict[str, list[float]] = {name: [] for name in views}
    for _ in range(asks):
        for name, path in views.items():
            taken[name].append(1000 * page.ask(path)[0])
    return taken


def line(name: str, during: Sequence[float], after: Sequence[float]) -> dict[str, str]:
    """Return a line of the table."""
    return {
        "view": name,
        "median ms": f"{median(after):,.0f}",
        "slowest ms": f"{max(after):,.0f}",
        "while the index is made: median ms": f"{median(during):,.0f}",
        "slowest ms ": f"{max(during):,.0f}",
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path(), help="where the run is made")
    parser.add_argument("--run", type=Path, help="a run that was made and kept before")
    parser.add_argument("--keep", action="store_true", help="keep the run")
    given = parser.parse_args()
    where = machine()
    run = given.run or Path(tempfile.mkdtemp(dir=given.folder, prefix="serve-bench-"))
    if given.run is None:
        make_run(run, given.rows)
    for path in run.glob("view.sqlite*"):
        path.unlink()
    text = next(items(1))[0].text
    fill = {"middle": given.rows // 2, "rare": words()[29_000], "phrase": "+".join(text.split()[:3])}
    views = {name: path.format(**fill) for name, path in VIEWS.items()}
    page = Page(run)
    began = time.perf_counter()
    try:
        during = measured(page, views, 2)
        while not page.whole():
            time.sleep(0.5)
        took = time.perf_counter() - began
        after = measured(page, views, given.asks)
    finally:
        page.end()
    size = sum(path.stat().st_size for path in run.glob("view.sqlite*"))
    print(f"{where}\n\n{given.rows:,} rows, {given.asks} times each; the index was made in {took:,.0f} s beside the other views and has "
          f"{size / 1e6:,.0f} MB (the ledger {(run / 'ledger.sqlite').stat().st_size / 1e6:,.0f} MB)\n")  # fmt: skip
    print(table([line(name, during[name], after[name]) for name in views]))
    slow = [name for name, taken in after.items() if max(taken) >= 300]
    print(f"\nViews that took 300 ms or more at any time: {re.sub('^$', 'none', ', '.join(slow))}")
    if given.run is None and not given.keep:
        shutil.rmtree(run)


if __name__ == "__main__":
    main()
