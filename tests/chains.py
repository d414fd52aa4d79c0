"""Small tasks, rows and runs against the fake provider."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from catena.engine.run import Run
from catena.ledger import Ledger, WritableLedger
from catena.links import open_link
from catena.task import parse_task

LABELS = ("favor", "against", "none")
CATENA = Path(sys.executable).parent / "catena"


def chain_task(*chain, labels=LABELS, **keys):
    """Return a task; links are mappings."""
    return parse_task(chain_text(*chain, labels=labels, **keys))


def chain_text(*chain, labels=LABELS, **keys):
    """Return a task file's text."""
    import yaml

    instruction = keys.pop("instruction", "What does it say?")
    task = {"instruction": instruction, "labels": list(labels), **keys, "chain": list(chain)}
    return yaml.safe_dump(task, sort_keys=False)


def openai(provider, name="small", **options):
    """Return an openai link to the provider; the model has the link's name."""
    return {
        "name": name,
        "kind": "openai",
        "model": name,
        "base_url": provider.base_url,
        "price": "free",
    } | options


def anthropic(provider, name="small", **options):
    """Return an anthropic link to the provider; the model has the link's name."""
    return openai(provider, name, **options) | {"kind": "anthropic"}


BATCH = {"mode": "batch", "poll": 0.02}
KINDS = {"openai": openai, "anthropic": anthropic}


def batches_in(out):
    """Return the batches that the ledger of a run knows."""
    ledger = Ledger(out)
    try:
        return ledger.batches()
    finally:
        ledger.close()


def open_alone(link, labels=LABELS, **task):
    """Return a link, given as a task has it, of a task that has it alone."""
    task = chain_task(link, labels=labels, **task)
    return open_link(task.chain[0], task)


def ask(link, *prompts):
    """Ask once and close."""

    async def work():
        try:
            return await link.ask(prompts)
        finally:
            await link.close()

    return asyncio.run(work())


def rows_of(texts, **columns):
    """Return a DataFrame with these texts and ids."""
    return pd.DataFrame({"id": [f"i{at}" for at in range(len(texts))], "text": list(texts), **columns})


def texts(count):
    """Return distinct texts."""
    return [f"text number {at}" for at in range(count)]


def execute(task, rows, out, **how):
    """Run, and return the rows of the labels file."""
    Run(task, rows, out).execute(**how)
    return labels_of(out)


def labels_of(out):
    """Return the rows of a run's labels file."""
    return pq.read_table(out / "labels.parquet").to_pylist()


def label_bytes(out):
    """Return the labels file."""
    return (out / "labels.parquet").read_bytes()


def votes_in(out):
    """Return how many answers the ledger of a run holds, by link."""
    ledger = Ledger(out)
    try:
        return {name: ledger.votes_count(number) for name, (number, _) in ledger.links().items()}
    finally:
        ledger.close()


def answers_in(out, link):
    """Return the answers of a link by row."""
    ledger = Ledger(out)
    try:
        return {row: answer for row, _, answer, _ in ledger.answers(ledger.links()[link][0])}
    finally:
        ledger.close()


def forget(out, link, rows):
    """Take a run back to where a link had not yet been asked about these rows, as if it had been stopped there."""
    with sqlite3.connect(out / "ledger.sqlite") as db:
        number = db.execute("SELECT link FROM links WHERE name = ?", (link,)).fetchone()[0]
        db.executemany("DELETE FROM asked WHERE link = ? AND row = ?", [(number, row) for row in rows])
        db.execute(
            "UPDATE totals SET answered = (SELECT count(*) FROM asked WHERE asked.link = ?1) WHERE link = ?1",
            (number,),
        )
    with WritableLedger(out) as ledger:
        ledger.put(finished=None, stopped="the budget is reached")


def start(*arguments, **environment):
    """Start `catena ...` as a process of its own."""
    env = os.environ | environment
    pipe = subprocess.PIPE
    return subprocess.Popen([str(CATENA), *map(str, arguments)], stdout=pipe, stderr=pipe, text=True, env=env)


def finish(process, timeout=60):
    """Wait for a process and return its exit code, stdout and stderr; it is gone afterwards."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err


def calls(provider):
    """Return how many calls each model got."""
    return Counter(call.model for call in provider.calls())
