"""The pilot: a random sample with gold on which every link's votes are seen. Nothing else is seen while planning."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.errors import InputError, places
from catena.routing import ties

__all__ = ["Sample", "agreeing", "choose_pilot", "dearest", "take"]

FEWEST = 20


@dataclass(frozen=True)
class Sample:
    """Votes on some items: all that a planner, or a chain, is shown.

    Args:
        votes: Of these items only.
        logprobs: Theirs, [m, n, K]; None where no link gave any.
        tie: Settles ties, uint64 [n].
    """

    votes: VoteTable
    logprobs: NDArray[np.float32] | None
    tie: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.votes)


def choose_pilot(votes: VoteTable, pilot: str, seed: int) -> NDArray[np.int64]:
    """Return the rows of the pilot, ascending.

    A number takes that many items with gold, in the order of a seeded hash of their ids; those on which less than half
    of the links were asked only where there are too few others. So the same pilot is found whatever the table holds of
    other items. A vote that is missing counts as a failure here as it will later.

    Args:
        votes: The vote table.
        pilot: A number, or a file that lists one item_id per line.
        seed: Of the hash.

    Raises:
        InputError: Too few items with gold, or a listed item that has none or is not in the table.
    """
    known = votes.gold >= 0
    if not known.any():
        raise InputError(
            "no item has gold to plan by.", "Plan by agreement with a link: --reference dearest, or its name."
        )
    if pilot.strip().isdecimal():
        wanted = int(pilot)
        rows = np.flatnonzero(known)
        lacking = votes.recorded[:, rows].mean(0) < 0.5
        order = np.lexsort((ties(votes.item_ids[rows].tolist(), seed), lacking))
        chosen = rows[order[:wanted]]
        if len(chosen) < wanted:
            raise InputError(
                f"--pilot {wanted}: only {len(rows):,} items have gold.", "Take a smaller pilot."
            )
    else:
        chosen = _listed(votes, Path(pilot), known)
    if len(chosen) < FEWEST:
        raise InputError(f"--pilot: {len(chosen)} items are too few to plan on.", f"Take at least {FEWEST}.")
    return np.sort(chosen)


def _listed(votes: VoteTable, path: Path, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    try:
        ids = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"--pilot {path}: {reason}.", "Give a number, or a file with one item_id per line."
        ) from error
    at = {item: row for row, item in enumerate(votes.item_ids.tolist())}
    unknown = [item for item in ids if item not in at]
    if unknown:
        raise InputError(f"{path}: not in the vote table: {places(unknown)}.")
    rows = np.unique(np.array([at[item] for item in ids], np.int64))
    without = votes.item_ids[rows[~known[rows]]].tolist()
    if without:
        raise InputError(f"{path}: no gold for: {places(without)}.", "A pilot needs gold.")
    return rows


def take(
    votes: VoteTable, logprobs: NDArray[np.float32] | None, rows: NDArray[np.int64], tie: NDArray[np.uint64]
) -> Sample:
    """Return the votes on some rows as a table of their own.

    Args:
        votes: Of n items.
        logprobs: Theirs.
        rows: Which of them.
        tie: Settles ties, uint64 [n].
    """
    part = replace(
        votes,
        item_ids=votes.item_ids[rows],
        label=votes.label[:, rows],
        confidence=votes.confidence[:, rows],
        recorded=votes.recorded[:, rows],
        cost_usd=votes.cost_usd[:, rows],
        gold=votes.gold[rows],
    )
    words = None if logprobs is None else logprobs[:, rows]
    return Sample(part, words, tie[rows])


def dearest(votes: VoteTable) -> str:
    """Return the link that costs most per vote: the one to agree with where there is no gold."""
    paid = np.nan_to_num(votes.cost_usd).sum(1) / np.maximum(votes.recorded.sum(1), 1)
    return votes.links[int(paid.argmax())]


def agreeing(sample: Sample, link: str) -> Sample:
    """Return a sample whose gold is what one of its links says; nothing is known where that link has no vote.

    Raises:
        DataError: No such link.
    """
    return replace(sample, votes=replace(sample.votes, gold=sample.votes.chain([link]).label[0]))
