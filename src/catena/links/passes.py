"""How many questions a local model is asked at a time: as many as its memory holds, found out by running out of it.

On the processor two passes run at the same time, each on half of the threads: an operation of a small model is too short to
be divided among threads, and of a large one it is as fast either way.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError
from catena.links.label_scores import Scorer
from catena.links.label_tokens import Continuations, Tokens
from catena.types import Failure
from catena.vectors.lengths import even_batches

__all__ = ["Passes", "at_once", "free", "in_cache", "keep_freed"]

LARGEST_KEPT = (32 << 20) - (1 << 16)  # bytes; glibc's most, less what it adds
FLOATS_IN_CACHE = 3 << 19  # of one layer's output; passes of wide models are faster then
LEAST_IN_CACHE = 2048  # tokens; with fewer, reading the weights takes longer than is gained
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
        at_once: How many passes may run at the same time.
    """

    def __init__(
        self, scorer: Scorer, ends: Sequence[int], tokens: int, rows: int, where: str, at_once: int = 1
    ) -> None:
        self._scorer = scorer
        self._ends = ends
        self._at_once = at_once
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
            even = even_batches(lengths, self._tokens, self._rows, self._at_once)
            todo_in = [[todo[n] for n in batch] for batch in even]
            asked = [[prompts[at] for at in places] for places in todo_in]
            for places, scores in zip(todo_in, self._each(asked, behind), strict=False):
                if scores is None and (len(places) > 1 or self._at_once > 1):
                    longest = max(len(prompts[at]) for at in places) + added
                    self._tokens, self._at_once = max(1, len(places) * longest // 2), 1
                    break
                for n, at in enumerate(places):
                    found[at] = _too_much(len(prompts[at])) if scores is None else scores[n]
        return [each for each in found if each is not None]

    def _each(self, asked: Sequence[Sequence[Tokens]], behind: Continuations) -> Iterator[Scores | None]:
        """Yield the scores of each pass, in order."""
        if self._at_once == 1 or len(asked) == 1:
            yield from (self._pass(prompts, behind) for prompts in asked)
            return
        import torch  # noqa: PLC0415 - heavy

        threads = torch.get_num_threads()
        each = max(1, threads // self._at_once)
        pool = ThreadPoolExecutor(self._at_once, "catena", torch.set_num_threads, (each,))
        try:
            yield from pool.map(self._pass, asked, [behind] * len(asked))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # a setting in one thread is what later threads begin with

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


def at_once(model: Any) -> int:
    """Return how many passes of a model may run at the same time."""
    import torch  # noqa: PLC0415 - heavy

    return 2 if model.device.type == "cpu" and torch.get_num_threads() > 1 else 1


def in_cache(model: Any, tokens: int) -> int:
    """Return how many tokens a pass should have at most: on the processor, those whose states its cache holds."""
    if model.device.type != "cpu":
        return tokens
    width = int(model.get_input_embeddings().weight.shape[1])
    return min(tokens, max(LEAST_IN_CACHE, FLOATS_IN_CACHE // width))


def keep_freed() -> None:
    """Let the C library keep what one tensor frees for the next, up to 64 MB a thread.

    By itself it gives large blocks back to the system, which zeroes them page by page before they come again: a tenth of a small
    model's time. glibc keeps what is smaller than the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD).
    """
    import torch  # noqa: PLC0415 - heavy

    torch.empty(LARGEST_KEPT, dtype=torch.uint8)


def free() -> None:
    """Give the memory of what is no longer used back to the device."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
