"""The place of a similarity map's peak, below a patch."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hilight_jax.ops.vectors import PRECISION

# A peak's weight above its excess, so that a flat map has a place.
_FLAT = 1e-6


def peak_places(maps: Float[Array, "*B P"], columns: int) -> Float[Array, "*B 2"]:
    """Returns x and y of each map's peak, from -1 (left, top edge) to 1 (right, bottom edge).

    A thing of a patch's size lies on several patches, each about as similar as the share of it that they show. So its
    centre is the mean of the peak's patch and its neighbours, at most eight, weighted by what each has above the mean
    of the map. On the object balls of the demo's held-out clips the median error is 1.9 px of a patch's 8; that of the
    best patch's own centre is 3.5 (docs/evaluation.md).

    Args:
      maps: Similarities of P = rows * columns patches, row-major. A flat map's place is its first patch.
      columns: Patches of a row.
    """
    maps = jnp.asarray(maps)
    return places_at(maps, jnp.argmax(maps, axis=-1), columns)


def places_at(maps: Float[Array, "*B P"], patches: Int[Array, "*B"], columns: int) -> Float[Array, "*B 2"]:
    """Returns x and y as ``peak_places`` does, around a given patch of each map."""
    number = jnp.arange(maps.shape[-1])
    column, row = number % columns, number // columns
    best = patches[..., None]
    near = (abs(column - best % columns) <= 1) & (abs(row - best // columns) <= 1)
    excess = jnp.maximum(maps - jnp.mean(maps, axis=-1, keepdims=True), 0)
    weights = jnp.where(near, excess, 0) + jnp.where(number == best, _FLAT, 0)
    return centre(weights, patch_centres(maps.shape[-1], columns))


def patch_centres(num_patches: int, columns: int) -> Float[Array, "P 2"]:
    """Returns x and y of the centres of patches in rows of ``columns``, from -1 to 1."""
    number, rows = jnp.arange(num_patches), num_patches // columns
    return jnp.stack([(2 * (number % columns) + 1) / columns - 1, (2 * (number // columns) + 1) / rows - 1], axis=-1)


def centre(weights: Float[Array, "*B P"], points: Float[Array, "P 2"]) -> Float[Array, "*B 2"]:
    """Returns the weighted mean of points."""
    return jnp.einsum("...P,PX->...X", weights, points, precision=PRECISION) / jnp.sum(weights, axis=-1, keepdims=True)
