"""A promise about the items of a run: buys exactly the votes that it rests on, into the run's ledger, and no more than that.

What is bought, in this order: the votes of all links on the first items drawn, which show what no method can do without
(the feasibility bound) for a few calls; there it ends where nothing can be promised or nothing saved. Then the votes of the
links before the last on all items, and those of the last link on further drawn items, look by look, until a look is enough.

That the draw is asked first, and that it may end there, does not touch the promise: the order of the draw is fixed by the
ids and the seed, whatever anybody says, the thresholds are laid by all items' confidences, and an end promises nothing.
What is promised is worked out by `certify`, the same function that works it out from a vote table: whenever it looks at
an item whose label is not there yet, that is bought and it begins anew. So what it comes to can be checked from the votes.

Failures that may have passed are asked for a second time, and what fails then is settled: no later run asks again, so that
its items go on as they did here.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.engine.check import most_usd
from catena.engine.run import Run
from catena.errors import InputError, places
from catena.evaluate.answered_by import strangers
from catena.evaluate.certificate import GOLD, Asked, Certificate, certifier_of, certify
from catena.evaluate.certify import Certifier, LackingError
from catena.evaluate.drawn_gold import DrawnGold
from catena.evaluate.ledger_votes import votes_of_run
from catena.evaluate.looks import Looks, drawn_order, looks_at
from catena.evaluate.outlook import outlook
from catena.evaluate.promise import bought_figures, ended, feasibility, figures
from catena.ledger import Ledger
from catena.routing import Policy
from catena.task import TaskSpec

__all__ = ["Purchase", "Teller", "asking", "certify_run"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Purchase:
    """What one link will be asked.

    Args:
        link: Its name.
        items: About how many items at least,
        most: and at most.
        lacking: How many of these votes are not in the ledger, at most.
        usd: The most that those cost, retries apart; None without a price.
    """

    link: str
    items: int
    most: int
    lacking: int
    usd: float | None


class Teller(Protocol):
    """Tells a person what happens."""

    def buys(self, purchases: Sequence[Purchase]) -> None:
        """Say what will be bought, before anything is."""
        ...

    def feasible(self, document: dict[str, Any]) -> None:
        """Say what the first items drawn show; the keys are those of the result."""
        ...

    def asking(self) -> AbstractContextManager[Callable[[Any], Any]]:
        """Show progress while links are asked; what is given takes the counts."""
        ...


def asking(task: TaskSpec, asked: Asked) -> TaskSpec:
    """Return the task of a run that asks the links of a promise, the reference among them where it is another one.

    Raises:
        InputError: The task lacks one, or the settings make no sense.
    """
    if len(set(asked.chain)) < len(asked.chain):
        raise InputError("--chain names each of its links once.")
    asked.check()
    links = {link.name: link for link in task.chain}
    beside = () if asked.own or asked.reference == GOLD else (asked.reference,)
    names = (*asked.chain, *beside)
    if unknown := [name for name in names if name not in links]:
        raise InputError(f"no link of the task: {places(unknown)}.", f"Links: {', '.join(links)}.")
    chain = tuple(links[name] for name in names)
    return msgspec.structs.replace(task, chain=chain, policy=Policy(), aggregate="last", calibrated=None)


def certify_run(
    run: Run, asked: Asked, teller: Teller, gold: Path | None = None
) -> tuple[dict[str, Any], Certificate | None]:
    """Buy what a promise about a run's items takes, and find what can be promised.

    Args:
        run: The task of `asking` over its rows in its folder, whose ledger keeps the votes.
        asked: The settings.
        teller: Tells a person.
        gold: File with gold of drawn items, where gold is the reference.

    Returns:
        All figures, ready for JSON, and the certificate; None where it ended early, which `ended` says.

    Raises:
        InputError: The gold is of no use.
        StoppedError: The run stopped, or drawn items wait for a person's labels; the same call goes on.
    """
    return _Buyer(run, asked, teller, gold).certify()


class _Buyer:
    """Buys for one promise."""

    def __init__(self, run: Run, asked: Asked, teller: Teller, gold: Path | None) -> None:
        run.begin()
        self._run, self._asked, self._teller = run, asked, teller
        self._insisted: set[tuple[int, bytes]] = set()
        self._names = [link.name for link in run.links]
        early = len(asked.chain) - 1
        self._early, self._late = self._names[:early], self._names[early:]
        self._ids = [item.id for block in run.rows for item in block]
        self._order = drawn_order(self._ids, asked.seed)
        self._looks: Looks = looks_at(len(self._ids), asked.share, early, asked.most, own=asked.own)
        drawn = self._order[: self._looks.most]
        self._gold = DrawnGold(run, self._ids, drawn, gold) if asked.reference == GOLD else None

    def certify(self) -> tuple[dict[str, Any], Certificate | None]:
        """Buy, and find what can be promised."""
        asked, first = self._asked, self._order[: self._looks.first]
        if not self._looks.most:
            last = asked.chain[-1]
            why = f"none of {len(self._ids):,} labels may be wrong then, so all items must go on to {last}: run it alone"
            return ended(asked, len(self._ids), why), None
        if self._gold:
            self._gold.need(first)
        self._teller.buys(self._purchases())
        self._buy(first, self._names)
        tried = self._tried()
        begun = certifier_of(self._table(), asked)
        document = feasibility(begun, first, asked.share) | outlook(begun, first, asked, self._looks)
        self._teller.feasible({"chain": list(asked.chain), "reference": asked.reference, **document})
        if document["ended"]:
            why = document.pop("ended")
            return ended(asked, len(self._ids), why, document, len(first)) | self._paid(tried), None
        self._buy(np.arange(len(self._ids)), self._early)
        certifier, found, certificate = self._certified()
        if certificate.cut is not None:
            self._run.settle(self._names)
        figured = figures(certifier, found, certificate) | bought_figures(certifier, found, self._paid(tried))
        with Ledger(self._run.folder) as ledger:
            figured["strangers"] = strangers(ledger, self._early, first.tolist())
        return figured, certificate

    def _certified(self) -> tuple[Certifier, Any, Certificate]:
        """Return what can be promised, having bought every label that it looks at."""
        gold = None if self._gold is None or self._gold.path is None else str(self._gold.path)
        while True:
            try:
                return certify(self._table(), self._asked, str(self._run.folder), gold)
            except LackingError as lacking:
                if self._gold:
                    self._gold.need(lacking.rows)
                self._buy(lacking.rows, self._late)

    def _buy(self, rows: Rows, names: Sequence[str]) -> None:
        """Buy votes; those that fail for a reason that may have passed are asked for a second time, once."""
        rows, again = np.sort(rows), set[tuple[int, bytes]]()
        while True:
            with self._teller.asking() as watch:
                self._run.ask(rows.tolist(), names, again=again, watch=watch)
            again = self._failing(names, rows) - self._insisted
            if not again:
                return
            self._insisted |= again

    def _failing(self, names: Sequence[str], rows: Rows) -> set[tuple[int, bytes]]:
        """Return link and key of failures on these rows that may have passed."""
        with Ledger(self._run.folder) as ledger:
            numbers = [number for name, (number, _) in ledger.links().items() if name in names]
            return set(ledger.transient(numbers, frozenset(rows.tolist())))

    def _table(self) -> VoteTable:
        """Return what the ledger holds, with the gold of drawn items that a person has given."""
        table = votes_of_run(self._run.folder, self._names)
        return replace(table, gold=self._gold.labels) if self._gold else table

    def _purchases(self) -> list[Purchase]:
        """Return what will be bought at most, where every look is needed."""
        n, drawn = len(self._ids), self._order[: self._looks.most]
        blocks = [np.arange(min(spec.options.get("calibrate") or 0, n)) for spec in self._run.task.chain]
        wanted = [
            np.arange(n) if name in self._early else np.union1d(drawn, block)
            for name, block in zip(self._names, blocks, strict=True)
        ]
        lacking = [len(rows) for rows in wanted]
        with Ledger(self._run.folder) as ledger:
            known = ledger.links()
            for j, name in enumerate(self._names):
                if name in known:
                    lacking[j] -= int(ledger.asked(known[name][0], n)[wanted[j]].sum())
        usd = most_usd(self._run.links, self._run.rows, lacking) if any(lacking) else [0.0] * len(lacking)
        return [
            Purchase(name, n if name in self._early else self._looks.first, len(rows), left, most)
            for name, rows, left, most in zip(self._names, wanted, lacking, usd, strict=True)
        ]

    def _tried(self) -> int:
        """Keep in the ledger that this was asked for, and return how many different promises were."""
        with Ledger(self._run.folder) as ledger:
            tried = ledger.get("promises") or []
        said = msgspec.json.decode(msgspec.json.encode(self._asked))
        if said not in tried:
            tried.append(said)
            self._run.note(promises=tried)
        return len(tried)

    def _paid(self, tried: int) -> dict[str, Any]:
        """Return what the ledger says that the votes of these links have cost, whatever they were bought for."""
        with Ledger(self._run.folder) as ledger:
            known = ledger.links()
            spent = {name: ledger.spent(known[name][0]) for name in self._names}
        costs = [each["cost_usd"] for each in spent.values() if each["cost_usd"] is not None]
        bought = [
            {"link": name, "calls": each["calls"], "cost_usd": each["cost_usd"]}
            for name, each in spent.items()
        ]
        return {"bought": bought, "paid_usd": sum(costs) if costs else None, "promises": tried}
