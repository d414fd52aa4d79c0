"""Small runs to report on: recorded votes of three links, with failures, costs and probabilities."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from catena.engine.run import Run, task_of
from catena.ledger import Ledger
from catena.report.facts import facts_of_run
from catena.task import parse_task
from chains import rows_of
from tables import vote, write_votes

LINKS = ("small", "middle", "big")
LABELS = ["favor", "against", "none"]
COSTS = {"small": 0.001, "middle": 0.004, "big": 0.02}


def votes_of(n=150, links=LINKS, labels=LABELS, *, words=True, seed=0):
    """Return rows of a vote table, and the gold labels; each link is right more often than the one before."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, len(labels), n)
    rows = []
    for j, link in enumerate(links):
        for i in range(n):
            sure = float(rng.uniform(0.4, 0.98))
            right = rng.random() < min(0.97, sure + 0.04 * j)
            said = (
                int(gold[i]) if right else int((gold[i] + 1 + rng.integers(0, len(labels) - 1)) % len(labels))
            )
            failed = rng.random() < 0.06
            logs = [
                math.log(sure if k == said else (1 - sure) / (len(labels) - 1)) for k in range(len(labels))
            ]
            more = {"label_logprobs": logs if words else None, "cost_usd": COSTS.get(link, 0.0)}
            error = (
                {"error": "refused: it would rather not" if i % 2 else "cut: the answer was cut"}
                if failed
                else {}
            )
            rows.append(vote(f"i{i}", link, None if failed else labels[said], sure, **more, **error))
    return rows, [labels[k] for k in gold]


def make_run(folder, rows, gold, *, links=LINKS, labels=LABELS, texts=None, source=None, out="run", **keys):
    """Replay votes into a run below a folder, and return the run's folder.

    Args:
        folder: Where votes and run go.
        rows: Of the vote table.
        gold: One label for each item; None for none.
        links: The chain.
        labels: The labels.
        texts: Of the items.
        source: A CSV file to write the items to and read them from; a DataFrame unless said.
        out: Name of the run's folder.
        keys: More of the task.
    """
    ids = list(dict.fromkeys(row["item_id"] for row in rows))
    columns = [pa.field("label_logprobs", pa.list_(pa.float64())), pa.field("error", pa.string())]
    named = {name for row in rows for name in row}
    table = pa.table(
        {
            name: pa.array(
                [row.get(name) for row in rows], next((c.type for c in columns if c.name == name), None)
            )
            for name in sorted(named)
        }
    )
    write_votes(folder / "votes", table, ids, labels=labels)
    chain = [
        each if isinstance(each, dict) else {"name": each, "kind": "replay", "votes": str(folder / "votes")}
        for each in links
    ]
    data = {"text": "text", "id": "id", **({} if gold is None else {"gold": "gold"}), **keys.pop("data", {})}
    text = yaml.safe_dump(
        {"name": "stance", "instruction": "What is the stance?", "labels": labels, "data": data, "chain": chain, **keys},
        allow_unicode=True, sort_keys=False,
    )  # fmt: skip
    frame = rows_of(
        texts or [f"text number {at}" for at in range(len(ids))], **({} if gold is None else {"gold": gold})
    )
    frame["id"] = ids
    if source is not None:
        frame.to_csv(source, index=False)
    Run(parse_task(text), frame if source is None else source, folder / out).execute()
    return folder / out


def facts_of(out: Path, **how):
    """Return what a report of a run tells."""
    with Ledger(out) as ledger:
        return facts_of_run(ledger, task_of(ledger), **how)
