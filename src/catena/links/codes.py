"""Options with codes of one token: labels are asked for as A, B, C ..., in another order for each item.

A letter is one token of every model, so the log-probabilities of all labels stand at one position, however long the
labels are. Models favour some letters and places; an order that is drawn anew for each item spreads that over all labels.
"""

import re
from collections.abc import Collection, Sequence
from hashlib import blake2b
from string import ascii_uppercase

from catena.confidence import Found, LabelScorer, Token, fold
from catena.errors import TaskError
from catena.links.reading import read_label
from catena.prompts import Prompter
from catena.types import Answer, Failure, Item, Vote

__all__ = ["Coder"]

ENDING = (
    "Each label has a code, which stands for it. Answer with the code alone, one letter and nothing else:"
)
LETTERS = list(ascii_uppercase)
PAIR = re.compile(r"\s*([A-Z])\s*[=:.)]\s*(\S.*)", re.DOTALL)
UNCODED = Failure("template", "the question does not end with the codes of the labels")


class Coder:
    """Renders questions that end with the labels' codes, and reads the answers.

    Args:
        prompter: Renders the task's question.
        labels: The task's labels, with descriptions.
        seed: The task's; another one draws other orders.
        where: Begins every message.

    Raises:
        TaskError: There are more labels than letters, or labels that can't have codes.
    """

    def __init__(self, prompter: Prompter, labels: dict[str, str], seed: int, where: str) -> None:
        _refuse(labels, where)
        self._prompter = prompter
        self._described = labels
        self._labels = list(labels)
        self._seed = seed
        self._by_label = LabelScorer(self._labels)
        self._by_code = LabelScorer(LETTERS[: len(labels)])

    def render(self, item: Item) -> str:
        """Return the question about an item, with the labels in its own order, and their codes at its end."""
        drawn = f"{self._seed}\0{item.target or ''}\0{item.text}".encode("utf-8", "surrogatepass")

        def place(label: str) -> bytes:
            return blake2b(label.encode("utf-8", "surrogatepass"), key=blake2b(drawn).digest()).digest()

        order = sorted(self._labels, key=place)
        question = self._prompter(item, {label: self._described[label] for label in order})
        lines = [f"{code} = {label}" for code, label in zip(LETTERS, order, strict=False)]
        return "\n".join([question, "", ENDING, *lines])

    def order(self, prompt: str) -> list[int] | None:
        """Return the index of each code's label, as a question of ours says; None for any other text."""
        lines = prompt.split("\n")[-len(self._labels) :]
        heads = [line[:4] for line in lines] == [f"{code} = " for code in self._by_code.labels]
        named = [line[4:] for line in lines]
        if not heads or sorted(named) != sorted(self._labels):
            return None
        return [self._labels.index(label) for label in named]

    def read(self, prompt: str, text: str, tokens: Sequence[Token], *, cut: bool) -> Answer:
        """Return the vote for the label whose code was answered, or why there is none.

        A label that is named itself, without a code, is a vote without a confidence. A code that was cut may be the
        first letter of anything.

        Args:
            prompt: The question, as `render` has it.
            text: What was answered.
            tokens: All tokens of the answer; none where the server gives no log-probabilities.
            cut: Whether the answer reached its limit.
        """
        order = self.order(prompt)
        if order is None:
            return UNCODED
        found = self._code(text, order)
        if found is None:
            named = read_label(self._by_label, text, cut=cut)
            return Vote(named.label) if isinstance(named, Found) else named
        if cut:
            return Failure("cut", f"was cut off at {text[:80]!r}")
        return self._vote(found, tokens, text, order)

    def _code(self, text: str, order: Sequence[int]) -> Found | None:
        """Return the code that an answer is, alone or with its own label beside it."""
        found = self._by_code.parse(text)
        if isinstance(found, Found):
            return found
        pair = PAIR.fullmatch(text)
        if pair is None or pair[1] not in self._by_code.labels:
            return None
        index = self._by_code.labels.index(pair[1])
        named = self._by_label.parse(pair[2])
        agree = isinstance(named, Found) and named.index == order[index]
        return Found(index, pair[1], pair.start(1)) if agree else None

    def _vote(self, found: Found, tokens: Sequence[Token], text: str, order: Sequence[int]) -> Vote:
        scores = self._by_code.score_answer(tokens, text, found.start)
        if scores is None:
            return Vote(self._labels[order[found.index]])
        of_label = [order.index(index) for index in range(len(self._labels))]
        logprobs = tuple(scores.logprobs[at] for at in of_label)
        lower, upper = (tuple(each[at] for at in of_label) for each in (scores.lower, scores.upper))
        label = self._labels[order[scores.best]]
        return Vote(label, scores.least, "code_logprobs", logprobs, lower=lower, upper=upper)


def _refuse(labels: Collection[str], where: str) -> None:
    if len(labels) > len(LETTERS):
        raise TaskError(
            f"{where}: codes: {len(labels)} labels are more than there are letters.", "Leave it out."
        )
    for label in labels:
        if fold(label).strip().upper() in LETTERS:
            raise TaskError(f"{where}: codes: the label '{label}' is a letter itself.", "Leave it out.")
        if "\n" in label:
            raise TaskError(f"{where}: codes: a label is longer than a line.", "Leave it out.")
