"""The vote tables of the parity tests, made the same way by the recorder (`make_fixtures`) and by the tests.

Only `Generator.random` is used: its stream is the part of numpy's random numbers that stays fixed over versions.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from catena.data.votes import VoteTable, read_votes

RECORDED = ("emotion", "mmlu", "arena")
JITTER = 1e-6


def synthetic(seed: int, items: int, links: int, labels: int) -> VoteTable:
    """Return a table of distinct confidences and no missing votes; link j is right more often than link j - 1."""
    rng = np.random.Generator(np.random.PCG64(seed))
    gold = np.floor(rng.random(items) * labels).astype(np.int16)
    label, confidence = [], []
    for j in range(links):
        guess = np.floor(rng.random(items) * labels).astype(np.int16)
        label.append(np.where(rng.random(items) < (j + 1) / (links + 2), gold, guess).astype(np.int16))
        confidence.append(rng.random(items))
    return VoteTable(
        item_ids=np.array([f"item {i}" for i in range(items)], dtype=object),
        links=tuple(f"link{j}" for j in range(links)),
        labels=tuple(f"label{k}" for k in range(labels)),
        label=np.stack(label),
        confidence=distinct(np.stack(confidence)),
        recorded=np.ones((links, items), bool),
        cost_usd=np.full((links, items), np.nan),
        gold=gold,
    )


def recorded(folder: Path, seed: int) -> VoteTable:
    """Return a recorded set with links sorted by name, without items that a link has no label for, and without ties.

    The reference keeps every tie and can't do without a label; both differ from ours on purpose.
    """
    table = read_votes(folder)
    table = table.chain(sorted(table.links))
    whole = table.voted.all(axis=0)
    rng = np.random.Generator(np.random.PCG64(seed))
    jitter = JITTER * rng.random(table.confidence.size).reshape(table.confidence.shape)
    return replace(
        table,
        item_ids=table.item_ids[whole],
        label=table.label[:, whole],
        confidence=distinct((table.confidence + jitter)[:, whole]),
        recorded=table.recorded[:, whole],
        cost_usd=table.cost_usd[:, whole],
        gold=table.gold[whole],
    )


def distinct(confidence: np.ndarray) -> np.ndarray:
    """Return the confidences after checking that no link gives one twice."""
    if any(len(np.unique(of_link)) < len(of_link) for of_link in confidence):
        raise ValueError("confidences tie; choose another seed")
    return confidence


def digest(values: Iterable[object]) -> str:
    """Return the SHA-256 of a vector's texts, one per line."""
    return hashlib.sha256("\n".join(str(value) for value in values).encode()).hexdigest()
