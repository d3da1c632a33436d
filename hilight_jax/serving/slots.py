"""The caches of running answers side by side: one may begin or end at any time while the others go on.

All rows write at the same place of the cache, the clock; masks say which places are a row's own and positions are given
beside them, so that a row that begins later needs no program of its own. A row's places are a run that ends at the
clock. Where the clock reaches the end everything moves to the left, where a long prompt needs more room before the
clock it moves to the right. The cache is as long as the longest answer in progress needs, for every step reads all of
it: of 2,048 places with answers of 70 a step of eight rows took 65 ms, of 256 places 38.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hilight_jax.generation.language_model import LanguageModel
from hilight_jax.generation.language_model import slot_count
from hilight_jax.models.gemma import Cache


class Slots:
    """``num_rows`` answers in progress, or as many places for one."""

    def __init__(self, decoder: Decoder, num_rows: int, max_length: int):
        """Makes room for answers that, with their prompts, have ``max_length`` tokens."""
        self._decoder, self._num_rows, self._largest = decoder, num_rows, capacity_for(max_length)
        self._cache = decoder.empty_cache(num_rows, capacity_for(1))
        self._clock = 0
        self._begins: dict[int, int] = {}
        self._positions = np.zeros(num_rows, np.int32)
        self.free = list(range(num_rows))

    @property
    def rows(self) -> list[int]:
        """The rows in use."""
        return list(self._begins)

    @property
    def capacity(self) -> int:
        """Places of the cache."""
        return self._cache.mask.shape[1]

    def begin(self, prompt_cache: Cache, length: int, num_real: int) -> int:
        """Gives a prompt that was read by itself a row.

        Args:
          prompt_cache: Of one prompt, as ``Decoder.read`` returned it; padding stands before it.
          length: Its places that were written, padding counted.
          num_real: Its tokens.

        Returns:
          The row.
        """
        row = self.free.pop(0)
        if not self._begins:
            self._cache = self._decoder.empty_cache(self._num_rows, self._wanted(length))
            self._clock = length
        elif self._clock < length:
            self._move(length - self._clock, max(self.capacity, self._wanted(length)))
        start = self._clock - length
        self._cache = _put(self._cache, prompt_cache, row, start, length)
        self._begins[row] = start + length - num_real
        self._positions[row] = num_real
        return row

    def end(self, row: int) -> None:
        """Frees a row; what it holds is overwritten by the next one."""
        del self._begins[row]
        self.free.append(row)

    def step(self, ids: Int[np.ndarray, " rows"]) -> Float[Array, "rows vocab"]:
        """Reads one more token of every row, of free ones too, whose scores mean nothing; scores of the next ones."""
        if self._clock == self.capacity:
            first = min(self._begins.values())
            self._move(-first, self._wanted(self._clock - first))
        cache = Cache(self._cache.k, self._cache.v, self._cache.mask, np.int32(self._clock))
        logits, self._cache = self._decoder.read_one(ids, self._positions.copy(), cache)
        self._clock += 1
        self._positions[self.rows] += 1
        return logits

    def _wanted(self, length: int) -> int:
        return min(capacity_for(length), self._largest)

    def _move(self, places: int, capacity: int) -> None:
        """Moves everything, in a cache that was made longer before or shorter afterwards."""
        if capacity > self.capacity:
            self._cache = _resize(self._cache, capacity)
        self._cache = _roll(self._cache, places)
        if capacity < self.capacity:
            self._cache = _resize(self._cache, capacity)
        self._clock += places
        self._begins = {row: start + places for row, start in self._begins.items()}


def capacity_for(length: int) -> int:
    """Places of a cache in which ``length`` are taken: so many more that moving is rare."""
    return slot_count(length + max(64, length // 2))


@functools.partial(jax.jit, static_argnames="length", donate_argnames="cache")
def _put(cache: Cache, prompt: Cache, row: Array, start: Array, length: int) -> Cache:
    """Copies the first ``length`` places of a prompt into a row; nothing else of the row is seen any more."""

    def copy(old: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice(old, new[:, :, :length].astype(old.dtype), (0, row, start, 0, 0))

    mask = jnp.zeros((1, cache.mask.shape[1]), bool)
    mask = jax.lax.dynamic_update_slice(mask, prompt.mask[:, :length], (0, start))
    mask = jax.lax.dynamic_update_slice(cache.mask, mask, (row, 0))
    return Cache(copy(cache.k, prompt.k), copy(cache.v, prompt.v), mask, cache.length)


@functools.partial(jax.jit, donate_argnames="cache")
def _roll(cache: Cache, places: Array) -> Cache:
    """Moves everything; what leaves at one end belongs to no row and comes in, unseen, at the other."""
    k, v = (jnp.roll(x, places, axis=2) for x in (cache.k, cache.v))
    return Cache(k, v, jnp.roll(cache.mask, places, axis=1), cache.length)


@functools.partial(jax.jit, static_argnames="capacity")
def _resize(cache: Cache, capacity: int) -> Cache:
    """Adds places at the end, or drops the last ones, which nothing was written to."""

    def resize(x: Array, axis: int) -> Array:
        missing = [(0, max(0, capacity - size) if i == axis else 0) for i, size in enumerate(x.shape)]
        return jax.lax.slice_in_dim(jnp.pad(x, missing), 0, capacity, axis=axis)

    return Cache(resize(cache.k, 2), resize(cache.v, 2), resize(cache.mask, 1), cache.length)
