"""How a question is put to a model that runs here, and what stands around its answer.

A tokenizer with a chat template says it all: the template is filled in once with a question and an answer, and what it
puts between the two is what a label follows (the assistant's header, a space, an empty thought), and what it puts behind
the answer ends it. Without a template the model goes on with the text: a space, then the label, then the end of the text or
of the line. A decoder of its own (sequence to sequence) begins with the label, and only the end of the text ends it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from catena.errors import LinkError

__all__ = ["Chat"]

QUESTION, ANSWER = "QqQuestionqQ", "AaAnsweraA"
BREAKS = ("\n", "\n\n")


class Chat:
    """Turns a prompt into the text that a label follows at once, and knows what ends a label.

    Args:
        tokenizer: A tokenizer of transformers.
        system: The system message, empty for none.
        ends: Tokens at which the model stops.
        where: Begins the message of an error.
        template: Whether to use the tokenizer's chat template, where it has one.
        apart: Whether the answer is a text of its own.
    """

    def __init__(
        self, tokenizer: Any, system: str, ends: Sequence[int], where: str, *, template: bool, apart: bool
    ) -> None:
        self._where = where
        self.templated = bool(template and getattr(tokenizer, "chat_template", None))
        if self.templated:
            self._before, self._between, closing = self._shape(tokenizer, system)
        else:
            self._before, self._between, closing = f"{system}\n\n" if system else "", " ", ""
        further = [] if apart else self._further_ends(tokenizer, closing)
        self.ends = tuple(dict.fromkeys([*ends, *further]))
        if not self.ends:
            raise LinkError(
                f"{where}: the model names no token that ends a text, so `no` can't be told from `none`.",
                "Use a model whose configuration has eos_token_id.",
            )
        self._special = _pattern(tokenizer)

    def text(self, prompt: str) -> str:
        """Return what the model reads up to the label. A special token's name in the prompt is plain text."""
        clean = prompt.encode(errors="replace").decode()
        return f"{self._before}{self.question(clean)}{self._between}"

    def question(self, prompt: str) -> str:
        """Return the prompt with every special token's name broken by a space: a row can't end its turn."""
        return self._special.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", prompt)

    def _shape(self, tokenizer: Any, system: str) -> tuple[str, str, str]:
        """Return what the template puts before a question, between it and its answer, and behind that.

        A template that refuses a system message or leaves it out gets it at the beginning of the question.
        """
        answer = _turn("assistant", ANSWER)
        tries = [[_turn("user", f"{system}\n\n{QUESTION}" if system else QUESTION), answer]]
        if system:
            tries.insert(0, [_turn("system", system), _turn("user", QUESTION), answer])
        said = "it does not show a question and its answer once"
        for turns in tries:
            try:
                filled = str(tokenizer.apply_chat_template(turns, tokenize=False))
            except Exception as error:  # noqa: BLE001 - a template refuses in any way it likes
                said = " ".join(str(error).split())[:200].rstrip(".")
                continue
            parts = re.split(f"{QUESTION}(.*){ANSWER}", filled, flags=re.DOTALL)
            if len(parts) == 3 and system.strip() in filled:
                return parts[0], parts[1], parts[2]
        raise LinkError(
            f"{self._where}: the model's chat template can't be used: {said}.",
            "Set chat: false to go on without it.",
        )

    def _further_ends(self, tokenizer: Any, closing: str) -> list[int]:
        """Return the token that closes the assistant's turn, or those that break a line where there are no turns."""
        if self.templated:
            first = tokenizer.encode(closing, add_special_tokens=False)[:1]
            return [token for token in first if token in special_tokens(tokenizer).values()]
        last = [tokenizer.encode(text, add_special_tokens=False)[-1:] for text in BREAKS]
        unknown = getattr(tokenizer, "unk_token_id", None)
        return [token for tokens in last for token in tokens if token != unknown]


def special_tokens(tokenizer: Any) -> Mapping[str, int]:
    """Return the special tokens' ids by their names."""
    added = {str(token): at for at, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return added | {str(name): at for name, at in named}


def _pattern(tokenizer: Any) -> re.Pattern[str]:
    names = [name for name in special_tokens(tokenizer) if len(name.strip()) > 1]
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
