"""Exact scores by a decoder: what all prompts begin with is read once, the rest of each once, all labels behind it in one row.

A pass over prompts is after their keys and values alone. It ends where the last layer has them: neither that layer's
attention nor the logits of a prompt are made. The last token of each prompt is read with the labels, and its logits are those
of their first tokens.
"""

import contextlib
import inspect
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from catena.links.key_values import EnoughError, KeyValues
from catena.links.label_scores import Floats, Scorer, follow
from catena.links.label_tokens import Tokens, Tree, common

__all__ = ["CausalScorer"]

LEAST_SHARED = 8  # tokens that are worth a pass of their own


class CausalScorer(Scorer):
    """For decoders."""

    def __init__(self, model: Any, reach: int | None = None) -> None:
        super().__init__(model, reach)
        takes = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in takes else "past_key_values"
        self._keeps = "logits_to_keep" in takes
        self._last = None if _offloads(model) else int(model.config.get_text_config().num_hidden_layers) - 1
        self._head: tuple[Tokens, KeyValues] = (), KeyValues(0)
        self._reading = threading.Lock()

    def together(self, prompts: Sequence[Tokens], sequences: Sequence[Tokens], ends: Sequence[int]) -> Floats:
        """Score in one pass over all; see `score`."""
        parts = [Tree(part) for part in self.parts(sequences, len(prompts))]
        read = self._read(prompts, 1 + max(len(tree.tokens) for tree in parts))
        found = []
        for tree in parts:
            found.append(follow(self._behind(read, prompts, tree), tree, ends))
            read.forget(max(map(len, prompts)) - 1)
        return np.concatenate(found, 1)

    def _read(self, prompts: Sequence[Tokens], more: int) -> KeyValues:
        """Return the keys and values of all prompts but for their last tokens, with room for more tokens.

        Shorter prompts are filled up at the end; what fills them up is looked at by nobody.
        """
        width = max(map(len, prompts)) - 1
        read = KeyValues(width + more, self._last)
        shared, head = self._shared(prompts)
        if shared:
            read.begin(head, shared, len(prompts))
        if shared < width:
            rows = [prompt[shared:-1] + prompt[-1:] * (width + 1 - len(prompt)) for prompt in prompts]
            self._go_on(read, rows, shared)
        read.last = None
        return read

    def _shared(self, prompts: Sequence[Tokens]) -> tuple[int, KeyValues]:
        """Return how many first tokens of all prompts are in the head, and the head, which is read where it isn't yet.

        A head stays for later prompts: a run's instruction is read once. A longer one is worth it only where many more
        tokens are the same.
        """
        low, high = min(prompts), max(prompts)  # what these two share, all share
        most = min(common(low, high), min(map(len, prompts)) - 1)
        alike = most if len(prompts) > 1 else 0
        with self._reading:
            tokens, head = self._head
            there = min(common(tokens, low), most)
            if alike < there + LEAST_SHARED:
                return there, head
            self._head = (), KeyValues(0)  # the old one goes before the new one comes
            head = KeyValues(alike, self._last)
            self._go_on(head, [low[:alike]], 0)
            self._head = low[:alike], head
            return alike, head

    def _go_on(self, read: KeyValues, rows: Sequence[Tokens], start: int) -> None:
        """Add the keys and values of rows of one length behind what is read, which is equally long for all."""
        import torch  # noqa: PLC0415 - heavy

        given = {}
        if start:
            new = torch.arange(len(rows[0]))[:, None] + start
            given = {
                "attention_mask": self.mask(self.tensor(torch.arange(start + len(rows[0])) <= new)[None])
            }
        with contextlib.suppress(EnoughError):
            self._logits(
                1, input_ids=self.tensor(rows), use_cache=True, **given, **{self._cache: read.cache()}
            )

    def _behind(self, read: KeyValues, prompts: Sequence[Tokens], tree: Tree) -> Any:
        """Return the logits behind each prompt's last token and each node of a tree that follows it."""
        lengths = np.array([len(prompt) for prompt in prompts])
        nodes, rows, width = 1 + len(tree.tokens), len(prompts), int(lengths.max()) - 1
        ids, places = np.empty((2, rows, nodes), np.int64)
        ids[:, 0], ids[:, 1:] = [prompt[-1] for prompt in prompts], tree.tokens
        places[:, 0], places[:, 1:] = lengths - 1, lengths[:, None] + tree.depths
        seen = np.zeros((rows, nodes, width + nodes), bool)
        seen[:, :, :width] = (np.arange(width) < lengths[:, None] - 1)[:, None]
        seen[:, :, width] = True
        seen[:, 1:, width + 1 :] = tree.paths()
        return self._logits(
            nodes,
            input_ids=self.tensor(ids),
            attention_mask=self.mask(self.tensor(seen)),
            position_ids=self.tensor(places),
            use_cache=True,
            **{self._cache: read.cache()},
        )

    def rows(self, prompt: Tokens, sequences: Sequence[Tokens]) -> Any:
        """Return the logits around sequences of one length; see `Scorer.rows`."""
        ids = self.tensor([prompt + sequence for sequence in sequences])
        return self._logits(len(sequences[0]) + 1, input_ids=ids, use_cache=False)

    def _logits(self, keep: int, **given: Any) -> Any:
        """Return the logits of the last positions."""
        kept = {"logits_to_keep": keep} if self._keeps else {}
        return self._model(**given, **kept).logits[:, -keep:]


def _offloads(model: Any) -> bool:
    """Whether weights come and go with each layer: then a pass is not ended in the middle."""
    return not {"cpu", "disk"}.isdisjoint(map(str, getattr(model, "hf_device_map", {}).values()))
