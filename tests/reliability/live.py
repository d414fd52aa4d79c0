"""A chain over a fake provider, all in processes of their own, and what became of each vote."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from catena.ledger import FILE, Ledger
from catena.testing.provider import answered, spawn
from chains import LABELS, chain_text, openai, rows_of, start, texts

__all__ = ["MOST_UNCOMMITTED", "Live", "answers_of", "live"]

MOST_UNCOMMITTED = 64
"""The promise: one commit group for all links."""

DYING = Path(__file__).with_name("dying.py")


class Live:
    """Files of a run and its provider.

    Args:
        folder: Holds task.yaml, rows.csv and calls.jsonl.
        provider: At work.
        in_flight: Most calls at a time, the sum over the links.
    """

    def __init__(self, folder, provider, in_flight):
        self.folder = folder
        self.provider = provider
        self.in_flight = in_flight
        self.command = ["run", folder / "task.yaml", folder / "rows.csv", "--out"]

    def start(self, out, *more):
        """Start `catena run` into a folder."""
        return start(*self.command, out, *more)

    def start_dying(self, step, number, out, sign=signal.SIGKILL):
        """Start `catena run` in a process that sends itself a signal when it comes to a step for the `number`-th time."""
        line = [
            sys.executable,
            str(DYING),
            step,
            str(number),
            str(int(sign)),
            *map(str, self.command),
            str(out),
        ]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=os.environ)

    def wait(self, process, answers, seconds=60):
        """Wait until so many answers have been sent, or the process has ended."""
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            if self.provider.stats()["answered"] >= answers:
                return
            time.sleep(0.002)

    def answers_sent(self):
        """Return how many usable answers have been sent, now that the client is gone."""
        end = time.monotonic() + 10
        while (stats := self.provider.stats())["in_flight"] and time.monotonic() < end:
            time.sleep(0.01)
        return stats["answered"]

    def bought(self):
        """Return how often each question was answered."""
        self.provider.stats()
        return answered(self.folder / "calls.jsonl")


@contextlib.contextmanager
def live(folder, *, rows=400, concurrency=8, links=("small", "big"), task=None, **settings):
    """Write the files of a run over a provider of its own, which ends with the block."""
    given = {"labels": list(LABELS), "latency": 0.02, "ledger": str(folder / "calls.jsonl")} | settings
    with spawn(**given) as provider:
        chain = [openai(provider, name, concurrency=concurrency) for name in links]
        (folder / "task.yaml").write_text(chain_text(*chain, data={"id": "id"}, **(task or {})))
        rows_of(texts(rows)).to_csv(folder / "rows.csv", index=False)
        yield Live(folder, provider, concurrency * len(links))


def answers_of(out):
    """Return everything that a run's ledger holds: the answer by link and row; nothing where it has not begun."""
    if not (out / FILE).exists() or not (out / FILE).stat().st_size:
        return {}
    ledger = Ledger(out)
    try:
        return {
            (name, row): answer
            for name, (number, _) in ledger.links().items()
            for row, answer, _ in ledger.answers(number)
        }
    finally:
        ledger.close()
