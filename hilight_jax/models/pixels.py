"""CLIP's pixel normalisation, on device: batches travel as uint8, a quarter of the bytes."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from hilight_jax.core.shapes import CLIP_MEAN, CLIP_STD


def normalise(pixels: Num[Array, "... C"], dtype: jnp.dtype = jnp.float32) -> Float[Array, "... C"]:
    """Maps colours of 0..255 to CLIP's zero mean and unit spread.

    Args:
      pixels: Colour last, red first; uint8, or the floats that resizing leaves, which are not clamped.
      dtype: Of the result.
    """
    mean, std = jnp.asarray(CLIP_MEAN, dtype), jnp.asarray(CLIP_STD, dtype)
    return (pixels.astype(dtype) / 255 - mean) / std
