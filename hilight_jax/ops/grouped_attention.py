"""Attention in which groups of query heads share a key and value head (Shazeer, arXiv 1911.02150; arXiv 2305.13245)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def grouped_attention(
    q: Float[Array, "B L N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    visible: Bool[Array, "B L S"],
) -> tuple[Float[Array, "B L N H"], Float[Array, "B N L S"]]:
    """Softmax attention of L queries over S keys; query head n reads key head ``n // (N / K)``.

    What is not visible gets the smallest finite score, as in the original: its weight is exactly 0 wherever a query
    sees anything at all, and a query that sees nothing (a padding row) attends evenly instead of becoming NaN.

    Args:
      q: Queries; scaled by ``H ** -0.5`` here.
      k: Keys.
      v: Values.
      visible: Which keys each query may see.

    Returns:
      The mixed values, and the weights (float32 at least).
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[2]
    precise = jnp.promote_types(q.dtype, jnp.float32)
    q = (q * head_dim**-0.5).reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    scores = jnp.einsum("BLKGH,BSKH->BKGLS", q, k, preferred_element_type=precise)
    scores = jnp.where(visible[:, None, None], scores, jnp.finfo(precise).min)
    weights = jax.nn.softmax(scores, axis=-1)
    out = jnp.einsum("BKGLS,BSKH->BLKGH", weights.astype(v.dtype), v)
    return out.reshape(batch, length, heads, head_dim), weights.reshape(batch, heads, length, -1)


def causal_visibility(key_mask: Bool[Array, "B S"], first_slot: Array | int, length: int) -> Bool[Array, "B L S"]:
    """Which of S key slots the queries in slots ``first_slot .. first_slot + length - 1`` see.

    A query sees the real slots at or before its own.

    Args:
      key_mask: True for slots that hold a real token.
      first_slot: Slot of the first query, an integer scalar.
      length: L, number of queries.
    """
    slots = jnp.arange(key_mask.shape[-1])
    queries = first_slot + jnp.arange(length)
    return key_mask[:, None, :] & (slots[None, None, :] <= queries[None, :, None])
