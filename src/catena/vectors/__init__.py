"""Sentence embeddings: texts as vectors, near each other where they mean alike."""

from catena.vectors.encoder import BUILT_IN, encode, encoder

__all__ = ["BUILT_IN", "encode", "encoder"]
