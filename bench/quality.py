"""What a plan is worth: this planner against the paper's rule and others, on recorded votes of real LLMs.

python bench/quality.py --recorded FOLDER [--seeds 20] [--sets mmlu,emotion,arena] [--agreement]
python bench/quality.py --sets ladder,near-equal,heavy        worlds of bench/worlds.py; `worlds` takes all that the
                                                              planner was made with in view, `unseen`, `later` and `many` others
python bench/quality.py --links 3                             plans of so many links at most

FOLDER holds vote tables; CATENA_RECORDED names it too. Every seed draws a pilot (300 items, 100 of `arena`), plans on it
for several budgets, and runs the plan on all other items; figures are accuracies there, as points against the set's
dearest good link alone (1x is its cost). A world is made anew for each seed. What the plan is compared with is told in
bench/rivals.py. Per budget:

- spent, most: mean cost, and the worst of any seed against the budget.
- covered, width: how often the 95 % interval held the accuracy, and how wide it is in points; off: expected less real.
- single, longer: how often the plan is one link, or more than three. loss: how far it is below the best link of the budget,
  on average: the one that is best on the very items outside the pilot. known: how far below the one that is best on the
  pilot, of those that the budget pays for there: what who takes no chain would take.

With --agreement, plans without gold too: for agreement with the dearest link, beside BARGAIN where it is installed.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from catena.data.distributions import read_logprobs
from catena.data.votes import VoteTable, read_votes
from catena.errors import CatenaError, InputError
from catena.evaluate.budget import Target, parse_budget
from catena.evaluate.pilot import agreeing, choose_pilot, dearest, take
from catena.evaluate.plan import Plan, Planner, held_out
from catena.routing import ties
from rivals import RIVALS, Rivals, bargain
from worlds import LATER, MANY, UNSEEN, WORLDS, made

SETS = {
    "mmlu": ("llama3.1-405b", "300", (0.1, 0.25, 0.5, 0.75, 1.0)),
    "emotion": ("Qwen-14B", "300", (0.25, 0.5, 0.75, 1.0)),
    "arena": ("gpt-4-turbo", "100", (0.1, 0.25, 0.5, 1.0)),
}
IN_WORLDS = (0.3, 0.7, 1.0, 1.5)
TARGETS = (0.8, 0.9, 0.95)
FIGURES = ("spent", "most", "covered", "width", "off", "single", "longer", "loss", "known")
COLUMNS = ("budget", "plan", "se", *RIVALS, *FIGURES)
AGREEMENT = ("target", "cost", "agreement", "met", "covered", "BARGAIN, cost", "agreement", "met")


class Bench:
    """One vote table: what every rule does on the items outside a pilot."""

    def __init__(
        self, votes: VoteTable, words: np.ndarray | None, link: str, links: int | None = None
    ) -> None:
        self.votes, self.words, self.name, self.links = votes, words, link, links
        self.rivals = Rivals(votes, votes.links.index(link))

    def drawn(self, seed: int, pilot: str) -> tuple[np.ndarray, Planner]:
        """Return the items outside a pilot, and the planner on it."""
        rows = choose_pilot(self.votes, pilot, seed)
        rest = np.setdiff1d(np.arange(len(self.votes)), rows)
        sample = take(self.votes, self.words, rows, ties(self.votes.item_ids.tolist(), seed))
        return rest, Planner(sample, len(rest), seed, links=self.links)

    def planned(self, seed: int, pilot: str, budgets: Sequence[float]) -> list[dict[str, float]]:
        """Return what this planner does for each budget, from one pilot."""
        rest, planner = self.drawn(seed, pilot)
        found = []
        for times in budgets:
            start = time.perf_counter()
            try:
                plan = planner.plan(parse_budget(f"{times}x:{self.name}"))
            except InputError:  # too little for any link
                continue
            seconds = time.perf_counter() - start
            known = self._known(planner, rest, times)
            found.append({"budget": times, "seconds": seconds, **self._row(plan, rest, times, known)})
        return found

    def _known(self, planner: Planner, rest: np.ndarray, times: float) -> float:
        """Return the accuracy on the rest of the link that is best on the pilot, of those that the budget pays for there."""
        votes, cost = planner.pilot.votes, planner.paid.mean(1)
        counted = (votes.label == votes.gold).mean(1)
        within = cost <= times * cost[self.rivals.link] * (1 + 1e-9)
        if not within.any():
            return float("nan")
        best = np.lexsort((cost, -np.where(within, counted, -1.0)))[0]
        return float(self.rivals.right[best, rest].mean())

    def _row(self, plan: Plan, rest: np.ndarray, times: float, known: float) -> dict[str, float]:
        _, _, did = held_out(plan, self.votes, self.words, rest)
        base = self.rivals.right[self.rivals.link, rest].mean()
        points = {name: 100 * (value - base) for name, value in self.rivals.worth(rest, times).items()}
        mine = 100 * (did["accuracy"] - base)
        return {
            "plan": mine,
            **points,
            "spent": did["cost_share"],
            "covered": float(plan.found.low <= did["accuracy"] <= plan.found.high),
            "width": 100 * (plan.found.high - plan.found.low),
            "off": 100 * (plan.found.accuracy - did["accuracy"]),
            "single": float(len(plan.planned.chain) == 1),
            "longer": float(len(plan.planned.chain) > 3),
            "loss": points["best single"] - mine,
            "known": 100 * (known - did["accuracy"]),
        }

    def agreed(self, seed: int, pilot: str) -> list[dict[str, float]]:
        """Return what plans for agreement with the dearest link do, from one pilot without gold."""
        rest, planner = self.drawn(seed, pilot)
        sample, link = planner.pilot, dearest(planner.pilot.votes)
        votes = replace(self.votes, gold=self.votes.chain([link]).label[0])
        without = Planner(agreeing(sample, link), len(rest), seed, "agreement", link, self.links)
        found = []
        for value in TARGETS:
            plan = without.plan(None, Target("agreement", value))
            _, _, did = held_out(plan, votes, self.words, rest)
            covered = plan.found.low <= did["accuracy"] <= plan.found.high
            row = {"cost": did["cost_share"], "agreement": did["accuracy"], "covered": float(covered)}
            found.append({"target": value, "met": float(did["accuracy"] >= value), **row})
        return found


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
    cells = [
        f"{times:g}x",
        f"{row['plan']:+.2f}",
        f"{row['se']:.2f}",
        *[f"{row[name]:+.1f}".replace("+nan", "-") for name in RIVALS],
        f"{row['spent']:.3f}x",
        f"{row['most']:+.1f}%",
        f"{row['covered']:.0%}",
        f"{row['width']:.1f}",
        f"{row['off']:+.2f}",
        f"{row['single']:.0%}",
        f"{row['longer']:.0%}",
        f"{row['loss']:+.2f}",
        f"{row['known']:+.2f}",
    ]
    return [cell.replace("nan%", "-").replace("+nan", "-") for cell in cells]


def report(name: str, folder: Path | None, seeds: int, links: int | None, *, agreement: bool) -> None:
    """Print the table of one set or world."""
    from recorded import table

    worlds = WORLDS | UNSEEN | LATER | MANY
    if name in worlds:
        world = worlds[name]
        benches = (Bench(*made(world, seed), world.link, links) for seed in range(seeds))
        pilot, budgets = str(world.pilot), IN_WORLDS
    else:
        if name not in SETS or folder is None:
            known = ", ".join([*SETS, *worlds])
            raise InputError(f"--sets {name}: no such set, or no --recorded FOLDER.", f"There are {known}.")
        link, pilot, budgets = SETS[name]
        votes = read_votes(folder / name)
        one = Bench(votes, read_logprobs(folder / name, votes), link, links)
        benches = (one for _ in range(seeds))
    rows, agreed, alone = [], [], []
    for seed, bench in enumerate(benches):
        rows += bench.planned(seed, pilot, budgets)
        agreed += bench.agreed(seed, pilot) if agreement else []
        alone.append(float(bench.rivals.right[bench.rivals.link].mean()))
    by_budget = {times: [row for row in rows if row["budget"] == times] for times in budgets}
    means = {times: averaged(some) for times, some in by_budget.items() if some}
    seconds = sum(row["seconds"] for row in rows) / seeds
    size = f"{len(bench.votes):,} items, {len(bench.votes.links)} links"
    print(f"\n{name}: {size}; {bench.name} alone {np.mean(alone):.1%}; pilot {pilot}, {seeds} seeds\n")
    print(table(COLUMNS, [shown(times, row) for times, row in means.items()]))
    curves = [f"{curve} {value:+.2f}" for curve, value in areas(means, ("plan", *reached(means))).items()]
    print(f"\nArea under the curves, over the budgets that all of them reach: {', '.join(curves)}.")
    print(f"{seconds:.1f} s per pilot for {len(budgets)} budgets.", flush=True)
    if agreement:
        print("\n" + table(AGREEMENT, without_gold(bench, agreed)), flush=True)


def reached(means: dict[float, dict[str, float]]) -> list[str]:
    """Return the rivals that at least two budgets pay for."""
    return [name for name in RIVALS if sum(not np.isnan(row[name]) for row in means.values()) > 1]


def without_gold(bench: Bench, rows: Sequence[dict[str, float]]) -> list[list[str]]:
    """Return the cells of the table of agreement with the dearest link."""
    votes = bench.votes
    reference = int(np.nan_to_num(votes.cost_usd).mean(1).argmax())
    peer = bargain(votes, reference, TARGETS, 0.1, max(20, len(rows) // len(TARGETS)))
    cells = []
    for at, target in enumerate(TARGETS):
        some = [row for row in rows if row["target"] == target]
        cost, agreement, met, covered = (
            np.mean([row[name] for row in some]) for name in ("cost", "agreement", "met", "covered")
        )
        mine = [f"{target:g}", f"{cost:.2f}x", f"{agreement:.1%}", f"{met:.0%}", f"{covered:.0%}"]
        if peer is None:
            cells.append([*mine, "-", "-", "-"])
        else:
            his = peer[at]
            cells.append([*mine, f"{his['cost']:.2f}x", f"{his['agreement']:.1%}", f"{his['met']:.0%}"])
    return cells


def main() -> None:
    """Print one table per set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--links", type=int)
    parser.add_argument("--agreement", action="store_true")
    given = parser.parse_args()
    folder = None if given.recorded is None else Path(given.recorded)
    try:
        groups = {"worlds": WORLDS, "unseen": UNSEEN, "later": LATER, "many": MANY}
        for name in [one for group in given.sets.split(",") for one in groups.get(group, [group])]:
            report(name, folder, given.seeds, given.links, agreement=given.agreement)
    except CatenaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
