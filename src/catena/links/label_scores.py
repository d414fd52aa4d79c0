"""Exact log-probabilities of token sequences after prompts: each prompt is read once, all sequences in one pass behind it.

To a decoder the tree of all sequences is one row of tokens behind the prompt, in which a token attends to the prompt and to
the tokens that lead to it, and stands at the position that it has in its own sequence. Encoders read the prompts once; the
sequences are then one row of the decoder, block by block. Not every architecture takes such rows. So each model is first tried on short prompts
against the plain way, one row for each prompt and sequence, and the plain way is used where the two differ.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.links.label_tokens import Tokens, Tree

__all__ = ["Floats", "Scorer", "Seq2SeqScorer", "follow"]

LOGITS_PER_PASS = 1 << 26
LOGITS_IN_CACHE = 1 << 18
LEAST_STEP = -1e4  # a token's smallest log-probability, so that sums are finite
TRIED = 8  # sequences of a trial
TOLERANCE = {"float32": 1e-3, "float64": 1e-3}  # nats; of the coarser types:
COARSE = 0.5

Floats = NDArray[np.float64]


class Scorer(ABC):
    """Scores sequences after prompts with one model.

    Args:
        model: A model of transformers.
        reach: A longer prompt with its label is scored the plain way, as the model treats it in a way of its own.
    """

    def __init__(self, model: Any, reach: int | None = None) -> None:
        self._model = model.eval().requires_grad_(False)
        self._reach = reach
        self._vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.shares = True

    def score(self, prompts: Sequence[Tokens], sequences: Sequence[Tokens], ends: Sequence[int]) -> Floats:
        """Return the log-probability of each sequence followed by an end, [prompts, sequences].

        Args:
            prompts: Tokens up to where the sequences begin, at least one.
            sequences: All different, at least one token each.
            ends: Tokens of which any ends a sequence; their probabilities are added.
        """
        import torch  # noqa: PLC0415 - heavy

        longest = max(map(len, prompts)) + max(map(len, sequences))
        with torch.inference_mode():
            if self.shares and (self._reach is None or longest <= self._reach):
                return self.together(prompts, sequences, ends)
            return np.stack([self.plainly(prompt, sequences, ends) for prompt in prompts])

    def try_on(self, prompts: Sequence[Tokens], sequences: Sequence[Tokens], ends: Sequence[int]) -> None:
        """Use the plain way from now on where the fast one does not give the same on these."""
        import torch  # noqa: PLC0415 - heavy

        some = sequences[:: -(-len(sequences) // TRIED)]
        tolerance = TOLERANCE.get(str(self._model.dtype).removeprefix("torch."), COARSE)
        with torch.inference_mode():
            plain = np.stack([self.plainly(prompt, some, ends) for prompt in prompts])
            try:
                fast = self.together(prompts, some, ends)
            except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
                self.shares = False
            else:
                self.shares = bool(np.abs(fast - plain).max() <= tolerance)

    @abstractmethod
    def together(self, prompts: Sequence[Tokens], sequences: Sequence[Tokens], ends: Sequence[int]) -> Floats:
        """Score in one pass over all; see `score`."""

    def plainly(self, prompt: Tokens, sequences: Sequence[Tokens], ends: Sequence[int]) -> Floats:
        """Score after one prompt, [sequences], with rows that are neither padded nor shared."""
        found = np.empty(len(sequences))
        for length in sorted(set(map(len, sequences))):
            at = [n for n, sequence in enumerate(sequences) if len(sequence) == length]
            rows = max(1, LOGITS_PER_PASS // (self._vocabulary * (length + 1)))
            for start in range(0, len(at), rows):
                some = [sequences[n] for n in at[start : start + rows]]
                logits = self.rows(prompt, some)
                for n, row in enumerate(some):
                    found[at[start + n]] = follow(logits[n : n + 1], Tree([row]), ends)[0, 0]
        return found

    @abstractmethod
    def rows(self, prompt: Tokens, sequences: Sequence[Tokens]) -> Any:
        """Return the logits before, in and behind sequences of one length, [sequences, 1 + length, vocabulary]."""

    def parts(self, sequences: Sequence[Tokens], prompts: int) -> Iterator[Sequence[Tokens]]:
        """Cut the sequences into parts whose logits fit."""
        most = LOGITS_PER_PASS // (self._vocabulary * prompts)
        part: list[Tokens] = []
        size = 0
        for sequence in sequences:
            if part and size + len(sequence) > most:
                yield part
                part, size = [], 0
            part.append(sequence)
            size += len(sequence)
        yield part

    def tensor(self, rows: Any) -> Any:
        """Return a tensor where the model reads its input."""
        import torch  # noqa: PLC0415 - heavy

        return torch.as_tensor(rows, device=self._model.get_input_embeddings().weight.device)

    def mask(self, allowed: Any) -> Any:
        """Return what is added to attention, [prompts, 1, from, to]."""
        import torch  # noqa: PLC0415 - heavy

        none = torch.finfo(self._model.dtype).min
        return torch.where(allowed, 0.0, none).to(self._model.dtype)[:, None]


class Seq2SeqScorer(Scorer):
    """For encoders with a decoder."""

    def together(self, prompts: Sequence[Tokens], sequences: Sequence[Tokens], ends: Sequence[int]) -> Floats:
        """Score in one pass over all; see `score`."""
        width = max(map(len, prompts))
        real = self.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts])
        ids = self.tensor([prompt + (0,) * (width - len(prompt)) for prompt in prompts])
        read = self._model.get_encoder()(input_ids=ids, attention_mask=real)
        found = []
        for part in self.parts(sequences, len(prompts)):
            starts = [(self._start, *sequence) for sequence in part]
            blocks = Tree(starts, merge=False)
            kept = [0] + [node for node, parent in enumerate(blocks.parents) if parent >= 0]
            logits = self._model(
                encoder_outputs=read,
                attention_mask=real,
                decoder_input_ids=self.tensor([blocks.tokens]).expand(len(prompts), -1),
                decoder_attention_mask=self.mask(self.tensor(blocks.paths())[None]).expand(
                    len(prompts), -1, -1, -1
                ),
                use_cache=False,
            ).logits
            found.append(follow(logits[:, kept], Tree(part, merge=False), ends))
        return np.concatenate(found, 1)

    def rows(self, prompt: Tokens, sequences: Sequence[Tokens]) -> Any:
        """Return the logits around sequences of one length; see `Scorer.rows`."""
        ids = self.tensor([prompt]).expand(len(sequences), -1)
        starts = self.tensor([(self._start, *sequence) for sequence in sequences])
        return self._model(input_ids=ids, decoder_input_ids=starts, use_cache=False).logits

    @property
    def _start(self) -> int:
        return int(self._model.config.decoder_start_token_id)


def follow(logits: Any, tree: Tree, ends: Sequence[int]) -> Floats:
    """Return the log-probability of each sequence of a tree and an end behind it, [prompts, sequences].

    Args:
        logits: The logits of what follows each prompt, then of what follows each node, [prompts, 1 + nodes, vocabulary].
        tree: The sequences.
        ends: The tokens that end one.
    """
    nodes = len(tree.tokens)
    before = [parent + 1 for parent in tree.parents] + [leaf + 1 for leaf in tree.leaves for _ in ends]
    found = _logprobs(logits, before, [*tree.tokens, *list(ends) * len(tree.leaves)])
    end = np.logaddexp.reduce(found[:, nodes:].reshape(len(found), len(tree.leaves), len(ends)), axis=2)
    sums: Floats = found[:, :nodes] @ tree.paths()[tree.leaves].T + end
    return sums


def _logprobs(logits: Any, places: list[int], tokens: list[int]) -> Floats:
    """Return the log-probability of each token at its place; a few prompts at a time, which the processor's cache holds."""
    import torch  # noqa: PLC0415 - heavy

    rows = max(1, LOGITS_IN_CACHE // logits[0].numel())
    at = torch.tensor(places), torch.tensor(tokens)
    some = [each.float().log_softmax(-1)[:, *at] for each in logits.split(rows)]
    found: Floats = torch.cat(some).clamp(min=LEAST_STEP).cpu().double().numpy()
    return found
