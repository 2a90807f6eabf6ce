"""Keys and values of the tokens so far, with spare columns so that a decode step writes in place.

It has the methods of a cache of the `transformers` library that a model and the sampler call.

Not here: the same for models of that library (`hub.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["GROW", "Cache", "Columns"]

GROW = 16  # cache columns added at a time: a growth copies the cache, so one a token would cost more than the model


@dataclass
class Columns:
    """Keys and values of one layer, ``(B, H, S, E)`` each: views of the filled part of something longer."""

    keys: Tensor | None = None
    values: Tensor | None = None
    _buffer: tuple[Tensor, Tensor] | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones last."""
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
            return keys, values
        filled, new = self.keys.shape[-2], keys.shape[-2]
        if self._buffer is None or self._buffer[0].shape[-2] < filled + new:
            self._buffer = (_grown(self.keys, filled + new), _grown(self.values, filled + new))
        all_keys, all_values = self._buffer
        all_keys[:, :, filled : filled + new] = keys
        all_values[:, :, filled : filled + new] = values
        self.keys, self.values = all_keys[:, :, : filled + new], all_values[:, :, : filled + new]
        return self.keys, self.values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Other rows: what was spare is of no use to them."""
        self.keys, self.values, self._buffer = keys, values, None


def _grown(filled: Tensor, needed: int) -> Tensor:
    rows, heads, columns, width = filled.shape
    buffer = filled.new_empty(rows, heads, needed + GROW, width)
    buffer[:, :, :columns] = filled
    return buffer


@dataclass
class Cache:
    """The built-in transformer's cache."""

    layers: list[Columns] = field(default_factory=list)

    def get_seq_length(self) -> int:
        """S, of the first layer."""
        return self.layers[0].keys.shape[-2] if self.layers and self.layers[0].keys is not None else 0

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Append to a layer; what it holds then."""
        while len(self.layers) <= layer_idx:
            self.layers.append(Columns())
        return self.layers[layer_idx].append(key_states, value_states)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row so many times."""
        self._of_rows(lambda x: x.repeat_interleave(repeats, 0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """These rows only."""
        self._of_rows(lambda x: x[indices, ...])

    def _of_rows(self, change: Callable[[Tensor], Tensor]) -> None:
        for layer in self.layers:
            if layer.keys is not None and layer.values is not None:
                layer.replace(change(layer.keys), change(layer.values))
