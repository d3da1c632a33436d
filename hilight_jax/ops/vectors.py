"""Vector arithmetic of losses and embeddings: float32 at least, exact products, unit length."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# On TPUs a float32 product is otherwise rounded to bfloat16, and a logit scale of 100 makes that rounding count.
PRECISION = jax.lax.Precision.HIGHEST

# The logit of a candidate that a softmax leaves out: finite, so that a row without any candidate stays finite too.
REMOVED = -1e9


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Casts to float32; a wider dtype stays."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def unit(x: Float[Array, "... E"]) -> Float[Array, "... E"]:
    """Returns ``x / |x|`` along the last axis; a zero vector stays zero and gets a zero gradient."""
    squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return jnp.where(squares > 0, x / jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
