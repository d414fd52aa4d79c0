"""The probability of every label from the tokens of one answer.

An answer comes as tokens, each with a list of alternatives. A label has many surfaces (`favor`, ` Favor`, `"favor`),
may be several tokens long, and may share its first ones with another label (`pro-war`, `pro-peace`). So we follow the
generated tokens from the start of the label until only one label is left; at each position every alternative that
leads to one label gives its mass to that label. What the list doesn't show stays an upper bound, never a guess. The list
holds the likeliest tokens, so no token that it doesn't show is likelier than its last one.

One assumption: text that can only become one label does become it (`pos` counts for `positive`). The estimates take
two more: an ambiguous alternative is split equally, but not with labels that have a longer token at its position (`no`
becomes no `none` where `none` is listed). Sets of labels are bit masks.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from math import log
from operator import or_
from string import whitespace
from unicodedata import category

import msgspec

from catena.confidence.answer import OPENERS, Found, LabelParser, Missed, fold
from catena.confidence.tokens import Mass, Token, decode, listed, locate

__all__ = ["LabelScorer", "LabelScores", "score_labels"]

RESOLUTION = 1e-7  # log-probabilities are float32: an unlisted mass below this can't be told from none
SPELLINGS = 256
"""Tokens of one position that may lead to a label: its beginnings, in each case, bare or after a space or a quote."""
FLOOR = 1e-30  # smallest probability in a margin, so that margins are finite
MOST_CACHED = 8192
EDGES = OPENERS + whitespace + "\xa0\u3000"  # what may stand before a label
WIDE_EDGES = tuple(char.encode() for char in EDGES if not char.isascii())

Mask = int
Led = tuple[bytes, Mask, float]
"""A token, the labels that it leads to, and its probability."""


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


def score_labels(tokens: Sequence[Token], labels: Sequence[str], start: int) -> LabelScores:
    """Return the probabilities of all labels, given the answer's text before the label.

    Args:
        tokens: All tokens of the answer, in order.
        labels: The closed label set; distinct after `fold` and `strip`.
        start: Offset of the label in the answer's characters, as `Found.start`.
    """
    return _scorer(tuple(labels)).score(tokens, start)


@lru_cache(maxsize=64)
def _scorer(labels: tuple[str, ...]) -> "LabelScorer":
    return LabelScorer(labels)


class LabelScorer:
    """`parse_answer` and `score_labels` for many answers over one label set, with what they share computed once."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._parser = LabelParser(labels)
        self.labels = self._parser.labels
        self._keys = self._parser.keys
        self._all = (1 << len(self._keys)) - 1
        self._decorated = any(key[:1] in EDGES for key in self._keys if key)
        self._cache: dict[bytes, tuple[Mask, str]] = {}

    def parse(self, text: str) -> Found | Missed:
        """Return the one label that the answer is, or why there is none."""
        return self._parser.parse(text)

    def score(self, tokens: Sequence[Token], start: int, *, ranked: bool = True) -> LabelScores:
        """Return the probabilities of all labels, given the answer's text before the label.

        Args:
            tokens: All tokens of the answer, in order.
            start: As `Found.start`.
            ranked: Whether the alternatives are the likeliest ones, so that no other token is likelier than the last.
        """
        path = _Path(len(self._keys), self._all)
        first, head = locate(tokens, start)
        for at in range(first, len(tokens)):
            own, others, unlisted = listed(tokens[at], head if at == first else b"")
            least = min([mass for _, mass in others], default=1.0) if ranked else 1.0
            path.unlisted(unlisted, (own[1] or 1.0) if ranked else 1.0, least)
            if own[0]:
                mask, text = self._match(path.data + own[0])
            elif any(token.text or token.raw for token in tokens[at + 1 :]):
                mask, text = path.alive, ""  # part of a character that a later token spells out
            else:
                mask, text = self._exact(path.data), ""
            mask &= path.alive
            twins = self._others(path, own, others, mask, text)
            path.follow(own, mask, twins)
            if not mask & (mask - 1):
                return path.scores()
        path.ended(self._exact(path.data))
        return path.scores()

    def _others(self, path: "_Path", mine: Mass, others: list[Mass], own: Mask, text: str) -> float:
        """Give the alternatives' mass to the labels they lead to; return the mass of other surfaces of `text`.

        Those (`Very` for `very`) are taken to go on as the generated token does, where its labels `own` are several. A
        space alone is lent to the labels that have no token with a space before them, where others have one.
        """
        split, twins = own & (own - 1), 0.0
        parted = 0 if split else own
        several: list[tuple[bytes, Mask, float]] = []
        bare: list[Led] = []
        led: list[Led] = [(mine[0], own, mine[1])]
        longer = [(text, own)]
        for data, mass in others:
            mask, other = self._match(path.data + data) if data else (0, "")
            mask &= path.alive
            (led if other else bare).append((data, mask, mass))
            longer.append((other, mask))
            if not data:
                self._empty(path, mass)
            elif not mask & (mask - 1):
                if mask:
                    path.sure(mask, mass)
                    parted |= mask
            elif other and not (split and other == text):
                several.append((path.data + data, mask, mass))
            else:
                twins += mass if other else 0.0
                path.maybe(mask, 0, mass)
        for data, mask, mass in several:
            said = self._match(data)[1]
            beyond = reduce(
                or_, [its for other, its in longer if other != said and other.startswith(said)], 0
            )
            path.maybe(mask, self._sharing(data, mask, parted | beyond), mass)
        return twins + sum(_lent(path, each, led) for each in bare if each[1] & (each[1] - 1))

    def _sharing(self, data: bytes, mask: Mask, parted: Mask) -> Mask:
        """Return which labels of an ambiguous alternative share its mass.

        Not those that another token here leads to alone, or that a longer one begins (`parted`): a model with a token
        `none` doesn't write it as `no` and `ne`. But the label that the alternative already is stays.
        """
        return mask & (~parted | self._exact(data)) or mask

    def _empty(self, path: "_Path", mass: float) -> None:
        """Count an empty token: an end token, or on some servers a part of a character."""
        exact = self._exact(path.data) & path.alive
        _, text = self._match(path.data)
        wide = sum(
            1 << index
            for index, key in enumerate(self._keys)
            if not text or (key.startswith(text) and not key[len(text) :].isascii())
        )
        if exact and not wide & path.alive & ~exact:
            path.sure(exact, mass)
        else:
            path.maybe((exact | wide) & path.alive, exact, mass)

    def _exact(self, data: bytes) -> Mask:
        """Return the label that the text is if it ends here; 0 where it is none."""
        text = data.decode(errors="replace")
        while text:
            index = self._parser.find(text, (0, len(text)))
            if index is not None:
                return 1 << index
            if text[0] not in EDGES:
                break
            text = text[1:]
        return 0

    def _match(self, data: bytes) -> tuple[Mask, str]:
        """Return the labels that an answer beginning with these bytes may be, and its text without decoration."""
        match = self._cache.get(data)
        if match is None:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            match = self._cache[data] = self._matched(*decode(data))
        return match

    def _matched(self, text: str, cut: bytes) -> tuple[Mask, str]:
        text = fold(text)
        bare = text.lstrip(EDGES)
        if not bare and cut and any(edge.startswith(cut) for edge in WIDE_EDGES):
            return self._all, ""
        mask = self._compatible(bare, cut)
        if self._decorated:
            for at in range(len(text) - len(bare)):
                mask |= self._compatible(text[at:], cut)
        return mask, f"{bare}{cut!r}" if cut else bare

    def _compatible(self, text: str, cut: bytes) -> Mask:
        """Return the labels that begin with the text, or else the longest one that the text goes on from."""
        mask, longest = 0, -1
        for index, key in enumerate(self._keys):
            if key.startswith(text) and (not cut or _may_continue(key[len(text) :], cut)):
                mask |= 1 << index
            if key and text.startswith(key) and (longest < 0 or len(key) > len(self._keys[longest])):
                longest = index
        if mask or longest < 0:
            return mask
        rest = text[len(self._keys[longest]) :]
        return 0 if rest and category(rest[0])[0] in "LNM" else 1 << longest


class _Path:
    """The generated text so far and what it and its alternatives have given to each label.

    `mass` is the probability of the generated text, `estimate` that of its other surfaces too. `loose` is what a
    label can have got unlisted, if at each position it got no more than the least that was listed.
    """

    def __init__(self, size: int, alive: Mask) -> None:
        self.data, self.alive, self.mass, self.estimate = b"", alive, 1.0, 1.0
        self.point, self.lower, self.upper, self.loose = ([0.0] * size for _ in range(4))

    def sure(self, mask: Mask, mass: float) -> None:
        """Give mass to the one label of the mask."""
        index = mask.bit_length() - 1
        self.point[index] += self.estimate * mass
        self.lower[index] += self.mass * mass
        self.upper[index] += self.mass * mass

    def maybe(self, mask: Mask, shared: Mask, mass: float) -> None:
        """Give mass to the upper bounds of the mask and, in equal shares, to the estimates of `shared`."""
        share = self.estimate * mass / (shared.bit_count() or 1)
        for index in range(len(self.upper)):
            if mask >> index & 1:
                self.upper[index] += self.mass * mass
            if shared >> index & 1:
                self.point[index] += share

    def lend(self, mask: Mask, own: Mask, own_mass: float, mass: float) -> float:
        """Give mass to the estimates of the mask, in proportion; return what the several labels of `own` have of it."""
        ours = own & mask
        weights = {at: self.point[at] for at in range(len(self.point)) if (mask & ~own) >> at & 1}
        mine = self.estimate * own_mass if ours else 0.0
        total = sum(weights.values()) + mine
        if not total:
            return 0.0
        for at, weight in weights.items():
            self.point[at] += self.estimate * mass * weight / total
        if own & (own - 1):
            return mass * mine / total
        if ours:
            self.point[own.bit_length() - 1] += self.estimate * mass * mine / total
        return 0.0

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

    def follow(self, own: Mass, mask: Mask, twins: float) -> None:
        """Go on with the generated token, which leaves the labels of the mask."""
        if mask & (mask - 1):
            self.data, self.alive = self.data + own[0], mask
            self.mass, self.estimate = self.mass * own[1], self.estimate * (own[1] + twins)
        elif mask:
            self.sure(mask, own[1])
        else:
            self.maybe(self.alive, 0, own[1])

    def ended(self, exact: Mask) -> None:
        """Count a text that ends while several labels are left: as the one that it is, where it is one."""
        several = self.alive if self.alive.bit_count() < len(self.point) else 0
        self.maybe(self.alive, exact & self.alive or several, 1.0)

    def scores(self) -> LabelScores:
        """Return the sums as probabilities and the margin between the best two."""
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


def _lent(path: _Path, bare: Led, led: Sequence[Led]) -> float:
    """Lend what stands before labels to those that no other token has it before; return what goes on as the path does.

    Args:
        path: So far.
        bare: A space, for example.
        led: What says more, the generated token first.
    """
    token, mask, mass = bare
    apart = [its for other, its, _ in led if other != token and other.startswith(token)]
    without = mask & ~reduce(or_, apart, 0)
    _, own, own_mass = led[0]
    return path.lend(without, own, own_mass, mass) if apart and without else 0.0


def _may_continue(rest: str, cut: bytes) -> bool:
    """Tell whether a character that starts with these bytes may be the first of `rest`, which is case folded."""
    forms = [rest[:1], rest[:1].upper(), rest[:1].title(), "ß" if rest.startswith("ss") else ""]
    return any(form.encode().startswith(cut) for form in forms if form)
