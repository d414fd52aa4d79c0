"""Accuracy and macro-F1 of many labellings of the same items: what `simulate` needs for every order.

An item with a gold label and a vote is one number, its kind: (gold, label). A labelling is then scored by counting
kinds, once over the items.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.data.votes import VoteTable
from catena.evaluate.metrics import macro_f1_of

__all__ = ["Kinds", "Tally"]

FEW_KINDS = 4096

Counts = NDArray[np.int64]
Kinds = NDArray[np.unsignedinteger[Any]]


class Tally:
    """Counts kinds in a vote table.

    Attributes:
        right: Whether the gold label is known and each link gives it, bool [m, n].
    """

    def __init__(self, votes: VoteTable) -> None:
        self._votes = votes
        self._labels = len(votes.labels)
        self._items = np.arange(len(votes))
        self.right: NDArray[np.bool_] = (votes.label == votes.gold) & (votes.gold >= 0)

    @cached_property
    def _kinds(self) -> tuple[Kinds, NDArray[np.int64]]:
        """Return the kind of each item unlabelled (row 0) and by each link (rows from 1), [m + 1, n], and each kind's code.

        The last kind is that of items without gold. Small numbers, because they are fetched from all over the items.
        """
        votes, width = self._votes, self._labels + 1
        code = np.empty((len(votes.links) + 1, len(votes)), np.intp)
        code[0] = votes.gold.astype(np.intp) * width
        code[1:] = code[0] + votes.label + 1
        known = votes.gold >= 0
        if self._labels * width <= FEW_KINDS:
            codes = np.arange(self._labels * width)
            kind = code
        else:
            codes, at = np.unique(code[:, known], return_inverse=True)
            kind = code.copy()
            kind[:, known] = at.reshape(code.shape[0], -1)
        kind[:, ~known] = len(codes)
        return kind.astype(np.min_scalar_type(len(codes))), codes

    @property
    def kinds(self) -> int:
        """How many kinds there are, that of items without gold left out."""
        return len(self._kinds[1])

    def kind(self, link: int) -> Kinds:
        """Return the kind of each item by the vote of a link; by no vote for link -1, [n]."""
        found: Kinds = self._kinds[0][link + 1]
        return found

    def count(self, kind: Kinds) -> Counts:
        """Return how many of some items are of each kind, [kinds]."""
        return np.bincount(kind, minlength=self.kinds + 1)[: self.kinds]

    def among(self, link: int, here: NDArray[np.bool_]) -> Counts:
        """Count the votes of a link on some of the items, bool [n]."""
        return self.count(np.where(here, self.kind(link), self.kinds))

    def taken(self, links: list[int], source: NDArray[np.int16]) -> Counts:
        """Count the kinds of a labelling.

        Args:
            links: Rows of the vote table, in the order of the chain.
            source: Whose vote each item takes, as a position in the chain; -1 for none, int16 [n].
        """
        kinds, _ = self._kinds
        n = kinds.shape[1]
        starts = np.array([0, *[(link + 1) * n for link in links]], np.intp)
        return self.count(kinds.reshape(-1)[starts[source + 1] + self._items])

    def scores(self, counts: Counts) -> list[dict[str, float | None]]:
        """Return accuracy and macro-F1 of labellings, [labellings, kinds]; None where one has no items with gold."""
        gold, label = np.divmod(self._kinds[1], self._labels + 1)
        items = counts.sum(1)
        hits = counts[:, gold == label - 1].sum(1)
        macro_f1 = macro_f1_of(counts, gold, label - 1, self._labels)
        return [
            {"accuracy": float(hit / n), "macro_f1": float(f1)} if n else {"accuracy": None, "macro_f1": None}
            for hit, n, f1 in zip(hits, items, macro_f1, strict=True)
        ]
