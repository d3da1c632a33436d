"""Reductions over patches whose frames may be split over a mesh axis, inside ``jax.shard_map``.

``axis`` is that mesh axis, or None where a device holds all frames; then these are the reductions of ``jax.numpy``.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def whole_sum(x: Float[Array, "..."], axis: str | None) -> Float[Array, "..."]:
    """Adds up what each device summed over its own frames."""
    return x if axis is None else jax.lax.psum(x, axis)


def whole_max(x: Float[Array, "..."], axis: str | None) -> Float[Array, "..."]:
    """The largest of what each device found in its own frames; no gradient flows."""
    x = jax.lax.stop_gradient(x)
    return x if axis is None else jax.lax.pmax(x, axis)


def lowest(x: Float[Array, "..."], over: Sequence[int], axis: str | None) -> Float[Array, "..."]:
    """The minimum over the axes ``over``, which are kept, and over devices; the gradient is that of ``jnp.min``.

    Equal smallest numbers share the gradient evenly, on whichever devices they lie.
    """
    if axis is None:
        return jnp.min(x, axis=tuple(over), keepdims=True)
    value = -whole_max(-jnp.min(jax.lax.stop_gradient(x), axis=tuple(over), keepdims=True), axis)
    return _value_with_shared_gradient(x, value, over, axis)


def highest(x: Float[Array, "..."], over: Sequence[int], axis: str | None) -> Float[Array, "..."]:
    """The maximum, like ``lowest``."""
    if axis is None:
        return jnp.max(x, axis=tuple(over), keepdims=True)
    value = whole_max(jnp.max(jax.lax.stop_gradient(x), axis=tuple(over), keepdims=True), axis)
    return _value_with_shared_gradient(x, value, over, axis)


def _value_with_shared_gradient(x: Array, value: Array, over: Sequence[int], axis: str) -> Array:
    """``value``; its gradient goes in equal shares to all elements of ``x`` that equal it."""
    ties = x == value
    change = jnp.sum(jnp.where(ties, x - jax.lax.stop_gradient(x), 0), axis=tuple(over), keepdims=True)
    count = jnp.sum(ties, axis=tuple(over), keepdims=True, dtype=x.dtype)
    return value + jax.lax.psum(change, axis) / jax.lax.psum(count, axis)
