"""A pilot that is asked for: every candidate link votes on a random sample, into the ledger of the run to be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.engine.run import Run
from catena.errors import InputError
from catena.evaluate.pilot import FEWEST, Sample, dearest
from catena.evaluate.reference import Reference, draw, hopeless, open_reference, size_of
from catena.ledger import Ledger
from catena.links.human import HumanLink
from catena.routing import ties
from catena.types import Vote

__all__ = ["Pilot", "ask_pilot"]

FIRST = 1 / 3  # of the pilot is voted on by all candidates; then the hopeless ones are dropped
LEAST_FIRST = 50


@dataclass(frozen=True)
class Pilot:
    """What a pilot has shown.

    Args:
        sample: Votes of the candidates that are left; its gold is what counts as right.
        reference: What that is.
        compared: The link whose labels those are, empty for none.
        dropped: Candidates that were dropped early.
        rows: Rows of the whole data.
        cost_usd: What all votes of the pilot cost, dropped candidates included.
    """

    sample: Sample
    reference: Reference
    compared: str
    dropped: tuple[str, ...]
    rows: int
    cost_usd: float


def ask_pilot(
    run: Run,
    *,
    size: int | None = None,
    reference: str | None = None,
    keep: str = "",
    seed: int = 0,
    watch: Callable[[Any], Any] | None = None,
) -> Pilot:
    """Let every candidate link of a task vote on a random pilot; votes that the ledger holds are not bought again.

    Args:
        run: The task over its rows in its folder; its later run takes the votes from there.
        size: Items; a tenth of the rows, 100 to 300, unless said.
        reference: See `open_reference`.
        keep: A link that is never dropped, as the one that a budget is measured by.
        seed: Draws the pilot.
        watch: Called with the counts when the work begins.

    Raises:
        InputError: A pilot that can't be, or a link whose price is unknown.
        StoppedError: The run stopped; what was bought is kept, and the same command goes on.
    """
    people = [link for link in run.links if isinstance(link, HumanLink)]
    unpriced = {
        link.name for link in people if link.price is None
    }  # of use as what is right, not as candidates
    names = [link.name for link in run.links if link.name not in unpriced]
    labels = list(run.task.labels)
    if keep and keep not in names:
        raise InputError(f"--budget: no link of the task: {keep}.", f"Links: {', '.join(names)}.")
    ids, gold = [], {}
    for block in run.rows:
        for item in block:
            ids.append(item.id)
            if item.gold:
                gold[item.id] = item.gold
    basis = open_reference(reference, gold, names, labels, [link.name for link in people])
    asked = basis.name if basis.kind == "people" and basis.name not in names else None
    beside = [] if asked is None else [asked]
    known = len(ids) if basis.labels is None else sum(name in basis.labels for name in ids)
    rows = draw(ids, basis, size_of(size, len(ids), known), seed)
    if len(rows) < FEWEST:
        raise InputError(f"--pilot: {len(rows)} items are too few to plan on.", f"Take at least {FEWEST}.")
    first = np.sort(rows[: max(LEAST_FIRST, round(FIRST * len(rows)))])
    run.ask(first.tolist(), [*names, *beside], watch=watch)
    seen = _seen(run, [*names, *beside], first, ids, seed).votes
    early, compared = seen.chain(names), _compared(basis, seen)
    dropped = hopeless(early, _truth(basis, compared, seen), {compared, keep})
    left, rows = [name for name in names if name not in dropped], np.sort(rows)
    run.ask(rows.tolist(), [*left, *beside], watch=watch)
    truth = _truth(basis, compared, _seen(run, [*left, *beside], rows, ids, seed).votes)
    sample = _seen(run, left, rows, ids, seed)
    votes = replace(sample.votes, gold=truth)
    wasted = [early.cost_usd[names.index(name)] for name in dropped]
    spent = float(np.nansum(votes.cost_usd) + np.nansum(wasted))
    return Pilot(replace(sample, votes=votes), basis, compared, tuple(dropped), len(ids), spent)


def _compared(basis: Reference, early: VoteTable) -> str:
    """Return the link whose labels count as right: the named one, or the dearest; empty where none's do."""
    if basis.kind != "link":
        return ""
    return basis.name or dearest(early)


def _truth(basis: Reference, compared: str, votes: VoteTable) -> NDArray[np.int16]:
    if compared or basis.kind == "people":
        said: NDArray[np.int16] = votes.label[votes.links.index(compared or basis.name)].copy()
        return said
    index = {label: at for at, label in enumerate(votes.labels)}
    known = basis.labels or {}
    return np.array([index[known[name]] for name in votes.item_ids.tolist()], np.int16)


def _seen(run: Run, names: Sequence[str], rows: NDArray[np.int64], ids: Sequence[str], seed: int) -> Sample:
    """Return what the ledger holds of these links on these rows, each vote at its full cost; without any gold."""
    labels, (m, n) = tuple(run.task.labels), (len(names), len(rows))
    index, place = (
        {label: at for at, label in enumerate(labels)},
        {row: at for at, row in enumerate(rows.tolist())},
    )
    label, sure, cost = np.full((m, n), -1, np.int16), np.full((m, n), np.nan), np.full((m, n), np.nan)
    recorded, words = np.zeros((m, n), bool), np.full((m, n, len(labels)), np.nan, np.float32)
    with Ledger(run.folder) as ledger:
        numbers = ledger.links()
        for j, name in enumerate(names):
            for row, _, answer, _ in ledger.answers(numbers[name][0]):
                at = place.get(row)
                if at is None:
                    continue
                recorded[j, at], cost[j, at] = True, _float(answer.usage.cost_usd)
                if isinstance(answer, Vote):
                    label[j, at], sure[j, at] = index.get(answer.label, -1), _float(answer.confidence)
                    if answer.logprobs is not None:
                        words[j, at] = [_float(value) for value in answer.logprobs]
    items = np.array([ids[row] for row in rows.tolist()], dtype=object)
    gold = np.full(n, -1, np.int16)
    votes = VoteTable(items, tuple(names), labels, label, sure, recorded, cost, gold)
    return Sample(votes, None if np.isnan(words).all() else words, ties(items.tolist(), seed))


def _float(value: float | None) -> float:
    return np.nan if value is None else float(value)
