"""Promises that are bought live, from links that replay recorded votes."""

import contextlib

import numpy as np

from catena.engine.run import Run
from catena.evaluate.certificate import certified_task
from catena.evaluate.certify_run import asking, certify_run
from chains import chain_task, labels_of, rows_of
from tables import table_of, vote, write_votes

__all__ = ["Silent", "certified_live", "edge", "written"]


class Silent:
    """Tells nobody, and remembers what it was told."""

    def __init__(self):
        self.told = []

    def buys(self, purchases):
        """Remember what is bought."""
        self.told.append(("buys", purchases))

    def feasible(self, document):
        """Remember what the first items show."""
        self.told.append(("feasible", document))

    @contextlib.contextmanager
    def asking(self):
        """Show nothing."""
        yield lambda _: None


def edge(n=400, wrong=0.1):
    """Return two links of which the first's confidence says nothing and whose wrong labels are one too many."""
    rng = np.random.default_rng(0)
    label = np.zeros((2, n), int)
    label[0, rng.permutation(n)[: int(wrong * n) + 1]] = 1
    return table_of(rng.random((2, n)), label)


def written(folder, votes):
    """Write a vote table; what has no label there is a failure."""
    rows = [
        vote(
            item,
            link,
            None if votes.label[j, i] < 0 else votes.labels[votes.label[j, i]],
            None if np.isnan(votes.confidence[j, i]) else float(votes.confidence[j, i]),
        )
        for j, link in enumerate(votes.links)
        for i, item in enumerate(votes.item_ids)
    ]
    return write_votes(folder, rows, votes.item_ids.tolist(), labels=list(votes.labels)), votes


def certified_live(table, asked, out, *, finish=False):
    """Buy what a promise takes from the votes of a table, into a run; returns the document and the certificate.

    With `finish`, the certified task is run too, and the document says under `finished` how many items each link `kept`, the
    `link` of each item's label, and how many labels are `wrong`: not the last link's.
    """
    folder, votes = table
    chain = [{"name": link, "kind": "replay", "votes": str(folder)} for link in votes.links]
    task = chain_task(*chain, labels=list(votes.labels), data={"id": "id"})
    data = rows_of([f"text of {item}" for item in votes.item_ids]).assign(id=votes.item_ids)
    document, certificate = certify_run(Run(asking(task, asked), data, out), asked, Silent())
    if finish and certificate and certificate.cut is not None:
        Run(certified_task(task, certificate), data, out).execute()
        rows = labels_of(out)
        link = np.array([votes.links.index(row["link"]) for row in rows])
        right = [votes.labels[at] for at in votes.label[-1]]
        wrong = sum(row["label"] != truth for row, truth in zip(rows, right, strict=True))
        kept = np.bincount(link, minlength=len(votes.links)).tolist()
        document["finished"] = {"kept": kept, "link": link, "wrong": wrong}
    return document, certificate
