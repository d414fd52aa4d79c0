"""What a plan is compared with, on the items outside its pilot. All but random routing are chosen in hindsight.

- best single: the best link that the budget pays for.
- pairs: the best of all mixes of two links (a coin decides which one is asked) and of all cascades of two links (the items
  on which the first is least sure go to the second, whose label then holds), as papers on cascade routing compare.
- paper: equal shares of three links and `rank`. Of its price-ascending orders within the budget the median one; of all
  orders the median, and the best.
- random: as many items as the budget pays for go to the named link, the rest to the cheapest one.
- oracle: pays for any vote within the budget and knows which is right.
- BARGAIN: for agreement with the dearest link; its own package in its own environment (`make_peers.py bargain`).
"""

import subprocess
import tempfile
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from catena.data.votes import VoteTable
from catena.evaluate.simulate import Simulator

__all__ = ["RIVALS", "Rivals", "bargain"]

RIVALS = ("best single", "pairs", "paper, prices", "paper, median", "paper, hindsight", "random", "oracle")
DRIVER = Path(__file__).with_name("drivers") / "bargain_runs.py"


class Rivals:
    """Everything that a plan is compared with, on one vote table; `link` is the one whose cost is 1x."""

    def __init__(self, votes: VoteTable, link: int) -> None:
        self.votes, self.link = votes, link
        self.right = votes.label == votes.gold
        self.paid = np.nan_to_num(votes.cost_usd)
        simulator, length = Simulator(votes), min(3, len(votes.links))
        self._papers = [self._paper(simulator, chain) for chain in permutations(votes.links, length)]
        doubt = np.where(votes.voted, np.nan_to_num(votes.confidence, nan=-np.inf), -np.inf)
        self._doubtful_first = np.argsort(doubt, 1, kind="stable")

    def _paper(self, simulator: Simulator, chain: Sequence[str]) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return whether each item is right, what it cost, and whether prices ascend, for one order."""
        at = [self.votes.links.index(name) for name in chain]
        decision = simulator.decide(chain)
        label = decision.labels("rank", self.votes.label[at])
        means = self.paid[at].mean(1)
        return (
            label == self.votes.gold,
            np.where(decision.reached, self.paid[at], 0.0).sum(0).astype(np.float32),
            bool((np.diff(means) >= -1e-9 * means.max()).all()),
        )

    def worth(self, rest: np.ndarray, times: float) -> dict[str, float]:
        """Return the accuracy of each rival on some items, for a budget."""
        cap = times * self.paid[self.link, rest].mean()
        cost, right = self.paid[:, rest].mean(1), self.right[:, rest].mean(1)
        within = [(hit[rest].mean(), up) for hit, bill, up in self._papers if bill[rest].mean() <= cap]
        every, rising = sorted(hit for hit, _ in within), sorted(hit for hit, up in within if up)
        cheap = int(cost.argmin())
        single = max((r for r, c in zip(right, cost, strict=True) if c <= cap * 1.001), default=np.nan)
        found = (
            single,
            np.fmax(single, self._pairs(rest, cap)),
            middle(rising),
            middle(every),
            every[-1] if every else np.nan,
            mix(right[cheap], right[self.link], cost[cheap], cost[self.link], cap),
            self._oracle(rest, cap),
        )
        return dict(zip(RIVALS, map(float, found), strict=True))

    def _pairs(self, rest: np.ndarray, cap: float) -> float:
        """Return the best mix or cascade of two links."""
        chosen = np.zeros(len(self.votes), bool)
        chosen[rest] = True
        cost, right, best = self.paid[:, rest].mean(1), self.right[:, rest].mean(1), np.nan
        for a in np.flatnonzero(cost <= cap):
            order = self._doubtful_first[a][chosen[self._doubtful_first[a]]]
            for b in range(len(cost)):
                if b == a:
                    continue
                bill = np.cumsum(self.paid[b, order])
                sent = int(np.searchsorted(bill, (cap - cost[a]) * len(rest) * (1 + 1e-9), "right"))
                cascade = (self.right[b, order[:sent]].sum() + self.right[a, order[sent:]].sum()) / len(rest)
                best = np.fmax(best, np.fmax(cascade, mix(right[a], right[b], cost[a], cost[b], cap)))
        return best

    def _oracle(self, rest: np.ndarray, cap: float) -> float:
        """Return how many items can be got right if the cheapest right vote of each is known and bought."""
        price = np.where(self.right[:, rest], self.paid[:, rest], np.inf).min(0)
        bill = np.cumsum(np.sort(price[np.isfinite(price)]))
        return float(np.searchsorted(bill, cap * len(rest), "right")) / len(rest)


def mix(first: float, second: float, cost: float, dearer: float, cap: float) -> float:
    """Return the accuracy of asking the second link about as many items as a cap pays for, the first about the others."""
    if dearer <= cost:
        return max(first, second) if dearer <= cap else first
    part = min(1.0, max(0.0, (cap - cost) / (dearer - cost)))
    return part * second + (1 - part) * first


def middle(values: Sequence[float]) -> float:
    """Return the lower median of sorted values."""
    return values[(len(values) - 1) // 2] if values else np.nan


def bargain(
    votes: VoteTable, reference: int, targets: Sequence[float], delta: float, draws: int
) -> list[dict[str, float]] | None:
    """Return what BARGAIN_A costs and reaches for each target, with the first link that is cheapest in hindsight.

    Returns:
        For each target mean `cost` (1x is the reference on everything), mean `agreement` and `met`, the share of draws
        that met it; None where the package is not installed.
    """
    from make_peers import installed, python_of

    if not installed("bargain") or not DRIVER.exists():
        return None
    paid, rng, n = np.nan_to_num(votes.cost_usd).mean(1), np.random.default_rng(0), len(votes)
    orders = np.array([rng.permutation(n) for _ in range(draws)], np.int32)
    best: list[dict[str, float]] = [{"cost": np.inf}] * len(targets)
    for a in np.flatnonzero(paid < paid[reference]):
        sure = np.nan_to_num(votes.confidence[a], nan=-np.inf)
        first = np.argsort(-np.where(votes.voted[a], sure, -np.inf), kind="stable")
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
            wrong = (votes.label[a] != votes.label[reference])[first]
            np.savez(given, wrong=wrong, orders=orders, targets=np.array(targets), delta=delta)
            subprocess.run([python_of("bargain"), DRIVER, given, found], check=True)
            result = np.load(found)
            for at, (called, left) in enumerate(zip(result["called"], result["wrong"], strict=True)):
                agreed = 1 - left / n
                row = {
                    "cost": float(paid[a] / paid[reference] + called.mean()),
                    "agreement": float(agreed.mean()),
                    "met": float((agreed >= targets[at]).mean()),
                }
                best[at] = min(best[at], row, key=lambda each: each["cost"])
    return best
