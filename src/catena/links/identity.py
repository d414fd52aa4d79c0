"""What makes a link's votes its own: the fingerprint of all that shapes them, beside the prompt."""

from hashlib import blake2b
from typing import Any

import msgspec

from catena.task import TaskSpec

__all__ = ["fingerprint", "vote_key"]

_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(name: str, kind: str, task: TaskSpec, **settings: Any) -> bytes:
    """Return 16 bytes that change when a setting changes that shapes the link's votes.

    Where a model is served (address, key) and how fast it is asked (concurrency, timeout) are no such settings.
    """
    return blake2b(_encode([name, kind, list(task.labels), settings]), digest_size=16).digest()


def vote_key(link: bytes, prompt: str) -> bytes:
    """Return the key under which the ledger keeps a link's vote on a prompt, 16 bytes."""
    return blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16, key=link).digest()
