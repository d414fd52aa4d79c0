"""Where an item stands at a link, given the votes that it has so far: what a policy ranks by.

Nothing in it depends on other items, so it is known as soon as the votes are there; and it is the same number whether one
item is judged or a million: every sum is taken in a fixed order.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from catena.aggregate.calibrated import Calibrated
from catena.aggregate.votes import Votes
from catena.errors import InputError
from catena.routing import Policy
from catena.routing.agree import agreeing
from catena.routing.standing import FAILED, SURE, standings

__all__ = ["Judge"]


class Judge:
    """A policy's view of votes.

    Args:
        policy: How items are routed.
        chain: Names of the links in order.
        labels: The task's labels in order.
        rule: What `calibrated` has learned; None where nothing asks for it.

    Raises:
        InputError: The policy does not fit the chain, or needs a rule that is not there or not for this chain.
    """

    def __init__(
        self, policy: Policy, chain: Sequence[str], labels: Sequence[str], rule: Calibrated | None
    ) -> None:
        policy.check(chain, labels)
        if rule is None and policy.rank_by == "calibrated":
            raise InputError(
                "policy.rank_by: calibrated needs aggregate: {calibrated: ...}.", "Make it with: catena plan"
            )
        if rule is not None:
            rule.check(chain, labels)
        self.policy, self.chain, self.rule = policy, tuple(chain), rule
        self.weak = [_indices(policy.class_aware, name, labels) for name in chain]

    def __call__(self, votes: Votes) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return where items stand at the last link that has voted on them: kinds [n] and values [n].

        Args:
            votes: Of the first l links about n items that reached the last of these.
        """
        label = votes.label
        if self.policy.rule == "agree":
            count = agreeing(label)
            return np.where(count > 0, SURE, FAILED).astype(np.int8), count
        if self.policy.rank_by == "calibrated" and self.rule is not None:
            found, sure = self.rule.judge(self.chain, votes)
            return np.where(found >= 0, SURE, FAILED).astype(np.int8), sure
        weak = self.weak[len(label) - 1]
        doubted = np.isin(label[-1], list(weak)) if weak else None
        return standings(label[-1] >= 0, votes.confidence[-1], doubted)


def _indices(weak: Mapping[str, Sequence[str]], link: str, labels: Sequence[str]) -> frozenset[int]:
    return frozenset(labels.index(name) for name in weak.get(link, ()))
