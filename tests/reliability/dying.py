"""The catena command line in a process that sends itself a signal at a named step.

`python dying.py STEP NUMBER SIGNAL run TASK DATA --out RUN`: the NUMBER-th time that the run comes to the step, the signal
comes: 9 kills it. The steps are calls to the standard library and to pyarrow, so that no line of catena knows about it.
"""

import functools
import os
import random
import sqlite3
import sys
import threading
import time

__all__ = ["STEPS"]

MIDST_SECONDS = 0.003  # a commit that reaches the disk takes about so long


class Death:
    """Counts how often the step was reached."""

    def __init__(self, step: str, number: int, sign: int) -> None:
        self.step = step
        self.left = number
        self.sign = sign

    def at(self, step: str) -> None:
        """Die here if this is the step and its time has come."""
        if step == self.step and self._now():
            self._send()

    def in_the_midst(self, step: str) -> None:
        """Die within the next milliseconds, while the caller goes on."""
        if step == self.step and self._now():
            delay = random.uniform(0, MIDST_SECONDS)
            threading.Thread(target=lambda: (time.sleep(delay), self._send()), daemon=True).start()

    def _now(self) -> bool:
        self.left -= 1
        return self.left == 0

    def _send(self) -> None:
        os.kill(os.getpid(), self.sign)


def connection_class(death: Death) -> type[sqlite3.Connection]:
    """Return a connection whose statements are steps."""

    class Connection(sqlite3.Connection):
        votes = False

        def execute(self, sql, *parameters):
            if sql == "COMMIT" and self.votes:
                death.at("votes written, not committed")
                death.in_the_midst("in a commit of votes")
            done = super().execute(sql, *parameters)
            if sql == "COMMIT" and self.votes:
                self.votes = False
                death.at("between two groups of votes")
            return done

        def executemany(self, sql, rows):
            rows = list(rows)
            if "INTO votes" in sql:
                self.votes = True
                death.at("before a group of votes")
            done = super().executemany(sql, rows)
            if "INTO votes" in sql:
                death.at("in a group of votes")
            if "INTO items" in sql:
                death.at("copying items")
            if "INTO meta" in sql and any(row[0] == "finished" and row[1] != "null" for row in rows):
                death.at("marking finished")
            return done

    return Connection


def haunt(death: Death) -> None:
    """Put the steps into this process."""
    import csv

    import pyarrow.parquet as pq

    sqlite3.connect = functools.partial(sqlite3.connect, factory=connection_class(death))

    def before_and_after(owner, name, before, after):
        real = getattr(owner, name)

        def wrapped(*given, **named):
            death.at(before)
            result = real(*given, **named)
            death.at(after)
            return result

        setattr(owner, name, wrapped)

    before_and_after(csv, "reader", "", "reading rows")
    before_and_after(pq.ParquetWriter, "write_table", "", "writing labels")
    before_and_after(os, "replace", "before replacing the labels file", "after replacing the labels file")


STEPS = (
    "reading rows", "copying items", "before a group of votes", "in a group of votes", "votes written, not committed",
    "in a commit of votes", "between two groups of votes", "writing labels", "before replacing the labels file",
    "after replacing the labels file", "marking finished",
)  # fmt: skip
"""In the order in which a run comes to them."""


if __name__ == "__main__":
    haunt(Death(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    from catena.cli import main

    sys.exit(main(sys.argv[4:]))
