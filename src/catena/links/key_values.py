"""The keys and values of what a decoder has read, written once into tensors that have room for what follows.

Imported when a model is loaded: it needs torch and transformers.
"""

from functools import partial
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

__all__ = ["EnoughError", "KeyValues"]


class EnoughError(Exception):
    """All keys and values are there: nobody needs what the last layer would go on to make of them."""


class KeyValues(DynamicCache):  # type: ignore[misc]
    """What a model of transformers takes for its cache.

    Args:
        room: How many tokens of each row it holds.
        last: The number of the model's last layer: with its keys and values a pass ends, by EnoughError. None goes on.
    """

    def __init__(self, room: int, last: int | None = None) -> None:
        super().__init__()
        self.layer_class_to_replicate = partial(_Room, room)
        self.last = last

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *given: Any, **named: Any) -> Any:
        """Write down what a layer makes of new tokens, and return it with what was there."""
        found = super().update(key_states, value_states, layer_idx, *given, **named)
        if layer_idx == self.last:
            raise EnoughError
        return found

    def begin(self, head: "KeyValues", length: int, rows: int) -> None:
        """Let every row begin with the first tokens of another's only row."""
        for at, layer in enumerate(head.layers):
            keys, values = (
                each[..., :length, :].expand(rows, -1, -1, -1) for each in (layer.keys, layer.values)
            )
            super().update(keys, values, at)

    def forget(self, length: int) -> None:
        """Forget all tokens behind the first ones."""
        for layer in self.layers:
            layer.forget(length)


class _Room(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, [rows, heads, tokens, width of a head]."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._length = 0
        self._all: tuple[Any, ...] = ()

    def update(self, key_states: Any, value_states: Any, *_given: Any, **_named: Any) -> Any:
        new = (key_states, value_states)
        if not self._all:
            self.lazy_initialization(key_states, value_states)
            self._all = tuple(each.new_empty((*each.shape[:-2], self._room, each.shape[-1])) for each in new)
        start = self._length
        for room, each in zip(self._all, new, strict=True):
            room[..., start : start + each.shape[-2], :] = each
        self.forget(start + key_states.shape[-2])
        return self.keys, self.values

    def forget(self, length: int) -> None:
        self._length = length
        self.keys, self.values = (each[..., :length, :] for each in self._all)
