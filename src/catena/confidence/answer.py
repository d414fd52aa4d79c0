# ruff: noqa: RUF001 - look-alike quotes and colons are the data here
"""Which label an answer names, if it surely names one.

A wrong label is worse than none: without one the item moves on to the next link. So an answer has to *be* a label,
in quotes, emphasis or brackets, after a lead-in such as `Final answer:`, or as the value of a JSON object. A label
that merely occurs in a sentence is a miss, because the sentence may deny it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal
from unicodedata import normalize

import msgspec

__all__ = ["OPENERS", "Found", "LabelParser", "Missed", "fold", "parse_answer"]

PAIRS = {
    '"': '"', "'": "'", "`": "`", "*": "*", "_": "_", "(": ")", "[": "]", "{": "}",
    "“": "”", "‘": "’", "«": "»", "‹": "›", "„": "“”", "»": "«", "「": "」", "『": "』", "【": "】", "（": "）",
}  # fmt: skip
OPENERS = "".join(PAIRS)
FULL_STOPS = ".!。！"
DECORATION = frozenset(OPENERS + "".join(PAIRS.values()) + FULL_STOPS)
MOST_LAYERS = 12  # real answers have up to five; a bound keeps `((((...` from costing quadratic time

LEAD_IN = re.compile(r"([*_`]{0,3})([^\n:：*_`]{1,60}?)\s*(?:\1\s*[:：]|[:：]\s*\1)\s*(\S.*)", re.DOTALL)
MOST_LEAD_WORDS = 4
# Only words that can't turn the meaning around: `Not the answer:` and `Wrong label:` must stay misses.
LEAD_NOUNS = frozenset((
    "answer", "category", "choice", "class", "classification", "conclusion", "decision", "label",
    "opinion", "output", "prediction", "response", "result", "sentiment", "stance", "tag", "topic",
    "verdict", "antwort", "etikett", "ergebnis", "kategorie", "klasse", "catégorie", "classe", "réponse",
    "étiquette", "categoría", "clase", "etiqueta", "respuesta", "categoria", "classificação", "resposta",
    "etichetta", "risposta", "答案", "标签", "標籤", "分类", "回答", "ラベル", "답", "답변", "라벨", "ответ", "метка",
    "категория",
))  # fmt: skip
LEAD_FILLERS = frozenset(("a", "best", "correct", "final", "here", "is", "my", "predicted", "the", "your"))

FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)
JSON_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]', re.DOTALL)
LABEL_KEYS = frozenset({"label", "answer"})

Span = tuple[int, int]


class Found(msgspec.Struct, frozen=True, gc=False):
    """The answer names this label.

    Args:
        index: Position of the label in the task's order.
        label: The label as the task spells it.
        start: Offset in the answer's characters at which the label starts.
        open: Whether the answer ends with this label and a longer label begins with it (`pro` and `pro-war`), so that
            an answer that was cut there may have meant the longer one.
    """

    index: int
    label: str
    start: int
    open: bool = False


class Missed(msgspec.Struct, frozen=True, gc=False):
    """The answer names no label; `reason` is one of the reasons of a `Failure`."""

    reason: Literal["empty", "no_label", "many_labels"]


EMPTY, NO_LABEL, MANY_LABELS = Missed("empty"), Missed("no_label"), Missed("many_labels")


def fold(text: str) -> str:
    """Return text so that equal labels are equal: case folded and in Unicode NFC (not NFKC: look-alikes differ)."""
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def parse_answer(text: str, labels: Sequence[str]) -> Found | Missed:
    """Return the one label that the answer is, or why there is none.

    >>> parse_answer("**Answer:** Favor.", ["favor", "against"])
    Found(index=0, label='favor', start=12, open=False)
    >>> parse_answer("I would not say favor", ["favor", "against"])
    Missed(reason='no_label')

    Args:
        text: The raw answer.
        labels: The closed label set; distinct after `fold` and `strip`.
    """
    return _parser(tuple(labels)).parse(text)


@lru_cache(maxsize=64)
def _parser(labels: tuple[str, ...]) -> "LabelParser":
    return LabelParser(labels)


class LabelParser:
    """`parse_answer` for many answers over one label set."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.keys = tuple(fold(label).strip() for label in self.labels)
        self._index = {key: index for index, key in enumerate(self.keys) if key}
        self._stems = {
            i for i, key in enumerate(self.keys) if any(k != key and k.startswith(key) for k in self.keys)
        }
        names = sorted(map(re.escape, self._index), key=len, reverse=True)
        self._mention = re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)")

    def parse(self, text: str) -> Found | Missed:
        """Return the one label that the answer is, or why there is none."""
        whole = _trim(text, 0, len(text))
        if whole[0] == whole[1]:
            return EMPTY
        index = self.find(text, whole)
        if index is not None:
            return self._found(index, whole[0], still_open=True)
        inner = whole
        if text.startswith("```", whole[0]) and "\n" in text[slice(*whole)]:
            fence = FENCE.fullmatch(text, *whole)
            if fence is None:
                return self._missed(text)
            inner = _trim(text, *fence.span(1))
        from_json = self._from_json(text, inner) if text.startswith("{", inner[0]) else None
        return from_json or self._from_words(text, inner, whole[1])

    def find(self, text: str, span: Span) -> int | None:
        """Return the index of the label that this part of the text is, exactly."""
        return self._index.get(fold(text[span[0] : span[1]]).strip())

    def _found(self, index: int, start: int, *, still_open: bool) -> Found:
        return Found(index, self.labels[index], start, still_open and index in self._stems)

    def _missed(self, text: str) -> Missed:
        return MANY_LABELS if len(set(self._mention.findall(fold(text)))) > 1 else NO_LABEL

    def _from_words(self, text: str, inner: Span, end: int) -> Found | Missed:
        """Return the label inside decoration and after a lead-in, if every way to take them off gives the same one."""
        hits: dict[int, Span] = {}
        for layer in _layers(text, inner):
            self._collect(hits, text, layer)
            lead = LEAD_IN.fullmatch(text, *layer)
            words = fold(lead[2]).split() if lead else []
            if lead and _leads(words):
                for word in (*words, fold(lead[2]).strip()):
                    if word in self._index:
                        hits.setdefault(self._index[word], lead.span(2))
                for rest in _layers(text, lead.span(3)):
                    self._collect(hits, text, rest)
        if len(hits) != 1:
            return MANY_LABELS if hits else self._missed(text)
        ((index, span),) = hits.items()
        return self._found(index, span[0], still_open=span[1] == end)

    def _collect(self, hits: dict[int, Span], text: str, span: Span) -> None:
        index = self.find(text, span)
        if index is not None and not DECORATION.issuperset(text[span[0] : span[1]]):
            hits[index] = span

    def _from_json(self, text: str, span: Span) -> Found | Missed | None:
        """Return what a JSON object says; None where the text is no JSON object."""
        try:
            msgspec.json.decode(text[span[0] : span[1]], type=dict)
            members = _members(text, span)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        keys = [key for key, _, _ in members]
        if len(set(keys)) < len(keys):
            return MANY_LABELS
        strings = {key: (value, at) for key, value, at in members if value is not None}
        hits = {
            key: (index, at + len(value) - len(value.lstrip()))
            for key, (value, at) in strings.items()
            if (index := self.find(value, (0, len(value)))) is not None
        }
        if len({index for index, _ in hits.values()}) > 1:
            return MANY_LABELS
        named = LABEL_KEYS.intersection(keys) or strings.keys()
        if not named or not named <= hits.keys() or (len(named) > 1 and not named <= LABEL_KEYS):
            return NO_LABEL
        return self._found(*hits[min(named)], still_open=False)


def _leads(words: Sequence[str]) -> bool:
    known = all(word in LEAD_NOUNS or word in LEAD_FILLERS for word in words)
    return known and len(words) <= MOST_LEAD_WORDS and not LEAD_NOUNS.isdisjoint(words)


def _trim(text: str, start: int, end: int) -> Span:
    """Return the span without the white space around it."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    return start, start + len(part.strip())


def _layers(text: str, span: Span) -> Iterator[Span]:
    """Yield the span, then what is left of it as decoration is taken off, layer by layer."""
    start, end = span
    for _ in range(MOST_LAYERS):
        yield start, end
        if end - start < 2:
            return
        if text[end - 1] in FULL_STOPS:
            end -= 1
        elif text[end - 1] in PAIRS.get(text[start], ()):
            start, end = start + 1, end - 1
        else:
            return
        start, end = _trim(text, start, end)


def _members(text: str, span: Span) -> list[tuple[str, str | None, int]]:
    """Return key, string value (None if another type) and offset of the value for each member of a valid object."""
    members: list[tuple[str, str | None, int]] = []
    depth, before = 0, ""
    for part in JSON_PART.finditer(text, *span):
        mark = part[0]
        if mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
        elif depth == 1 and mark[0] == '"':
            string = msgspec.json.decode(mark, type=str)
            if before == ":":
                members[-1] = (members[-1][0], string, part.start() + 1)
            else:
                members.append((fold(string).strip(), None, 0))
        before = mark
    return members
