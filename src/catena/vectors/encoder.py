"""One way to every encoder: the built-in one on NumPy, any other by sentence-transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError
from catena.vectors.minilm import MiniLM

__all__ = ["BUILT_IN", "encode", "encoder"]

BUILT_IN = "all-MiniLM-L6-v2"


def encoder(model: str, where: str) -> Any:
    """Load an encoder.

    Args:
        model: `all-MiniLM-L6-v2` is built in; any other name or path runs through sentence-transformers.
        where: Begins every message.

    Raises:
        MissingExtraError: safetensors or tokenizers is not installed.
        LinkError: The weights, or sentence-transformers, are not installed.
    """
    if model == BUILT_IN:
        return MiniLM.load()
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - several GB, only for other models
    except ImportError:
        raise LinkError(
            f"{where}: model '{model}' needs sentence-transformers, which is not installed.",
            f"Install it: pip install sentence-transformers; or use model: {BUILT_IN}",
        ) from None
    return SentenceTransformer(model)


def encode(by: Any, texts: Sequence[str], *, alone: bool = True) -> NDArray[np.float32]:
    """Return one vector of length 1 per text, [texts, width].

    Args:
        by: As `encoder` returns it.
        texts: At least one.
        alone: Whether the built-in encoder takes them one by one: a text's last bits would depend on its neighbours.
    """
    if isinstance(by, MiniLM):
        return np.concatenate([by.encode([text]) for text in texts]) if alone else by.encode(texts)
    vectors: NDArray[np.float32] = by.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return vectors
