"""Whether certified chains keep their promise, and what it costs, beside BARGAIN: on recorded votes of real LLMs.

python bench/make_peers.py bargain                                     once
python bench/certify.py --recorded FOLDER [--draws 1000] [--sets mmlu,emotion,arena]
    [--peer-draws 1000]                                                 BARGAIN runs on the first so many draws; 0 for none

FOLDER holds vote tables; CATENA_RECORDED names it too. The reference is each set's dearest link, delta is 0.1, and the draws
are those of `catena certify --seed 0, 1, ...`. Every other link followed by the reference is a chain of two; BARGAIN_A of the
package `bargain` runs on the same chains and orders of drawing. Chains of three are two neighbours in price and the reference,
held against the better of their two chains of two. Calls are the share of all items that the reference is asked about,
drawn or passed on, each counted once; "catena is" compares them on the draws that both ran on. A promise is missed where
more labels are wrong than allowed, in all labels of the chain as it is run later, without the drawn items' better labels.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from catena.data.votes import read_votes
from catena.errors import CatenaError, InputError
from catena.evaluate.certify import Certifier
from catena.evaluate.looks import drawn_order

DELTA = 0.1
TARGETS = ("0.8", "0.9", "0.95")
DRIVER = Path(__file__).with_name("drivers") / "bargain_runs.py"
BELOW = 0.05  # gold: what is promised is this much below the last link's accuracy
PAIRS = ("set", "T", "chains", "hindsight", "catena", "bargain", "catena is", "at worst", "drawn", "missed", "at worst",
         "99 % lower", "bargain missed", "at worst")  # fmt: skip
TRIPLES = ("set", "T", "chains", "calls", "best of 2", "cost", "best of 2", "cheaper", "missed", "at worst",
           "99 % lower")  # fmt: skip
GOLD = ("set", "chain", "T", "calls", "promised", "missed", "99 % lower")


class Chain:
    """A chain over one recorded set, certified on many draws."""

    def __init__(self, votes, names: Sequence[str], reference: str) -> None:
        self.votes = votes.chain(names)
        own = reference == names[-1]
        alone = votes.chain([reference]) if own else None
        labels = alone.label[0] if alone else votes.gold
        asked = alone.recorded[0] if alone else votes.gold >= 0
        self.certifier = Certifier(self.votes, labels, asked, own=own)
        self.wrong = self.certifier.wrong(np.arange(len(votes)))
        self.paid = np.nan_to_num(self.votes.cost_usd).mean(1)

    def run(self, target: str, orders: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each draw: calls, cost over the last link's alone, items drawn, promises given and missed."""
        rows = [self._one(target, order) for order in orders]
        return {name: np.array([row[name] for row in rows], float) for name in rows[0]}

    def _one(self, target: str, order: np.ndarray) -> dict[str, float]:
        found = self.certifier.certify(Fraction(target), DELTA, order)
        early, items = self.certifier.early, np.arange(len(order))
        called = found.kept_by == early
        called[found.fit] = called[found.sample] = True
        reached = [(found.kept_by >= j).mean() for j in range(early)]
        return {
            "calls": called.mean(),
            "cost": (reached @ self.paid[:-1] + called.mean() * self.paid[-1]) / self.paid[-1],
            "drawn": len(found.fit) + len(found.sample),
            "promised": found.cut >= 0,
            "missed": found.cut >= 0 and self.wrong[found.kept_by, items].sum() > found.allowed,
        }

    def hindsight(self, target: str) -> float:
        """Return the least share to pass on, with one threshold, if all labels of the reference were known."""
        ordered = self.wrong[0, self.surest_first()]
        allowed = math.floor((1 - Fraction(target)) * len(ordered))
        return 1 - float(np.searchsorted(np.cumsum(ordered), allowed, "right")) / len(ordered)

    def surest_first(self) -> np.ndarray:
        """Return the rows by the first link's confidence."""
        return np.argsort(-self.certifier.scores[0], kind="stable")


def bargain(chain: Chain, orders: np.ndarray) -> list[dict[str, float]] | None:
    """Return calls and misses of BARGAIN_A for each target; None where it is not installed."""
    from make_peers import installed, python_of

    if not installed("bargain"):
        return None
    order = chain.surest_first()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            given,
            wrong=chain.wrong[0, order],
            orders=place[orders],
            targets=np.array(TARGETS, float),
            delta=DELTA,
        )
        subprocess.run([python_of("bargain"), DRIVER, given, found], check=True)
        result = np.load(found)
        allowed = [math.floor((1 - Fraction(target)) * len(order)) for target in TARGETS]
        return [
            {"calls": float(calls.mean()), "missed": float((left > most).mean())}
            for calls, left, most in zip(result["called"], result["wrong"], allowed, strict=True)
        ]


def lower_bound(misses: int, draws: int, level: float = 0.01) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a rate."""
    if not misses:
        return 0.0
    log = [math.lgamma(draws + 1) - math.lgamma(k + 1) - math.lgamma(draws - k + 1) for k in range(misses)]
    low, high = 0.0, misses / draws
    for _ in range(60):
        rate = (low + high) / 2
        fewer = sum(
            math.exp(c + k * math.log(rate) + (draws - k) * math.log1p(-rate)) for k, c in enumerate(log)
        )
        low, high = (rate, high) if 1 - fewer < level else (low, rate)
    return low


def pairs(name: str, votes, orders: np.ndarray, peer_draws: int) -> tuple[list[list[str]], dict[str, list]]:
    """Return the table's rows for chains of two, and what each chain did by its first link."""
    reference, others = dearest(votes)
    chains = {link: Chain(votes, (link, reference), reference) for link in others}
    ours = {link: [chain.run(target, orders) for target in TARGETS] for link, chain in chains.items()}
    theirs = [bargain(chain, orders[:peer_draws]) if peer_draws else None for chain in chains.values()]
    rows = []
    for at, target in enumerate(TARGETS):
        mine = [ours[link][at] for link in others]
        cells = ["-"] * 5
        if all(theirs):
            shared = np.array([each["calls"][:peer_draws].mean() for each in mine])
            calls, failed = (np.array([each[at][key] for each in theirs]) for key in ("calls", "missed"))
            cells = [
                f"{calls.mean():.3f}",
                f"{shared.mean() / calls.mean():.2f}x",
                f"{(shared / calls).max():.2f}x",
                f"{failed.mean():.1%}",
                f"{failed.max():.1%}",
            ]
        rows.append(
            [
                name,
                target,
                str(len(others)),
                f"{np.mean([chain.hindsight(target) for chain in chains.values()]):.3f}",
                f"{mean(mine, 'calls'):.3f}",
                *cells[:3],
                f"{mean(mine, 'drawn'):.0f}",
                *misses(mine),
                *cells[3:],
            ]
        )
    return rows, ours


def triples(name: str, votes, orders: np.ndarray, two: dict[str, list]) -> list[list[str]]:
    """Return the table's rows for chains of three, each against the better of its two chains of two."""
    reference, others = dearest(votes)
    rows, neighbours = [], list(pairwise(others))
    three = {each: Chain(votes, (*each, reference), reference) for each in neighbours}
    for at, target in enumerate(TARGETS):
        found = [chain.run(target, orders) for chain in three.values()]
        best = {
            key: [min(two[link][at][key].mean() for link in each) for each in three]
            for key in ("calls", "cost")
        }
        cost = [each["cost"].mean() for each in found]
        rows.append(
            [
                name,
                target,
                str(len(three)),
                f"{mean(found, 'calls'):.3f}",
                f"{np.mean(best['calls']):.3f}",
                f"{np.mean(cost):.2f}x",
                f"{np.mean(best['cost']):.2f}x",
                str(sum(c < b for c, b in zip(cost, best["cost"], strict=True))),
                *misses(found),
            ]
        )
    return rows


def against_gold(name: str, votes, orders: np.ndarray) -> list[list[str]]:
    """Return the table's rows for gold as the reference: the link before the dearest in price, and the cheapest one too."""
    reference, others = dearest(votes)
    accuracy = float((votes.label[votes.links.index(reference)] == votes.gold).mean())
    target, rows = f"{math.floor(100 * (accuracy - BELOW)) / 100:.2f}", []
    for names in ((others[-1], reference), (others[0], others[-1], reference)):
        found = Chain(votes, names, "gold").run(target, orders)
        given = [f"{found['calls'].mean():.3f}", f"{found['promised'].mean():.1%}"]
        rows.append([name, " > ".join(names), target, *given, *misses([found])[1:]])
    return rows


def dearest(votes) -> tuple[str, list[str]]:
    """Return the dearest link, and the others from cheap to dear."""
    order = np.argsort(np.nan_to_num(votes.cost_usd).mean(1), kind="stable")
    *others, reference = [votes.links[j] for j in order]
    return reference, others


def mean(found: Sequence[dict[str, np.ndarray]], key: str) -> float:
    """Return the mean over chains and draws."""
    return float(np.mean([each[key] for each in found]))


def misses(found: Sequence[dict[str, np.ndarray]]) -> list[str]:
    """Return the mean and the worst of some chains' rates of missed promises, and the lower bound of the worst."""
    worst = max((each["missed"] for each in found), key=np.mean)
    low = lower_bound(int(worst.sum()), len(worst))
    return [f"{mean(found, 'missed'):.1%}", f"{worst.mean():.1%}", f"{low:.1%}"]


def main() -> None:
    """Print three tables."""
    from recorded import table

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--sets", default="mmlu,emotion,arena")
    parser.add_argument("--peer-draws", type=int, default=1000)
    given = parser.parse_args()
    start, two, three, gold = time.perf_counter(), [], [], []
    try:
        if given.recorded is None:
            raise InputError("--recorded FOLDER (or CATENA_RECORDED) is needed.")
        for name in given.sets.split(","):
            votes = read_votes(Path(given.recorded) / name)
            ids = votes.item_ids.tolist()
            orders = np.array([drawn_order(ids, seed) for seed in range(given.draws)])
            rows, ours = pairs(name, votes, orders, given.peer_draws)
            two += rows
            three += triples(name, votes, orders, ours)
            gold += against_gold(name, votes, orders)
            print(f"{name}: done after {time.perf_counter() - start:.0f} s", file=sys.stderr)
    except CatenaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"\nChains of two links, {given.draws:,} draws each, delta {DELTA:g}\n\n{table(PAIRS, two)}")
    print(f"\nChains of three links\n\n{table(TRIPLES, three)}")
    print(f"\nGold as the reference, T {100 * BELOW:g} points below the last link's accuracy\n")
    print(table(GOLD, gold))


if __name__ == "__main__":
    main()
