"""What a chain would have done: route and aggregate recorded votes, any order, without a single call."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES, Decision, decide
from catena.data.tables import write_table
from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.chance import RandomRouting
from catena.evaluate.orders import Order, Orders
from catena.evaluate.tally import Tally
from catena.routing import exact_shares, least_first, quotas, ties

__all__ = ["TRIALS", "Simulator"]

TRIALS = 20


class Simulator:
    """Replays chains over one vote table. What every order shares (the ranking within each link) is done once."""

    def __init__(self, votes: VoteTable, seed: int = 0) -> None:
        self.votes = votes
        self._seed = seed
        self._tie = ties(votes.item_ids.tolist(), seed)
        self._order = least_first(votes.voted, votes.confidence, self._tie)
        self._tally = Tally(votes)
        self._random: dict[tuple[int, ...], RandomRouting] = {}

    def decide(self, chain: Sequence[str], share: Sequence[float | str] | None = None) -> Decision:
        """Route all items through a chain of these links.

        Raises:
            DataError: An unknown or repeated link.
            InputError: Shares that don't fit the chain.
        """
        at = self.votes.rows_of(chain)
        shares = exact_shares(share, len(chain))
        return decide(self.votes.voted[at], self.votes.confidence[at], shares, self._tie, self._order[at])

    def run(
        self, chain: Sequence[str], share: Sequence[float | str] | None = None, trials: int = TRIALS
    ) -> dict[str, Any]:
        """Return what each link received, kept, forwarded and cost, how good the labels are, and what they are held against.

        Args:
            chain: Links in order.
            share: What each keeps; equal unless said.
            trials: How often to route at random; not at all for 0.

        Raises:
            DataError: An unknown or repeated link.
            InputError: Shares that don't fit the chain, or a negative number of trials.
        """
        found = self.describe(chain, self.decide(chain, share))
        return found | {"random": self.random(chain, share, trials) if trials else None}

    def describe(self, chain: Sequence[str], decision: Decision) -> dict[str, Any]:
        """Return the figures of a decision, ready for JSON. Costs are those that are known; None where none is.

        `oracle` holds two bounds on accuracy: `reached`, an item is right if any link that it reached is; `all`, if any
        link of the chain is, reached or not.
        """
        at = self.votes.rows_of(chain)
        kept = np.bincount(decision.kept_by, minlength=len(chain))
        counts = [self._tally.among(row, decision.reached[j]) for j, row in enumerate(at)]
        counts += [self._tally.taken(at, decision.source(rule)) for rule in RULES]
        scores = self._tally.scores(np.array(counts))
        links = [self._part(row, decision.reached[j], int(kept[j])) | scores[j] for j, row in enumerate(at)]
        right = self._tally.right[at]
        oracle = (int((right & decision.reached).any(0).sum()), int(right.any(0).sum()))
        return self._figures(links, scores[len(chain) :], oracle)

    def _figures(
        self, links: list[dict[str, Any]], scores: Sequence[dict[str, Any]], oracle: tuple[int, int]
    ) -> dict[str, Any]:
        """Return the figures of a chain from those of its links and rules, and the hits of the two bounds."""
        costs = [link["cost_usd"] for link in links if link["cost_usd"] is not None]
        known = self._known
        return {
            "chain": [link["link"] for link in links],
            "n": len(self.votes),
            "links": links,
            "aggregates": dict(zip(RULES, scores, strict=True)),
            "oracle": {
                name: hits / known if known else None
                for name, hits in zip(("reached", "all"), oracle, strict=True)
            },
            "cost_usd": float(sum(costs)) if costs else None,
        }

    def _part(self, row: int, here: NDArray[np.bool_], kept: int) -> dict[str, Any]:
        """Return the part of one link in a chain."""
        votes, received = self.votes, int(np.count_nonzero(here))
        cost = self._costs[row]
        return {
            "link": votes.links[row],
            "received": received,
            "kept": kept,
            "forwarded": received - kept,
            "failed": received - int(np.count_nonzero(here & votes.voted[row])),
            "missing": received - int(np.count_nonzero(here & votes.recorded[row])),
            "cost_usd": None if cost is None else float(cost[here].sum()),
        }

    @cached_property
    def _costs(self) -> list[NDArray[np.float64] | None]:
        """What is known to be paid for each vote, 0 where nothing is; None for a link without any."""
        return [
            None if np.isnan(cost).all() else np.where(recorded & ~np.isnan(cost), cost, 0.0)
            for cost, recorded in zip(self.votes.cost_usd, self.votes.recorded, strict=True)
        ]

    @cached_property
    def _known(self) -> int:
        """How many items have gold."""
        return int((self.votes.gold >= 0).sum())

    def random(
        self, chain: Sequence[str], share: Sequence[float | str] | None = None, trials: int = TRIALS
    ) -> dict[str, float | None]:
        """Return accuracy and macro-F1 of routing at random, as means over trials (the paper's baseline, section 4).

        Each link keeps as many items as under `share`, but any; labels are those of `last`. All chains meet the same
        draws, so that orders differ by their links and not by luck.

        Raises:
            DataError: An unknown or repeated link.
            InputError: Shares that don't fit the chain, or no trial.
        """
        if trials < 1:
            raise InputError(f"random routing needs at least 1 trial, not {trials}.")
        at = self.votes.rows_of(chain)
        keeps = tuple(kept for _, kept in quotas(len(self.votes), exact_shares(share, len(chain))))
        if (trials, *keeps) not in self._random:
            self._random[trials, *keeps] = RandomRouting(
                self._tally, self.votes.label, keeps, trials, self._seed
            )
        scores = self._tally.scores(self._random[trials, *keeps].counts(at))
        return {
            name: None
            if scores[0][name] is None
            else float(np.mean(np.array([trial[name] for trial in scores], float)))
            for name in scores[0]
        }

    def write_labels(self, chain: Sequence[str], decision: Decision, path: Path) -> None:
        """Write item_id, kept_by (a link), and the labels by `last` and by `rank`, in input order."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        votes = self.votes.chain(chain)
        names, labels = np.array(chain, dtype=object), np.array([*votes.labels, None], dtype=object)
        columns = {
            "item_id": votes.item_ids,
            "kept_by": names[decision.kept_by],
            "last": labels[decision.labels("last", votes.label)],
            "rank": labels[decision.labels("rank", votes.label)],
        }
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        write_table(path, table.schema, table.to_batches())

    def permutations(
        self, length: int, share: Sequence[float | str] | None = None, trials: int = TRIALS
    ) -> Iterator[dict[str, Any]]:
        """Run every order of `length` of the links.

        Raises:
            InputError: Fewer links than that, or none asked for.
        """
        if not 1 <= length <= len(self.votes.links):
            raise InputError(f"--permutations {length}: the vote table has {len(self.votes.links)} links.")
        keeps = [kept for _, kept in quotas(len(self.votes), exact_shares(share, length))]
        for order in Orders(self.votes, self._order, self._tally, self._costs, keeps):
            chain = [self.votes.links[j] for j in order.links]
            yield self._described(order) | {"random": self.random(chain, share, trials) if trials else None}

    def _described(self, order: Order) -> dict[str, Any]:
        """Return what `describe` does."""
        scores = self._tally.scores(np.array([*order.heard, *[order.labelled[rule] for rule in RULES]]))
        links = [part | each for part, each in zip(order.parts, scores, strict=False)]
        return self._figures(links, scores[len(links) :], (order.reached, order.right))
