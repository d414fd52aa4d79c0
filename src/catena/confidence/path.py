"""The generated text from token to token, and what it and its alternatives have given to each label."""

from collections.abc import Iterable
from math import log
from typing import NamedTuple

import msgspec

__all__ = ["FLOOR", "LabelScores", "Led", "Mask", "Path"]

RESOLUTION = 1e-7  # log-probabilities are float32: an unlisted mass below this can't be told from none
SPELLINGS = 256
"""Tokens of one position that may lead to a label: its beginnings, in each case, bare or after a space or a quote."""
FLOOR = 1e-30  # smallest probability in a margin, so that margins are finite

Mask = int
"""A set of labels: a bit for each."""


class Led(NamedTuple):
    """A token.

    Args:
        data: Its bytes.
        mask: The labels that it leads to.
        mass: Its probability.
        text: What the answer says with it, without decoration.
        may: The labels that it may lead to at most.
        begun: Of those that it leads to, the ones that it begins in their own case.
    """

    data: bytes
    mask: Mask
    mass: float
    text: str = ""
    may: Mask = 0
    begun: Mask = 0


class LabelScores(msgspec.Struct, frozen=True, gc=False):
    """Probabilities of all labels, in the task's order.

    Args:
        logprobs: Natural log of each label's probability, all its surfaces merged; None where none was listed.
        lower: Each label's probability is at least this.
        upper: And at most this.
        best: Index of the largest of `logprobs`; the first on ties.
        margin: The paper's confidence: `logprobs[best]` minus the second largest, in nats, never negative. A label
            that wasn't listed counts with the most that could have gone unlisted; probabilities below 1e-30 count as
            1e-30. 0 where nothing is known.
        least: The margin is at least this: the log of `lower[best]` minus that of the largest other `upper`; 0 where the
            bounds leave open which label is best.
    """

    logprobs: tuple[float | None, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    best: int
    margin: float
    least: float


class Loan(NamedTuple):
    """Mass that is shared, when all is known, as labels have got theirs.

    Args:
        mask: The labels that it may be for.
        mass: Its probability.
        beside: What labels have got at the same position.
        before: What they had when the path went on.
        path: The probability of the path that goes on; 0 where it leads to no label.
    """

    mask: Mask
    mass: float
    beside: list[float]
    before: list[float]
    path: float


class Path:
    """The generated text so far and what it and its alternatives have given to each label.

    `mass` is the probability of the generated text, `passed` the labels whose own tokens it has left aside. `loose` is what
    a label can have got unlisted, if at each position it got no more than the least that was listed.
    """

    def __init__(self, size: int, alive: Mask) -> None:
        self.data, self.alive, self.mass, self.passed = b"", alive, 1.0, 0
        self.point, self.lower, self.upper, self.loose = ([0.0] * size for _ in range(4))
        self._loans: list[Loan] = []

    def sure(self, mask: Mask, mass: float) -> None:
        """Give mass to the one label of the mask."""
        index = mask.bit_length() - 1
        self.point[index] += self.mass * mass
        self.lower[index] += self.mass * mass
        self.upper[index] += self.mass * mass

    def maybe(self, mask: Mask, shared: Mask, mass: float) -> None:
        """Give mass to the upper bounds of the mask and, in equal shares, to the estimates of `shared`."""
        share = self.mass * mass / (shared.bit_count() or 1)
        for index in range(len(self.upper)):
            if mask >> index & 1:
                self.upper[index] += self.mass * mass
            if shared >> index & 1:
                self.point[index] += share

    def lend(self, own: Led, token: Led, beside: Iterable[Led]) -> None:
        """Lend a token's mass to the estimates of its labels, in proportion to what they get.

        Args:
            own: The generated token, whose labels get what the path will give them.
            token: What is lent, and the labels that it may be for.
            beside: Other tokens of this position, each shared equally by its labels, which count too.
        """
        got = [0.0] * len(self.point)
        for each in beside:
            share = self.mass * each.mass / (each.mask.bit_count() or 1)
            for index in range(len(got)):
                got[index] += share if each.mask >> index & 1 else 0.0
        path = self.mass * own.mass if own.mask else 0.0
        self._loans.append(Loan(token.mask, self.mass * token.mass, got, [*self.point], path))

    def unlisted(self, mass: float, own: float, least: float) -> None:
        """Count the mass that no list shows at this position, of which a label has at most so many tokens.

        The generated token need not be among the likeliest, so the last one is the least of the others.
        """
        mass = max(mass, RESOLUTION)
        upper, loose = self.mass * min(mass, SPELLINGS * least), self.mass * min(mass, own, least)
        for index in range(len(self.upper)):
            if self.alive >> index & 1:
                self.upper[index] += upper
                self.loose[index] += loose

    def follow(self, own: Led) -> None:
        """Go on with the generated token, which leaves several labels."""
        self.data, self.alive, self.mass = self.data + own.data, own.mask, self.mass * own.mass

    def give(self, mask: Mask, mass: float) -> None:
        """End with a generated token that leaves one label or none."""
        if mask:
            self.sure(mask, mass)
        else:
            self.maybe(self.alive, 0, mass)

    def ended(self, exact: Mask) -> None:
        """Count a text that ends while several labels are left: as the one that it is, where it is one."""
        several = self.alive if self.alive.bit_count() < len(self.point) else 0
        self.maybe(self.alive, exact & self.alive or several, 1.0)

    def scores(self) -> LabelScores:
        """Return the sums as probabilities and the margin between the best two."""
        for loan in reversed(self._loans):  # what was lent later is a part of what the path gave
            self._settle(loan)
        best = max(range(len(self.point)), key=self.point.__getitem__)
        rivals = [point or self.loose[index] for index, point in enumerate(self.point) if index != best]
        rival = max(max(rivals, default=RESOLUTION), FLOOR)
        margin = log(max(self.point[best], FLOOR)) - log(rival) if self.point[best] else 0.0
        most = max([bound for index, bound in enumerate(self.upper) if index != best], default=RESOLUTION)
        least = log(max(self.lower[best], FLOOR)) - log(max(most, FLOOR))
        return LabelScores(
            tuple([log(min(point, 1.0)) if point else None for point in self.point]),
            tuple([min(bound, 1.0) for bound in self.lower]),
            tuple([min(bound, 1.0) for bound in self.upper]),
            best,
            max(margin, 0.0),
            max(least, 0.0),
        )

    def _settle(self, loan: Loan) -> None:
        """Share what was lent: as much of it goes to labels as of the path."""
        along = [
            after - before if loan.path else 0.0
            for after, before in zip(self.point, loan.before, strict=True)
        ]
        kept = min(sum(along) / loan.path, 1.0) if loan.path else 1.0
        got = [
            gain + beside if loan.mask >> index & 1 else 0.0
            for index, (gain, beside) in enumerate(zip(along, loan.beside, strict=True))
        ]
        total = sum(got)
        for index, weight in enumerate(got):
            if total:
                self.point[index] += kept * loan.mass * weight / total
