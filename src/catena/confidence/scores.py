"""The probability of every label from the tokens of one answer.

An answer comes as tokens, each with a list of alternatives. A label has many surfaces (`favor`, ` Favor`, `"favor`),
may be several tokens long, and may share its first ones with another label (`pro-war`, `pro-peace`). So we follow the
generated tokens from the start of the label until only one label is left; at each position every alternative that
leads to one label gives its mass to that label. What the list doesn't show stays an upper bound, never a guess. The list
holds the likeliest tokens, so no token that it doesn't show is likelier than its last one.

One assumption: text that can only become one label does become it (`pos` counts for `positive`). The estimates take
three more. An ambiguous alternative is split equally, but not with labels that have a longer token at its position (`no`
becomes no `none` where `none` is listed). A label is begun in its own case where that tells labels apart. And labels wear
another dress, a space before or a capital, alike: where the answer says `il` and lists `ili`, which begins `ilil`, a token
` il` is shared by both as `il` and `ili` are. No list can tell: a model that says ` il` for `il` alone lists the same
tokens. The bounds hold both. Sets of labels are bit masks.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from operator import or_
from string import whitespace
from unicodedata import category, normalize

from catena.confidence.answer import OPENERS, Found, LabelParser, Missed, fold
from catena.confidence.path import LabelScores, Led, Mask, Path
from catena.confidence.tokens import Mass, Token, decode, listed, locate, place

__all__ = ["LabelScorer", "LabelScores", "score_labels"]

MOST_CACHED = 8192
TRACE = 1e-12  # what labels have in common of which nothing else is known
EDGES = OPENERS + whitespace + "\xa0\u3000"  # what may stand before a label
WIDE_EDGES = tuple(char.encode() for char in EDGES if not char.isascii())


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
        self._apart_keys = [normalize("NFD", key) for key in self._keys]
        self._composed = [*self._keys] != self._apart_keys
        self._names = [normalize("NFC", label).strip().lstrip(EDGES) for label in self.labels]
        self._all = (1 << len(self._keys)) - 1
        self._decorated = any(key[:1] in EDGES for key in self._keys if key)
        self._cache: dict[bytes, tuple[Mask, Mask, Mask, str]] = {}

    def parse(self, text: str) -> Found | Missed:
        """Return the one label that the answer is, or why there is none."""
        return self._parser.parse(text)

    def score_answer(self, tokens: Sequence[Token], text: str, start: int) -> LabelScores | None:
        """Return the probabilities of all labels; None where the tokens tell none, or are those of another text.

        Args:
            tokens: All that the server lists, in order: those of thoughts that it left out of the answer, too.
            text: The answer.
            start: As `Found.start`.
        """
        begin = place(tokens, text) if tokens else None
        if begin is None:
            return None
        scores = self.score(tokens, max(begin + start, 0))
        return None if scores.logprobs[scores.best] is None else scores

    def score(self, tokens: Sequence[Token], start: int, *, ranked: bool = True) -> LabelScores:
        """Return the probabilities of all labels, given the answer's text before the label.

        Args:
            tokens: All tokens of the answer, in order.
            start: As `Found.start`.
            ranked: Whether the alternatives are the likeliest ones, so that no other token is likelier than the last.
        """
        path = Path(len(self._keys), self._all)
        first, head = locate(tokens, start)
        for at in range(first, len(tokens)):
            (data, mass), others, unlisted = listed(tokens[at], head if at == first else b"")
            least = min([each for _, each in others], default=1.0) if ranked else 1.0
            path.unlisted(unlisted, (mass or 1.0) if ranked else 1.0, least)
            begun = 0
            if data:
                mask, _, begun, text = self._match(path.data + data)
            elif any(token.text or token.raw for token in tokens[at + 1 :]):
                mask, text = path.alive, ""  # part of a character that a later token spells out
            else:
                mask, text = self._exact(path.data), ""
            mask &= path.alive
            if not mask & (mask - 1):
                self._others(path, Led(data, mask, mass, text, mask, mask), others)
                path.give(mask, mass)
                return path.scores()
            own = Led(data, mask, mass, text, mask, begun & mask)
            given = self._others(path, own, others)
            path.follow(own)
            path.passed |= longer(own, given)
        path.ended(self._exact(path.data))
        return path.scores()

    def _others(self, path: Path, own: Led, others: Iterable[Mass]) -> list[Led]:
        """Give the alternatives' mass to the labels they lead to; return those of one label. Others are shared or lent."""
        given, several, bare = list[Led](), list[Led](), list[Led]()
        for data, mass in others:
            if not data:
                self._empty(path, mass)
                continue
            may, mask, begun, text = self._match(path.data + data)
            may &= path.alive
            if may & (may - 1):
                mask = mask & path.alive or may
                (several if text else bare).append(Led(data, mask, mass, text, may, begun & mask))
            elif may:
                given.append(Led(data, may, mass, text, may, may))
                path.sure(may, mass)
        if several or bare:
            said = [own, *given, *several]
            for each in bare:
                self._lend_bare(path, own, each, longer(each, said), given)
            several.sort(key=lambda each: (not own.data.startswith(each.data), -each.mass))
            self._share(path, own, said, [*given], several)
        return given

    def _lend_bare(self, path: Path, own: Led, token: Led, apart: Mask, given: Sequence[Led]) -> None:
        """Lend a space alone to the labels that have no token with a space before them, where others have one."""
        path.maybe(token.may, 0, token.mass)
        if apart and token.mask & ~apart:
            path.lend(own, token._replace(mask=token.mask & ~apart), given)

    def _share(
        self, path: Path, own: Led, said: Sequence[Led], given: list[Led], several: Sequence[Led]
    ) -> None:
        """Share the mass of the alternatives that lead to several labels.

        One that says what another token says (` il` for `il`) is lent as that one's labels are told apart. Any other is shared
        by the labels that no other token leads to, or where there are none, lent as all tokens tell labels apart.

        Args:
            path: So far.
            own: The generated token.
            said: It and all alternatives that say something.
            given: What each of them has given its mass to.
            several: Those that lead to several labels, the dress of the generated token first, then the likeliest.
        """
        parted = labels_of(given) | (0 if own.mask & (own.mask - 1) else own.mask) | path.passed
        for at, each in enumerate(several):
            data = path.data + each.data
            open_ = self._apart(data, each.mask, longer(each, said) | path.passed) or each.mask
            token = each._replace(mask=open_ & each.begun or open_)
            like = next((its for its in (own, *several[:at]) if its.text == each.text), None)
            if like and (like is own or token.mask & longer(like, said)):
                path.maybe(each.may, 0, each.mass)
                beside = [its for its in given if its.data.startswith(like.data)]
                along = own if own.data.startswith(like.data) else own._replace(mask=0)
                path.lend(along, token, [*beside, token._replace(mass=TRACE)])
                continue
            texts = (its for its in said if its.text != each.text and its.text.startswith(each.text))
            shared = self._apart(data, token.mask, parted | reached(each, texts))
            path.maybe(each.may, shared, each.mass)
            if shared:
                given.append(each._replace(mask=shared))
            else:
                path.lend(own, token, [*given, token._replace(mass=TRACE)])

    def _apart(self, data: bytes, mask: Mask, parted: Mask) -> Mask:
        """Return which labels of an ambiguous alternative share its mass; 0 where all are parted.

        Not those that another token leads to alone, or that a longer one begins (`parted`): a model with a token
        `none` doesn't write it as `no` and `ne`. But the label that the alternative already is stays.
        """
        return mask & (~parted | self._exact(data))

    def _empty(self, path: Path, mass: float) -> None:
        """Count an empty token: an end token, or on some servers a part of a character."""
        exact = self._exact(path.data) & path.alive
        *_, text = self._match(path.data)
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

    def _match(self, data: bytes) -> tuple[Mask, Mask, Mask, str]:
        """Return the labels that an answer beginning with these bytes may be, and its text without decoration.

        Of the labels, all; those that it leads to without a mark that changes its last character (`e` to `é`); and those
        that it begins in their own case.
        """
        match = self._cache.get(data)
        if match is None:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            match = self._cache[data] = self._matched(*decode(data))
        return match

    def _matched(self, text: str, cut: bytes) -> tuple[Mask, Mask, Mask, str]:
        written = normalize("NFC", text).lstrip(EDGES)
        begun = sum(1 << at for at, name in enumerate(self._names) if name.startswith(written))
        text = fold(text)
        bare = text.lstrip(EDGES)
        if not bare and cut and any(edge.startswith(cut) for edge in WIDE_EDGES):
            return self._all, self._all, self._all, ""
        starts = range(len(text) - len(bare)) if self._decorated else range(0)
        texts = [bare, *[text[at:] for at in starts]]
        mask = may = reduce(or_, [compatible(self._keys, each, cut) for each in texts])
        if self._composed:
            said = [normalize("NFD", each) for each in texts]
            may |= reduce(or_, [compatible(self._apart_keys, each, cut) for each in said])
        return may, mask, begun, f"{bare}{cut!r}" if cut else bare


def compatible(keys: Sequence[str], text: str, cut: bytes) -> Mask:
    """Return the labels that begin with the text, or else the longest one that the text goes on from."""
    mask, longest = 0, -1
    for index, key in enumerate(keys):
        if key.startswith(text) and (not cut or _may_continue(key[len(text) :], cut)):
            mask |= 1 << index
        if key and text.startswith(key) and (longest < 0 or len(key) > len(keys[longest])):
            longest = index
    if mask or longest < 0:
        return mask
    rest = text[len(keys[longest]) :]
    return 0 if rest and category(rest[0])[0] in "LNM" else 1 << longest


def labels_of(led: Iterable[Led]) -> Mask:
    """Return all labels that tokens lead to."""
    return reduce(or_, [each.mask for each in led], 0)


def reached(token: Led, led: Iterable[Led]) -> Mask:
    """Return the labels that longer tokens lead to: of those that the token begins in their own case, in that case too."""
    return reduce(or_, [each.begun | each.mask & ~token.begun for each in led], 0)


def longer(token: Led, said: Iterable[Led]) -> Mask:
    """Return the labels that tokens lead to which go on from this one."""
    on = (its for its in said if its.data != token.data and its.data.startswith(token.data))
    return reached(token, on)


def _may_continue(rest: str, cut: bytes) -> bool:
    """Tell whether a character that starts with these bytes may be the first of `rest`, which is case folded."""
    forms = [rest[:1], rest[:1].upper(), rest[:1].title(), "ß" if rest.startswith("ss") else ""]
    return any(form.encode().startswith(cut) for form in forms if form)
