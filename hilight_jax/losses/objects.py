"""One query per named thing instead of one per token.

"The red 3-ball ... the red ball" are eight tokens about one thing. "ball" alone tells no clip from another, and every
one of the eight costs as much as the thing itself; where the data knows which tokens name the same thing, their mean is
the query, as it is when a word's map is drawn.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def first_tokens(mask: Bool[Array, "B L"], token_object: Int[Array, "B L"]) -> Bool[Array, "B L"]:
    """The tokens that take part and are the first of their caption to name their thing, or name no known thing."""
    same = _same(mask, token_object)
    return mask & (jnp.argmax(same, axis=2) == jnp.arange(mask.shape[1]))


def pool_objects(
    text_local: Float[Array, "B L E"], mask: Bool[Array, "B L"], token_object: Int[Array, "B L"]
) -> Float[Array, "B L E"]:
    """Replaces every token that takes part by the mean of all that name the same thing; others stay themselves."""
    same = _same(mask, token_object).astype(text_local.dtype)
    return jnp.einsum("BLS,BSE->BLE", same / jnp.sum(same, axis=2, keepdims=True), text_local)


def _same(mask: Array, token_object: Array) -> Array:
    """Whether two tokens of a caption name the same known thing, [B, L, L]; every token is the same as itself."""
    known = mask & (token_object != 0)
    same = (token_object[:, :, None] == token_object[:, None, :]) & known[:, :, None] & known[:, None, :]
    return same | jnp.eye(mask.shape[1], dtype=bool)
