"""A policy as data: which rule says whether a link keeps an item, and what the rule ranks by."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from catena.errors import InputError, places
from catena.routing.share import exact_shares, quotas
from catena.routing.spend import Spend

__all__ = ["Policy"]

RULES = ("share", "threshold", "agree")


class Policy(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"class_aware": "class-aware"},
):
    """How items are routed. Without any rule, equal shares (the paper's).

    Args:
        share: What each link keeps, summing to 1: always the items that it ranks highest. With `spend`, in terms of
            planned spending: the counts give way.
        threshold: A link keeps an item that stands at least so high: one number for each link but the last.
        agree: A link keeps an item of which so many votes so far name the same label.
        spend: A cap in money, where calls of a link differ in price.
        rank_by: What an item's place is: the link's own `confidence`, or `calibrated`: the posterior of the votes so far.
        class_aware: Labels, by link, that the link is weak on: such a vote ranks below all others that have a
            confidence, and reaches no threshold.
        pilot: Ids of the items that the policy was made from; replays leave them out.
    """

    share: tuple[str | float, ...] | None = None
    threshold: tuple[float, ...] | None = None
    agree: Annotated[int, msgspec.Meta(ge=2)] | None = None
    spend: Spend | None = None
    rank_by: Literal["confidence", "calibrated"] = "confidence"
    class_aware: Mapping[str, tuple[str, ...]] = {}
    pilot: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The name of its rule."""
        return next((name for name in RULES if getattr(self, name) is not None), "share")

    @property
    def usual_aggregate(self) -> Literal["rank", "last"]:
        """What labels are taken from unless the task says: `rank` belongs to shares, elsewhere the keeping link decides."""
        return "rank" if self.rule == "share" else "last"

    @property
    def by_own_confidence(self) -> bool:
        """Whether it looks at nothing but how sure a link is of its own vote."""
        return self.rule != "agree" and self.rank_by == "confidence"

    def check(self, chain: Sequence[str], labels: Sequence[str]) -> None:
        """See that it fits a chain.

        Raises:
            InputError: It does not; the message names the key.
        """
        given = [name for name in RULES if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"policy: {' and '.join(given)} are two rules.", "Give one of them.")
        exact_shares(self.share, len(chain))
        if self.threshold is not None and len(self.threshold) != len(chain) - 1:
            raise InputError(
                f"policy.threshold: {len(self.threshold)} thresholds for {len(chain)} links.",
                "Give one for each link but the last, which keeps all that reaches it.",
            )
        if any(math.isnan(value) for value in self.threshold or ()):
            raise InputError("policy.threshold: a threshold is a number.")
        if self.agree is not None and self.agree > len(chain):
            raise InputError(
                f"policy.agree: {self.agree} votes can't agree in a chain of {len(chain)}.",
                "Ask for fewer, or add links.",
            )
        self._check_classes(chain, labels)
        self._check_spend(chain)

    def _check_classes(self, chain: Sequence[str], labels: Sequence[str]) -> None:
        if self.class_aware and (self.rule == "agree" or self.rank_by == "calibrated"):
            raise InputError(
                "policy.class-aware goes with share or threshold, ranked by confidence.",
                "A calibrated posterior knows already which classes a link is weak on.",
            )
        if unknown := [name for name in self.class_aware if name not in chain]:
            raise InputError(
                f"policy.class-aware: no link of the chain: {places(unknown)}.", f"Links: {', '.join(chain)}."
            )
        weak = [label for named in self.class_aware.values() for label in named]
        if unknown := [label for label in weak if label not in labels]:
            raise InputError(
                f"policy.class-aware: none of the labels: {places(unknown)}.", f"Labels: {', '.join(labels)}."
            )

    def _check_spend(self, chain: Sequence[str]) -> None:
        spend = self.spend
        if spend is None:
            return
        if self.rule != "share" or self.rank_by != "calibrated":
            raise InputError(
                "policy.spend goes with share and rank_by: calibrated.", "Make one with: catena plan"
            )
        needed = {*chain, *([spend.of] if spend.of else [])}
        if lacking := sorted(name for name in needed if name not in spend.usd or name not in spend.follows):
            raise InputError(
                f"policy.spend: usd and follows lack: {places(lacking)}.", "Name every link of the chain."
            )

    def expects(self, items: int, links: int) -> list[int | None]:
        """Return how many items will reach each link; None where that depends on the votes."""
        if self.rule == "share" and self.spend is None:
            return [receives for receives, _ in quotas(items, exact_shares(self.share, links))]
        return [items, *[None] * (links - 1)]
