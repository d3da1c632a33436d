"""Rotary position embedding (Su et al., arXiv 2104.09864) in the two-halves form of GPT-NeoX, Llama and Gemma."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def rotary(x: Float[Array, "B L N H"], positions: Int[Array, "B L"], base: float) -> Float[Array, "B L N H"]:
    """Turns channel pairs ``(i, i + H/2)`` of every head by ``position * base ** (-2i / H)``.

    Angles, sine and cosine are float32 at least, whatever the dtype of ``x``; the result has that dtype.

    Args:
      x: Queries or keys.
      positions: Position of each token, 0 for the first.
      base: Base of the angles; the slowest pair turns by about ``1 / base`` a token.
    """
    half = x.shape[-1] // 2
    precise = jnp.promote_types(x.dtype, jnp.float32)
    frequencies = jnp.asarray(base ** (-np.arange(half) / half), precise)
    angles = positions[..., None, None].astype(precise) * frequencies
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    first, second = jnp.split(x.astype(precise), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)
