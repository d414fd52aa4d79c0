"""The keys and values of what a decoder has read, written once into tensors that have room for what follows."""

from typing import Any

__all__ = ["EnoughError", "KeyValues"]


class EnoughError(Exception):
    """All keys and values are there: nobody needs what the last layer would go on to make of them."""


class KeyValues:
    """Keeps what a model of transformers writes into its cache.

    Args:
        room: How many tokens of each row it holds.
        last: The number of the model's last layer: with its keys and values a pass ends, by EnoughError. None goes on.

    Attributes:
        last: As above; may be changed between passes.
    """

    def __init__(self, room: int, last: int | None = None) -> None:
        self.last = last
        self._room = room
        self._layers: list[Any] = []
        self._all: dict[int, tuple[Any, ...]] = {}

    def cache(self) -> Any:
        """Return what a model takes; it holds this and is not held by it, so that both are gone when a pass ends."""
        from transformers import DynamicCache  # noqa: PLC0415 - heavy

        made = DynamicCache()
        made.layers, made.update = self._layers, self._update
        return made

    def begin(self, head: "KeyValues", length: int, rows: int) -> None:
        """Let every row begin with the first tokens of another's only row."""
        for at, both in head._all.items():  # noqa: SLF001 - one of our own
            self._write(at, tuple(each[..., :length, :].expand(rows, -1, -1, -1) for each in both))

    def forget(self, length: int) -> None:
        """Forget all tokens behind the first ones."""
        for at in self._all:
            self._show(at, length)

    def _update(self, keys: Any, values: Any, layer: int, *_given: Any, **_named: Any) -> tuple[Any, Any]:
        """Add what a layer makes of new tokens and return it with what was there; the model calls this."""
        self._write(layer, (keys, values))
        if layer == self.last:
            raise EnoughError
        return self._layers[layer].keys, self._layers[layer].values

    def _write(self, at: int, new: tuple[Any, ...]) -> None:
        if at not in self._all:
            self._begin_layer(at, new)
        start = self._layers[at].keys.shape[-2]
        end = start + new[0].shape[-2]
        for room, each in zip(self._all[at], new, strict=True):
            room[..., start:end, :] = each
        self._show(at, end)

    def _begin_layer(self, at: int, new: tuple[Any, ...]) -> None:
        from transformers.cache_utils import DynamicLayer  # noqa: PLC0415 - heavy

        while len(self._layers) <= at:
            self._layers.append(DynamicLayer())
        self._layers[at].lazy_initialization(*new)
        shapes = [(*each.shape[:-2], self._room, each.shape[-1]) for each in new]
        self._all[at] = tuple(each.new_empty(shape) for each, shape in zip(new, shapes, strict=True))
        self._show(at, 0)

    def _show(self, at: int, length: int) -> None:
        layer = self._layers[at]
        layer.keys, layer.values = (each[..., :length, :] for each in self._all[at])
