"""Where labels part: the token at which each one is told from all others, counted with the end that follows it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

__all__ = ["parts_at", "sharing"]


def parts_at(tokens: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the position, from 1, of the token by which each label is told from all others.

    >>> parts_at({"pro": ["pro"], "pro-war": ["pro", "-war"], "none": ["none"]})
    {'pro': 2, 'pro-war': 2, 'none': 1}

    Args:
        tokens: Of each label, without an end.
    """
    ended = {label: (*said, None) for label, said in tokens.items()}
    ordered = sorted(ended, key=lambda label: [token or "" for token in ended[label]])
    shared = [0, *[_alike(ended[a], ended[b]) for a, b in pairwise(ordered)], 0]
    places = {label: 1 + max(shared[at], shared[at + 1]) for at, label in enumerate(ordered)}
    return {label: places[label] for label in tokens}


def sharing(tokens: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the groups of labels that share their first token, each of at least two, in the labels' order.

    Args:
        tokens: Of each label.
    """
    groups: dict[str, list[str]] = {}
    for label, said in tokens.items():
        groups.setdefault(said[0] if said else "", []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _alike(one: Sequence[str | None], other: Sequence[str | None]) -> int:
    """Return how many tokens two sequences have in common before they part."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
