"""What a chain would have done: route and aggregate recorded votes, any order, without a single call."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import RULES, Decision, decide
from catena.data.tables import write_table
from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.metrics import score
from catena.routing import exact_shares, least_first, quotas, ties

__all__ = ["Simulator"]


class Simulator:
    """Replays chains over one vote table. What every order shares (the ranking within each link) is done once."""

    def __init__(self, votes: VoteTable, seed: int = 0) -> None:
        self.votes = votes
        self._seed = seed
        self._draws: list[NDArray[np.int64]] = []
        self._tie = ties(votes.item_ids.tolist(), seed)
        self._order = least_first(votes.voted, votes.confidence, self._tie)

    def decide(self, chain: Sequence[str], share: Sequence[float | str] | None = None) -> Decision:
        """Route all items through a chain of these links.

        Raises:
            DataError: An unknown or repeated link.
            InputError: Shares that don't fit the chain.
        """
        votes = self.votes.chain(chain)
        order = self._order[[self.votes.links.index(name) for name in chain]]
        return decide(votes.voted, votes.confidence, exact_shares(share, len(chain)), self._tie, order)

    def run(self, chain: Sequence[str], share: Sequence[float | str] | None = None) -> dict[str, Any]:
        """Return what each link received, kept, forwarded and cost, and how good the labels are."""
        return self.describe(chain, self.decide(chain, share))

    def describe(self, chain: Sequence[str], decision: Decision) -> dict[str, Any]:
        """Return the figures of a decision, ready for JSON. Costs are those that are known; None where none is."""
        votes = self.votes.chain(chain)
        kept = np.bincount(decision.kept_by, minlength=len(chain))
        links: list[dict[str, Any]] = []
        for j, name in enumerate(chain):
            here = decision.reached[j]
            cost = votes.cost_usd[j][here & votes.recorded[j]]
            links.append(
                {
                    "link": name,
                    "received": int(here.sum()),
                    "kept": int(kept[j]),
                    "forwarded": int(here.sum() - kept[j]),
                    "failed": int((here & ~votes.voted[j]).sum()),
                    "missing": int((here & ~votes.recorded[j]).sum()),
                    "cost_usd": None if np.isnan(votes.cost_usd[j]).all() else float(np.nansum(cost)),
                }
            )
        costs = [link["cost_usd"] for link in links if link["cost_usd"] is not None]
        return {
            "chain": list(chain),
            "n": len(votes),
            "links": links,
            "aggregates": {
                rule: score(votes.gold, decision.labels(rule, votes.label), votes.labels).brief()
                for rule in RULES
            },
            "cost_usd": float(sum(costs)) if costs else None,
        }

    def random(
        self, chain: Sequence[str], share: Sequence[float | str] | None = None, trials: int = 20
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
        votes = self.votes.chain(chain)
        label = votes.label.copy()
        for j in range(1, len(chain)):
            np.copyto(label[j], label[j - 1], where=~votes.voted[j])
        keeps = [kept for _, kept in quotas(len(votes), exact_shares(share, len(chain)))]
        keeper, items = np.repeat(np.arange(len(chain)), keeps), np.arange(len(votes))
        scores = [
            score(votes.gold, label[keeper[place], items], votes.labels) for place in self._drawn(trials)
        ]
        return {
            name: None if scores[0].n == 0 else float(np.mean([getattr(trial, name) for trial in scores]))
            for name in scores[0].brief()
        }

    def _drawn(self, trials: int) -> list[NDArray[np.int64]]:
        """Return a random place in the queue for every item, one array per trial."""
        for trial in range(len(self._draws), trials):
            generator = np.random.Generator(np.random.PCG64([abs(self._seed), self._seed < 0, trial]))
            self._draws.append(np.argsort(generator.random(len(self.votes)), kind="stable"))
        return self._draws[:trials]

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
        self, length: int, share: Sequence[float | str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Run every order of `length` of the links.

        Raises:
            InputError: Fewer links than that, or none asked for.
        """
        if not 1 <= length <= len(self.votes.links):
            raise InputError(f"--permutations {length}: the vote table has {len(self.votes.links)} links.")
        for chain in permutations(self.votes.links, length):
            yield self.run(chain, share)
