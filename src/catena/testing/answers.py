"""What the fake provider says: a label drawn by hash, or the gold label as often as a model of that accuracy would."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import exp, sqrt
from pathlib import Path
from typing import Any

import msgspec

from catena.errors import InputError
from catena.testing.tokens import END, LabelTree, Position, Vocabulary, tokenise

__all__ = ["SPOILED", "Annotator", "Reply", "call_key", "chance", "completion", "spoil", "text_of"]

SURE = 0.9  # probability shown for each token of a text that is not drawn from the labels
ANCHOR = 16
ASIDES = ["I cannot tell from this text.", "Hard to say.", "???"]
LOOKALIKES = str.maketrans("aceopxyi", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456")  # Cyrillic

SPOILED = (
    *("refusal", "filtered", "cut", "no_label", "two_labels", "empty_answer", "wrong_case", "lookalike"),
    *("longer_word", "null_content", "no_choices"),
)


class Reply(msgspec.Struct, frozen=True):
    """What a model says.

    Args:
        text: The message's content; None is sent as null.
        positions: One per token, the end token last if it was reached; made from the text if empty.
        finish_reason: `stop`, `length`, `content_filter`.
        refusal: The message's refusal, where the model refuses.
        choices: Whether there is any choice at all.
        thought: Tokens that the model thought before it, unseen: they are paid as tokens of the answer.
    """

    text: str | None
    positions: Sequence[Position] = ()
    finish_reason: str = "stop"
    refusal: str | None = None
    choices: bool = True
    thought: int = 0


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts and nothing else."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11) / (1 << 53)


def call_key(model: str, messages: Any) -> str:
    """Return the hash by which the ledger knows a call: 16 hex digits of its model and messages."""
    return hashlib.blake2b(msgspec.json.encode([model, messages]), digest_size=8).hexdigest()


def text_of(message: Mapping[str, Any]) -> str:
    """Return a message's text, whether it is given as a string or as parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class Gold:
    """Finds the known item whose text occurs in a prompt, among very many, by a short piece of its beginning."""

    def __init__(self, gold: Mapping[str, str]) -> None:
        self.labels = {text.strip(): label for text, label in gold.items() if text.strip()}
        lengths: dict[str, set[int]] = {}
        for text in self.labels:
            lengths.setdefault(text[:ANCHOR], set()).add(len(text))
        self._lengths = {anchor: sorted(found, reverse=True) for anchor, found in lengths.items()}
        self._anchors = sorted({len(anchor) for anchor in lengths}, reverse=True)

    def find(self, prompt: str) -> str | None:
        """Return the longest known text that occurs in the prompt."""
        best = ""
        for size in self._anchors:
            for start in range(len(prompt) - max(size, len(best) + 1) + 1):
                for length in self._lengths.get(prompt[start : start + size], ()):
                    text = prompt[start : start + length]
                    if length > len(best) and text in self.labels:
                        best = text
        return best or None


class Annotator:
    """A model that labels: its full label distribution is known and its token probabilities follow it exactly.

    Args:
        labels: The labels.
        seed: Another seed is another model.
        sharpness: Scale of the label scores: 0 makes all labels alike, 20 makes nearly every answer sure.
        accuracy: Share of the gold items on which it is right, the same for all models or by model name.
        gold: Text of an item -> its label, or a JSONL file of {"text": ..., "label": ...}.
        other: Probability of texts that name no label.
        vocabulary: The tokens that it speaks in, or a JSON file with a list of them; pieces of up to four letters where
            there is none.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        seed: int = 0,
        sharpness: float = 8.0,
        accuracy: float | Mapping[str, float] = 0.8,
        gold: Mapping[str, str] | str | os.PathLike[str] | None = None,
        other: float = 0.02,
        vocabulary: Sequence[str] | str | os.PathLike[str] | None = None,
    ) -> None:
        self.labels = list(labels)
        if not self.labels or len(set(self.labels)) < len(self.labels) or not all(self.labels):
            raise InputError("labels: at least one, all distinct and none empty.")
        if not 0 <= other < 1:
            raise InputError(f"other: {other} is not in [0, 1).")
        self.seed, self.sharpness, self.accuracy = seed, sharpness, accuracy
        self.gold = Gold(gold if isinstance(gold, Mapping) else read_gold(gold))
        if strange := sorted(set(self.gold.labels.values()) - set(self.labels)):
            raise InputError(f"gold: {strange[0]!r} is none of: {', '.join(self.labels)}.")
        self.cut = tokenise if vocabulary is None else Vocabulary(read_vocabulary(vocabulary))
        self.tree = LabelTree(self.labels, other, self.cut)

    def distribution(
        self, prompt: str | Sequence[Mapping[str, Any]], model: str = "fake"
    ) -> dict[str, float]:
        """Return the true probability of each label, summing to 1.

        Args:
            prompt: The user message, or all messages (of several user messages all count; a gold text is looked
                for in the last one first).
            model: The model asked.
        """
        parts = (
            [prompt] if isinstance(prompt, str) else [text_of(m) for m in prompt if m.get("role") == "user"]
        )
        known = next((text for part in reversed(parts) if (text := self.gold.find(part))), None)
        scores = self._scores("\n".join(parts), model) if known is None else self._gold_scores(known, model)
        top = max(scores)
        weights = [exp(self.sharpness * (score - top)) for score in scores]
        return {label: weight / sum(weights) for label, weight in zip(self.labels, weights, strict=True)}

    def _scores(self, prompt: str, model: str) -> list[float]:
        return [chance(self.seed, model, prompt, label) for label in self.labels]

    def _gold_scores(self, text: str, model: str) -> list[float]:
        """Lift the label that the model chooses above the others, more so where it is right (AUROC about 0.8)."""
        gold = self.gold.labels[text]
        accuracy = self.accuracy if isinstance(self.accuracy, float | int) else self.accuracy.get(model, 1.0)
        wrong = [label for label in self.labels if label != gold]
        right = not wrong or chance(self.seed, model, "right", text) < accuracy
        chosen = gold if right else wrong[int(chance(self.seed, model, "which", text) * len(wrong))]
        sure = chance(self.seed, model, "sure", text)
        scores = [score / 4 for score in self._scores(text, model)]
        scores[self.labels.index(chosen)] = 0.25 + 0.75 * (sqrt(sure) if right else sure**2)
        return scores

    def __call__(self, request: Mapping[str, Any], attempt: int = 1) -> Reply:
        """Answer a chat request within its token limit.

        At temperature 0, or without one, with the likeliest token at each step. Above it each token is drawn from what the
        temperature makes of their probabilities, by a hash of the call's key and the attempt: at 1 a label comes with
        the probability of `distribution`, less `other`.
        """
        messages, model = request["messages"], request.get("model", "")
        warm = float(request.get("temperature") or 0.0)
        key = call_key(model, messages) if warm > 0 else ""

        def pick(listed: list[tuple[str, float]], at: int) -> tuple[str, float]:
            return draw(listed, warm, chance(self.seed, "sample", key, attempt, at))

        shares = list(self.distribution(messages, model).values())
        last = messages[-1] if messages else {}
        said = last.get("role") == "assistant" and request.get("continue_final_message", True)
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        prefix = self.cut(text_of(last)) if said else ()
        positions, ended = self.tree.speak(shares, prefix, limit, pick if warm > 0 else None)
        text = "".join(position.token for position in positions if position.token != END)
        return Reply(text, positions, "stop" if ended else "length")


Answer = Callable[[dict[str, Any]], Reply]


def draw(listed: Sequence[tuple[str, float]], temperature: float, at: float) -> tuple[str, float]:
    """Return the token on which a number in [0, 1) falls, at a temperature above 0."""
    top = max(logprob for _, logprob in listed)
    weights = [exp((logprob - top) / temperature) for _, logprob in listed]
    left = at * sum(weights)
    for token, weight in zip(listed, weights, strict=True):
        if left < weight:
            return token
        left -= weight
    return listed[0]


def read_gold(path: str | os.PathLike[str] | None) -> dict[str, str]:
    """Read a JSONL file of {"text": ..., "label": ...}; no file is no gold."""
    if path is None:
        return {}
    try:
        rows = msgspec.json.Decoder(dict[str, Any]).decode_lines(Path(path).read_bytes())
        return {str(row["text"]): str(row["label"]) for row in rows}
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise InputError(f"gold: {path} is no JSONL file of text and label: {error}.") from error


def read_vocabulary(given: Sequence[str] | str | os.PathLike[str]) -> Sequence[str]:
    """Return tokens, from a JSON file where one is named."""
    if not isinstance(given, str | os.PathLike):
        return given
    try:
        return msgspec.json.decode(Path(given).read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"vocabulary: {given} is no JSON file with a list of tokens: {error}.") from error


def spoil(reply: Reply, fault: str, labels: Sequence[str]) -> Reply:
    """Turn a good reply into one that must not be taken for a label; `fault` is one of `SPOILED`."""
    label = (reply.text or "").strip()
    others = [other for other in labels if other != label] or [label]
    match fault:
        case "refusal":
            return Reply(None, refusal="I'm sorry, I can't help with that.")
        case "filtered":
            return Reply("", finish_reason="content_filter")
        case "cut":
            return Reply(label[: len(label) // 2], finish_reason="length")
        case "null_content":
            return Reply(None)
        case "no_choices":
            return Reply(None, choices=False)
        case "wrong_case":
            return Reply(label.upper() if label.upper() != label else label.lower())
        case "lookalike":
            twin = label.translate(LOOKALIKES)
            return Reply(twin if twin != label else f"{label[:1]}\u200b{label[1:]}")
    texts = {
        "no_label": next((a for a in ASIDES if not any(x.lower() in a.lower() for x in labels)), ASIDES[-1]),
        "two_labels": f"{label} or {others[0]}",
        "empty_answer": "",
        "longer_word": f"{label}ness",
    }
    return Reply(texts[fault])


def completion(
    reply: Reply, request: Mapping[str, Any], *, number: int, created: int, **style: Any
) -> dict[str, Any]:
    """Write a reply as OpenAI's `chat.completion` object.

    Args:
        reply: What is said.
        request: What was asked; a token is counted for every four characters of it.
        number: Number of the request, part of the id.
        created: Seconds since 1970.
        style: `fingerprint`, `no_logprobs`, `quirk` (see `Settings`), `cached` (tokens from the cache).
    """
    quirk = style.get("quirk", "")
    said = reply.positions or [
        Position(t, p := -0.1053605156578263, [(t, p)]) for t in tokenise(reply.text or "")
    ]
    if quirk != "vllm" and said and said[-1].token == END:
        said = said[:-1]
    elif quirk == "vllm" and not reply.positions:
        said = [*said, Position(END, 0.0, [(END, 0.0)])]
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    if request.get("logprobs") and not style.get("no_logprobs"):
        top = request.get("top_logprobs") or 0
        plain = quirk == "llamacpp"
        content = [
            {
                **token(p.token, p.logprob, plain),
                "top_logprobs": [token(t, x, plain) for t, x in p.alternatives[:top]],
            }
            for p in said
        ]
        choice["logprobs"] = {"content": content, "refusal": None}
    asked = sum((len(text_of(m)) + 3) // 4 + 4 for m in request["messages"])
    spoken = len(said) + reply.thought
    return {
        "id": f"chatcmpl-{number:08d}",
        "object": "chat.completion",
        "created": created,
        "model": request.get("model", ""),
        "choices": [choice] if reply.choices else [],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": spoken,
            "total_tokens": asked + spoken,
            "prompt_tokens_details": {"cached_tokens": style.get("cached", 0)},
            "completion_tokens_details": {"reasoning_tokens": reply.thought},
        },
        "system_fingerprint": style.get("fingerprint", "fp_fake"),
    }


def token(text: str, logprob: float, plain: bool) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": None if plain else octets(text)}


@lru_cache(1 << 14)
def octets(text: str) -> list[int]:
    return list(text.encode("utf-8", "surrogatepass"))
