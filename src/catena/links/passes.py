"""How many questions a local model is asked at a time: as many as its memory holds, found out by running out of it."""

import gc
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError
from catena.links.label_scores import Scorer
from catena.links.label_tokens import Continuations, Tokens
from catena.types import Failure
from catena.vectors.lengths import batches

__all__ = ["Passes", "free"]

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Scores = NDArray[np.float64]


class Passes:
    """Scores labels after prompts of similar length in one pass; a pass that memory doesn't hold is halved.

    Args:
        scorer: The model.
        ends: The tokens that end a label.
        tokens: Most tokens in a pass to begin with; what was too much once is not tried again.
        rows: Most prompts in a pass.
        where: Begins the message of an error.
    """

    def __init__(self, scorer: Scorer, ends: Sequence[int], tokens: int, rows: int, where: str) -> None:
        self._scorer = scorer
        self._ends = ends
        self._tokens = tokens
        self._rows = rows
        self._where = where

    def scores(self, prompts: Sequence[Tokens], behind: Continuations) -> list[Scores | Failure]:
        """Return the log-probability of every label after each prompt, [labels], in the order of the prompts.

        Raises:
            LinkError: The model can't be used.
        """
        found: list[Scores | Failure | None] = [None] * len(prompts)
        added = sum(map(len, behind.sequences))
        while todo := [at for at, each in enumerate(found) if each is None]:
            lengths = [len(prompts[at]) + added for at in todo]
            for batch in batches(lengths, self._tokens, self._rows):
                places = [todo[n] for n in batch]
                scores = self._pass([prompts[at] for at in places], behind)
                if scores is None and len(batch) > 1:
                    self._tokens = len(batch) * max(lengths[n] for n in batch) // 2
                    break
                for n, at in enumerate(places):
                    found[at] = _too_much(len(prompts[at])) if scores is None else scores[n]
        return [each for each in found if each is not None]

    def _pass(self, prompts: Sequence[Tokens], behind: Continuations) -> Scores | None:
        """Return the labels' scores, [prompts, labels]; None where memory runs out."""
        try:
            scores = self._scorer.score(prompts, behind.sequences, self._ends)
        except (RuntimeError, MemoryError, IndexError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            if not isinstance(error, MemoryError) and not any(sign in said.lower() for sign in OUT_OF_MEMORY):
                raise LinkError(f"{self._where}: the model failed: {said[:300]}.") from error
        else:
            return _per_label(scores, behind.owners)
        free()  # not before the error is gone, which holds the tensors
        return None


def _per_label(scores: Scores, owners: Sequence[int]) -> Scores:
    """Add up the probabilities of each label's spellings, [prompts, labels]."""
    own = np.asarray(owners)
    labels = range(own.max() + 1)
    return np.stack([np.logaddexp.reduce(scores[:, own == label], axis=1) for label in labels], axis=1)


def _too_much(length: int) -> Failure:
    return Failure("too_long", f"memory ran out over this question of {length:,} tokens alone")


def free() -> None:
    """Give the memory of what is no longer used back to the device."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
