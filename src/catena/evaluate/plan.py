"""From a pilot to a plan: which chain to take for a budget, what it will cost, and how good it will be."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Result
from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.budget import Budget, Target
from catena.evaluate.candidates import ALL_LOOKED_AT, Candidate
from catena.evaluate.crossfit import CrossFit
from catena.evaluate.metrics import Scores, score
from catena.evaluate.pilot import FEWEST, Sample, take
from catena.evaluate.planned import Planned, run_planned
from catena.evaluate.prices import Prices, ladder
from catena.evaluate.reliability import auroc, calibration_error
from catena.evaluate.search import Found, Search
from catena.routing import Policy, ties
from catena.routing.spend import Spend

__all__ = ["Plan", "Planner", "held_out"]

BLIND = 0.7  # a link whose confidence ranks worse than this routes badly
RUNGS = 16  # budgets tried for a target
NEARER = 4  # more of them between the last that is too little and the first that is enough


@dataclass(frozen=True)
class Plan:
    """A plan and what was known when it was made.

    Args:
        planned: What decides the labels.
        found: What is expected of it.
        reference: The link that costs are compared with.
        asked: The budget per item, USD; None where there was only a target.
        reached: Whether the target is expected to be met; None without one.
    """

    planned: Planned
    found: Found
    reference: str
    asked: float | None
    reached: bool | None


class Planner:
    """All plans over one pilot. It sees the pilot and how many other items there are; nothing else.

    Args:
        pilot: Votes of every candidate link, with gold; items without it are not learned from.
        rest: How many items the plan is for.
        seed: Settles ties.
        metric: `accuracy`, `macro_f1` or `agreement`: what is chosen by.
        agree_with: The link whose votes are the pilot's gold (see `pilot.agreeing`): accuracy then means agreement with
            it. It agrees with itself, at its price; so whatever a chain forwards to it is right, and no plan costs more
            than it does. None where gold comes from elsewhere: from people, or from a link that is no candidate.
        links: How many links a chain may have; all of them unless said.

    Raises:
        InputError: A link has no costs, or too few items have gold.
    """

    def __init__(
        self,
        pilot: Sample,
        rest: int,
        seed: int = 0,
        metric: str = "accuracy",
        agree_with: str | None = None,
        links: int | None = None,
    ) -> None:
        self._ids = tuple(pilot.votes.item_ids.tolist())
        self.spent = float(np.nansum(pilot.votes.cost_usd))
        self.pilot, self._rest, self._seed, self.agree_with = _known(pilot), rest, seed, agree_with
        self._metric = "accuracy" if metric == "agreement" else metric
        if metric == "agreement" and agree_with is None:
            raise InputError("agreement needs a link to agree with.", "Without one, accuracy is meant.")
        votes = self.pilot.votes
        without = [
            name for name, cost in zip(votes.links, votes.cost_usd, strict=True) if np.isnan(cost).all()
        ]
        if without:
            raise InputError(
                f"no cost_usd on the pilot for: {', '.join(without)}.", "A plan needs prices; 0 is one."
            )
        self.paid = np.nan_to_num(votes.cost_usd)
        certain = None if agree_with is None else self._at(agree_with, "--target agreement")
        self._most = len(votes.links) if links is None else links
        self._fit = CrossFit(self.pilot, min(ALL_LOOKED_AT, self._most), certain)
        self._searches: dict[int | None, Search] = {}

    @property
    def metric(self) -> str:
        """What is chosen by: `accuracy`, `macro_f1` or `agreement`."""
        return self._metric if self.agree_with is None else "agreement"

    @property
    def best_single(self) -> str:
        """The single link that is best on the pilot; the cheaper where two are equal."""
        votes = self.pilot.votes
        of = [self._single(j) for j in range(len(votes.links))]
        worth = [
            (getattr(each, self._metric) or 0.0, -cost)
            for each, cost in zip(of, self.paid.mean(1), strict=True)
        ]
        return votes.links[max(range(len(worth)), key=worth.__getitem__)]

    def _single(self, link: int) -> Scores:
        votes = self.pilot.votes
        return score(votes.gold, votes.label[link], votes.labels)

    def plan(self, budget: Budget | None, target: Target | None = None) -> Plan:
        """Return the best plan within a budget, or the cheapest that is expected to reach a target.

        Raises:
            InputError: An unknown link, or a budget that pays for no link.
        """
        if target is not None and (target.metric == "agreement") != (self.agree_with is not None):
            raise InputError(f"--target {target.metric}: this pilot is made for another metric.")
        reference = self._reference(budget)
        search = self._search(budget, reference)
        asked = self._each(budget, reference)
        ends = asked if asked is not None else float(np.sort(self.paid.mean(1))[-self._most :].sum())
        found = search.best(ends) if target is None else self._cheapest(search, ends, target)
        if found is None:
            costs = self.paid.mean(1)
            cheapest = self.pilot.votes.links[int(costs.argmin())]
            raise InputError(
                f"the budget of ${ends:.3g} per row surely pays for no link: the cheapest, {cheapest}, costs ${costs.min():.3g} "
                "on average.",
                "Raise --budget.",
            )
        reached = None if target is None else found.value >= target.value
        return Plan(self._write_down(found.candidate, budget, reference), found, reference, asked, reached)

    def frontier(self, budget: Budget | None) -> list[Found]:
        """Return the best plans from the cheapest budget up, each better than all cheaper ones.

        Of one that several budgets take, what is said is as for the asked one, or the largest: most stood for choice there.
        """
        reference = self._reference(budget)
        search, costs = self._search(budget, reference), self.paid.mean(1)
        asked = self._each(budget, reference)
        steps = ladder(costs.tolist(), max(float(costs.max()), asked or 0.0))
        found = [search.best(each) for each in [*steps, *([asked] if asked else [])]]
        told = {one.candidate: one for one in found if one}
        kept: list[Found] = []
        for each in sorted(told.values(), key=lambda one: (one.usd, -one.value)):
            if not kept or each.value > kept[-1].value:
                kept.append(each)
        return kept

    def describe(self) -> list[dict[str, Any]]:
        """Return what the pilot shows of each link: accuracy, cost, and whether its confidence says anything."""
        votes, told = self.pilot.votes, []
        for j, name in enumerate(votes.links):
            voted, alone = votes.voted[j], self._fit.alone[j]
            right = votes.label[j] == votes.gold
            told.append(
                {
                    "link": name,
                    **self._single(j).brief(),
                    "cost_usd": float(self.paid[j].mean()),
                    "auroc": auroc(votes.confidence[j][voted], right[voted]),
                    "calibration_error": calibration_error(alone.soft[voted], right[voted]),
                }
            )
        return told

    def shares(self, candidate: Candidate) -> tuple[str, ...]:
        """Return what each link keeps, so that of the rest no more are forwarded than planned."""
        ends = [*candidate.forwarded[1:], 0.0]
        if not self._even:
            kept = [round(f - after, 9) for f, after in zip(candidate.forwarded, ends, strict=True)]
            return tuple(f"{share:.9f}".rstrip("0").rstrip(".") for share in kept)
        n = self._rest or len(self.pilot)
        return exact_counts([n, *[math.floor(f * n * (1 + 1e-12)) for f in candidate.forwarded[1:]]])

    def counted(self, candidate: Candidate) -> float:
        """Return how often a candidate is right on the pilot, learned without the item; not lowered by the winner's curse."""
        prices = Prices(self.paid, None, self._rest)
        said = Search(self._fit, prices, self.pilot.tie, self._metric).replay(candidate)
        return float(said.hard.mean())

    @property
    def _even(self) -> bool:
        return Prices(self.paid, None, self._rest).even

    def _reference(self, budget: Budget | None) -> str:
        """Return the link whose cost is 1x."""
        if budget is None or budget.link is None:
            return self.best_single
        self._at(budget.link, f"--budget {budget.said}")
        return budget.link

    def _at(self, link: str, asked: str) -> int:
        links = self.pilot.votes.links
        if link not in links:
            raise InputError(f"{asked}: no link '{link}'.", f"The links are {', '.join(links)}.")
        return links.index(link)

    def _each(self, budget: Budget | None, reference: str) -> float | None:
        """Return a budget in USD per item."""
        if budget is None:
            return None
        if budget.usd is not None:
            return budget.usd / max(self._rest, 1)
        if budget.usd_per_item is not None:
            return budget.usd_per_item
        one = float(self.paid[self.pilot.votes.links.index(reference)].mean())
        if one <= 0:
            raise InputError(f"--budget {budget.said}: {reference} costs nothing.", "Give the budget in usd.")
        return (budget.times or 0.0) * one

    def _search(self, budget: Budget | None, reference: str) -> Search:
        relative = budget is None or budget.times is not None
        at = self.pilot.votes.links.index(reference) if relative else None
        if at not in self._searches:
            prices = Prices(self.paid, at, self._rest)
            self._searches[at] = Search(self._fit, prices, self.pilot.tie, self._metric, self._most)
        return self._searches[at]

    def _cheapest(self, search: Search, most: float, target: Target) -> Found | None:
        """Return the cheapest plan expected to reach a target, or the best within the budget."""
        found: list[Found] = []
        before = 0.0
        for each in ladder(self.paid.mean(1).tolist(), most, RUNGS):
            one = search.best(each)
            if one and one.value >= target.value:
                return self._nearer(search, before, each, one, target)
            found += [one] if one else []
            before = each
        return max(found, key=lambda one: one.value, default=None)

    def _nearer(self, search: Search, little: float, enough: float, found: Found, target: Target) -> Found:
        """Return the plan of the least budget that is enough, found by halving what lies between (in ratios)."""
        for _ in range(NEARER if little > 0 else 0):
            middle = math.sqrt(little * enough)
            one = search.best(middle)
            if one and one.value >= target.value:
                enough, found = middle, min(found, one, key=lambda one: one.usd)
            else:
                little = middle
        return found

    def _write_down(self, candidate: Candidate, budget: Budget | None, reference: str) -> Planned:
        votes = self.pilot.votes
        policy = Policy(
            share=self.shares(candidate),
            rank_by="calibrated",
            spend=self._spend(candidate, budget, reference),
            pilot=self._ids,
        )
        chain = tuple(votes.links[j] for j in candidate.links)
        rule = self._fit.rule(candidate.links, named_only=candidate.own)
        return Planned(chain, votes.labels, policy, rule, self._seed)

    def _spend(self, candidate: Candidate, budget: Budget | None, reference: str) -> Spend | None:
        """Return the cap of a chain whose links' calls differ in price."""
        if self._even or len(candidate.links) == 1:
            return None
        search, first, links = self._search(budget, reference), candidate.links[0], self.pilot.votes.links
        named = sorted({*candidate.links, links.index(reference)})
        costs = self.paid.mean(1)
        usd = {links[j]: float(costs[j]) for j in named}
        follows = {links[j]: round(search.follows(first, j), 6) for j in named}
        planned = sum(f * costs[j] for f, j in zip(candidate.forwarded, candidate.links, strict=True))
        if budget is not None and budget.times is None:
            return Spend(usd, follows, usd_per_item=float(planned))
        return Spend(usd, follows, times=float(planned / costs[links.index(reference)]), of=reference)


def _known(pilot: Sample) -> Sample:
    """Return the items of a pilot that have gold."""
    rows = np.flatnonzero(pilot.votes.gold >= 0)
    if len(rows) < FEWEST:
        raise InputError(
            f"the pilot: {len(rows):,} of its items have a label to learn from.", f"Take at least {FEWEST}."
        )
    return pilot if len(rows) == len(pilot) else take(pilot.votes, pilot.logprobs, rows, pilot.tie)


def exact_counts(reaching: list[int]) -> tuple[str, ...]:
    """Return shares by which exactly these numbers of items reach the links.

    >>> exact_counts([10, 4, 1])
    ('3/5', '3/10', '1/10')
    """
    kept = [here - after for here, after in zip(reaching, [*reaching[1:], 0], strict=True)]
    return tuple(str(Fraction(count, reaching[0])) for count in kept)


def held_out(
    plan: Plan, votes: VoteTable, logprobs: NDArray[np.float32] | None, rows: NDArray[np.int64]
) -> tuple[Sample, Result, dict[str, Any]]:
    """Run a plan on items outside its pilot; their gold is used for these figures only.

    Args:
        plan: The plan.
        votes: All votes.
        logprobs: Theirs.
        rows: The items, ascending.

    Returns:
        The items' votes, what was decided, and figures ready for JSON.
    """
    tie = ties(votes.item_ids.tolist(), plan.planned.seed)
    sample = take(votes, logprobs, rows, tie)
    decision, result = run_planned(plan.planned, sample)
    table = sample.votes.chain(plan.planned.chain)
    scores = score(sample.votes.gold, result.label(), votes.labels)
    cost = float(np.nansum(np.where(decision.reached, table.cost_usd, 0.0)))
    compared = float(np.nansum(sample.votes.cost_usd[votes.links.index(plan.reference)]))
    figures = {
        "n": len(rows),
        **scores.brief(),
        "cost_usd": cost,
        "cost_share": cost / compared if compared > 0 else None,
        "missing": int((decision.reached & ~table.recorded).sum()),
    }
    return sample, result, figures
