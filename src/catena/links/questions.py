"""Prompts as one model reads them: their tokens up to the label, and the labels' tokens behind them."""

from collections.abc import Sequence

from catena.links.chat import Chat
from catena.links.checkpoint import Checkpoint
from catena.links.label_tokens import Continuations, LabelTokens, Spellings, Tokens
from catena.links.shared_parts import SharedParts
from catena.types import Failure

__all__ = ["Question", "Questions"]

Question = tuple[Tokens, Continuations]


class Questions:
    """How prompts become tokens for one model.

    Args:
        checkpoint: The model's files.
        labels: The closed label set.
        system: The system message, empty for none.
        where: Begins the message of an error.
        chat: Whether to use the chat template, where there is one.
        spellings: See `LabelTokens`.
        context: Most tokens of a question and a label; what the model's files say unless said.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        labels: Sequence[str],
        system: str,
        where: str,
        *,
        chat: bool,
        spellings: Spellings,
        context: int | None,
    ) -> None:
        self._checkpoint = checkpoint
        self._chat = Chat(
            checkpoint.tokenizer, system, checkpoint.ends, where, template=chat, apart=checkpoint.seq2seq
        )
        self.ends = self._chat.ends
        self._context = context or checkpoint.context()
        self._parts = SharedParts(self._ids)
        self._tokens = LabelTokens(labels, spellings, self._encode, where)
        self._alone = self._tokens.alone() if checkpoint.seq2seq else None
        begin = checkpoint.tokenizer.bos_token_id
        self._nothing = (
            self.ends[0] if begin is None else begin,
        )  # what stands for a question without tokens

    def read(self, prompts: Sequence[str]) -> list[Question]:
        """Return the tokens of each prompt up to the label, and those of the labels behind it."""
        if self._alone is not None:
            texts = [self._chat.text(prompt).rstrip() for prompt in prompts]
            rows = self._checkpoint.tokenizer(texts, verbose=False)["input_ids"]
            return [(tuple(row), self._alone) for row in rows]
        texts = [self._chat.text(prompt) for prompt in prompts]
        rows = self._parts.read(texts)
        read = [self._tokens.after(text, ids) for text, ids in zip(texts, rows, strict=True)]
        return [(ids or self._nothing, behind) for ids, behind in read]

    def too_long(self, question: Question) -> Failure | None:
        """Return the failure of a question that the model can't read whole."""
        prompt, continuations = question
        length = len(prompt) + (0 if self._alone else max(map(len, continuations.sequences)))
        if self._context is None or length <= self._context:
            return None
        return Failure(
            "too_long", f"{length:,} tokens are more than the {self._context:,} of the model's context"
        )

    def _encode(self, text: str) -> Tokens:
        if not self._checkpoint.seq2seq:
            return self._ids([text], False)[0]
        return self._open(self._checkpoint.tokenizer(text_target=text, verbose=False)["input_ids"])

    def _ids(self, texts: Sequence[str], begun: bool) -> list[Tokens]:
        special = not self._chat.templated and not begun  # a template writes them itself
        rows = self._checkpoint.tokens(list(texts), special=special)
        return [self._open(row) if special else tuple(row) for row in rows]

    def _open(self, ids: Sequence[int]) -> Tokens:
        """Return the tokens without the end that a tokenizer adds."""
        closed = len(ids) > 1 and ids[-1] in self._checkpoint.ends
        return tuple(ids[:-1] if closed else ids)
