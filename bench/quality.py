"""What a plan is worth: this planner against the paper's rule and the best single link, on recorded votes of real LLMs.

python bench/quality.py --recorded FOLDER [--seeds 20] [--sets mmlu,emotion,arena]

FOLDER holds vote tables; CATENA_RECORDED names it too. Every seed draws a pilot (300 items, 100 of `arena`), plans on it
for several budgets, and runs the plan on all other items; figures are accuracies there, as points against the set's
dearest good link alone (1x is its cost). The paper's rule has equal shares and `rank`: of its price-ascending orders of 3
within the budget the median, and of all orders the best in hindsight. Random routing sends to that link as many items as
the budget pays for, and to the cheapest one the rest. The oracle pays for any vote within the budget and knows which is right.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from catena.data.distributions import read_logprobs
from catena.data.votes import read_votes
from catena.errors import CatenaError, InputError
from catena.evaluate.budget import parse_budget
from catena.evaluate.pilot import choose_pilot, take
from catena.evaluate.plan import Plan, Planner, held_out
from catena.evaluate.simulate import Simulator
from catena.routing import ties

SETS = {
    "mmlu": ("llama3.1-405b", "300", (0.1, 0.25, 0.5, 0.75, 1.0)),
    "emotion": ("Qwen-14B", "300", (0.25, 0.5, 0.75, 1.0)),
    "arena": ("gpt-4-turbo", "100", (0.1, 0.25, 0.5, 1.0)),
}
COLUMNS = ("budget", "plan", "se", "best single", "paper, median", "paper, hindsight", "random", "oracle", "spent",
           "most", "covered", "width", "single")  # fmt: skip


class Bench:
    """One recorded set: what every rule does on the items outside a pilot."""

    def __init__(self, folder: Path, link: str) -> None:
        self.votes = read_votes(folder)
        self.words = read_logprobs(folder, self.votes)
        self.link = self.votes.links.index(link)
        self.name = link
        simulator = Simulator(self.votes)
        self.right = self.votes.label == self.votes.gold
        self.paid = np.nan_to_num(self.votes.cost_usd)
        self.papers = [
            self._paper(simulator, chain)
            for chain in permutations(self.votes.links, min(3, len(self.votes.links)))
        ]

    def _paper(self, simulator: Simulator, chain: Sequence[str]) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return whether each item is right, what it cost, and whether prices ascend, for one order by the paper's rule."""
        at = [self.votes.links.index(name) for name in chain]
        decision = simulator.decide(chain)
        label = decision.labels("rank", self.votes.label[at])
        means = self.paid[at].mean(1)
        return (
            label == self.votes.gold,
            np.where(decision.reached, self.paid[at], 0.0).sum(0),
            bool((np.diff(means) >= -1e-9 * means.max()).all()),
        )

    def others(self, rest: np.ndarray, times: float) -> dict[str, float]:
        """Return the accuracy of everything that the planner is compared with, on some items and for a budget."""
        cap = times * self.paid[self.link, rest].mean()
        cost, right = self.paid[:, rest].mean(1), self.right[:, rest].mean(1)
        within = [(hit[rest].mean(), rising) for hit, bill, rising in self.papers if bill[rest].mean() <= cap]
        rising = sorted(accuracy for accuracy, up in within if up)
        cheap = int(cost.argmin())
        part = float(np.clip((cap - cost[cheap]) / max(cost[self.link] - cost[cheap], 1e-12), 0, 1))
        return {
            "best single": max(
                (r for r, c in zip(right, cost, strict=True) if c <= cap * 1.001), default=np.nan
            ),
            "paper, median": rising[(len(rising) - 1) // 2] if rising else np.nan,
            "paper, hindsight": max((accuracy for accuracy, _ in within), default=np.nan),
            "random": part * right[self.link] + (1 - part) * right[cheap],
            "oracle": self._oracle(rest, cap),
        }

    def _oracle(self, rest: np.ndarray, cap: float) -> float:
        """Return how many items can be got right if the cheapest right vote of each is known and bought."""
        price = np.where(self.right[:, rest], self.paid[:, rest], np.inf).min(0)
        bill = np.cumsum(np.sort(price[np.isfinite(price)]))
        return float(np.searchsorted(bill, cap * len(rest), "right")) / len(rest)

    def planned(self, seed: int, pilot: str, budgets: Sequence[float]) -> list[dict[str, float]]:
        """Return what this planner does for each budget, from one pilot."""
        rows = choose_pilot(self.votes, pilot, seed)
        rest = np.setdiff1d(np.arange(len(self.votes)), rows)
        sample = take(self.votes, self.words, rows, ties(self.votes.item_ids.tolist(), seed))
        planner = Planner(sample, len(rest), seed)
        base, found = self.right[self.link, rest].mean(), []
        for times in budgets:
            try:
                plan = planner.plan(parse_budget(f"{times}x:{self.name}"))
            except InputError:  # too little for any link
                continue
            found.append({"budget": times, **self._row(plan, rest, base, times)})
        return found

    def _row(self, plan: Plan, rest: np.ndarray, base: float, times: float) -> dict[str, float]:
        _, _, did = held_out(plan, self.votes, self.words, rest)
        points = {name: 100 * (value - base) for name, value in self.others(rest, times).items()}
        return {
            "plan": 100 * (did["accuracy"] - base),
            **points,
            "spent": did["cost_share"],
            "covered": float(plan.found.low <= did["accuracy"] <= plan.found.high),
            "width": 100 * (plan.found.high - plan.found.low),
            "single": float(len(plan.planned.chain) == 1),
        }


def areas(table: dict[float, dict[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Return the mean of each curve over the budgets that all of them reach: its area over the range."""
    points = [
        (times, row)
        for times, row in sorted(table.items())
        if not np.isnan([row[name] for name in names]).any()
    ]
    if len(points) < 2:
        return {}
    x = np.array([times for times, _ in points])
    return {name: float(np.trapezoid([row[name] for _, row in points], x) / (x[-1] - x[0])) for name in names}


def averaged(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means over seeds, the standard error of the plan's, and the dearest overrun in percent of the budget."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    means["se"] = float(np.std([row["plan"] for row in rows]) / np.sqrt(len(rows)))
    means["most"] = 100 * max(row["spent"] / row["budget"] - 1 for row in rows)
    return means


def shown(times: float, row: dict[str, float]) -> list[str]:
    """Return the cells of one budget."""
    points = [f"{row[name]:+.2f}" for name in ("plan",)]
    others = [f"{row[name]:+.1f}" for name in COLUMNS[3:8]]
    rest = [
        f"{row['spent']:.3f}x",
        f"{row['most']:+.1f}%",
        f"{row['covered']:.0%}",
        f"{row['width']:.1f}",
        f"{row['single']:.0%}",
    ]
    return [
        f"{times:g}x",
        *points,
        f"{row['se']:.2f}",
        *[cell.replace("+nan", "-") for cell in others],
        *rest,
    ]


def report(name: str, folder: Path, seeds: int) -> None:
    """Print the table of one set."""
    from recorded import table

    link, pilot, budgets = SETS[name]
    bench = Bench(folder, link)
    start, rows = time.perf_counter(), []
    for seed in range(seeds):
        rows += bench.planned(seed, pilot, budgets)
    seconds = (time.perf_counter() - start) / seeds
    by_budget = {times: [row for row in rows if row["budget"] == times] for times in budgets}
    means = {times: averaged(some) for times, some in by_budget.items() if some}
    alone = float(bench.right[bench.link].mean())
    print(
        f"\n{name}: {len(bench.votes):,} items, {len(bench.votes.links)} links; {link} alone {alone:.1%}; pilot {pilot}, {seeds} seeds\n"
    )
    print(table(COLUMNS, [shown(times, row) for times, row in means.items()]))
    curves = ", ".join(
        f"{curve} {value:+.2f}" for curve, value in areas(means, ("plan", *COLUMNS[3:8])).items()
    )
    print(f"\nArea under the curves, over the budgets that all reach: {curves}. {seconds:.1f} s per pilot.")


def main() -> None:
    """Print one table per set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", default=",".join(SETS))
    given = parser.parse_args()
    try:
        if given.recorded is None:
            raise InputError("--recorded FOLDER (or CATENA_RECORDED) is needed.")
        for name in given.sets.split(","):
            report(name, Path(given.recorded) / name, given.seeds)
    except CatenaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
