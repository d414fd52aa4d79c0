"""`calibrated`: the most probable label given all votes of an item, by calibrators learned on a pilot.

The posterior of an item is known as soon as its votes are there: nothing in it depends on other items. So a policy can
rank by it while votes arrive.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.aggregate.votes import Votes
from catena.confidence.calibrate import Calibrator, DistributionMap
from catena.confidence.pool import posterior, said
from catena.errors import InputError

__all__ = ["Calibrated"]

Floats = NDArray[np.float64]


class Calibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the rule has learned, as data that a task file holds.

    Args:
        log_prior: Natural-log share of each label, in the task's order, [K].
        links: What a vote of each link is worth, by name.
        weights: For each number of votes, the weight of each link so far in chain order: [[1.0], [0.6, 0.7], ...].
        named_only: Whether only a label that a link named may win, also where links gave full distributions.
    """

    log_prior: tuple[float, ...]
    links: Mapping[str, Calibrator]
    weights: tuple[tuple[float, ...], ...]
    named_only: bool = False

    def check(self, chain: Sequence[str], labels: Sequence[str]) -> None:
        """See that it was made for a chain and its labels.

        Raises:
            InputError: It was not.
        """
        sizes = [len(weights) for weights in self.weights]
        if set(chain) - set(self.links) or sizes[: len(chain)] != list(range(1, len(chain) + 1)):
            raise InputError("aggregate.calibrated was not made for this chain.", "Plan again: catena plan")
        wrong = [name for name in chain if not self.links[name].fits(len(labels))]
        if len(self.log_prior) != len(labels) or wrong:
            raise InputError("aggregate.calibrated was not made for these labels.", "Plan again: catena plan")

    def reads(self, link: str) -> bool:
        """Whether it looks at a link's whole label distributions."""
        return isinstance(self.links[link], DistributionMap)

    def judge(self, chain: Sequence[str], votes: Votes) -> tuple[NDArray[np.int16], Floats]:
        """Return the label of items by their first l votes, -1 without any, and its posterior probability.

        Args:
            chain: Names of all links in order.
            votes: Of the first l of them.
        """
        seen = len(votes.label)
        words = [*votes.logprobs, *[None] * (seen - len(votes.logprobs))]
        evidence = np.stack(
            [
                self.links[name].evidence(label, sure, None if each is None else each.astype(float))
                for name, label, sure, each in zip(
                    chain[:seen], votes.label, votes.confidence, words, strict=True
                )
            ]
        )
        full = any(self.reads(name) for name in chain[:seen])
        return said(
            posterior(np.array(self.log_prior), evidence, self.weights[seen - 1]),
            votes.label,
            free=full and not self.named_only,
        )
