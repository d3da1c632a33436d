"""Attention as pure functions of queries, keys and values.

Heads come before tokens (``[B, N, S, H]``): every product below is then a plain batched matrix product, which a CPU
runs without copying. Scores and softmax are float32 when the operands are bfloat16, and keep the operands' precision
otherwise.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def over_heads(attend: Callable[..., Array], num_heads: int) -> Callable[..., Array]:
    """Lets ``attend``, one of the functions below, take and return tokens [B, S, D] that hold their heads in a row."""

    def run(q: Array, k: Array, v: Array, *operands: Array) -> Array:
        heads = (*q.shape[:2], num_heads, q.shape[2] // num_heads)
        out = attend(*(x.reshape(heads).swapaxes(1, 2) for x in (q, k, v)), *operands)
        return out.swapaxes(1, 2).reshape(q.shape)

    return run


def attention(
    q: Float[Array, "*B L H"],
    k: Float[Array, "*B S H"],
    v: Float[Array, "*B S H"],
    bias: Float[Array, "..."] | None = None,
) -> Float[Array, "*B L H"]:
    """Softmax attention of L queries over S keys, for any leading axes (batch, heads, frames).

    Args:
      q: Queries; scaled by ``H ** -0.5`` here, after their bias, as CLIP does.
      k: Keys.
      v: Values.
      bias: Added to the scores; broadcasts against ``[*B, L, S]``.
    """
    precise = jnp.promote_types(q.dtype, jnp.float32)
    q = q * q.shape[-1] ** -0.5
    scores = jnp.einsum("...LH,...SH->...LS", q, k, preferred_element_type=precise)
    if bias is not None:
        scores = scores + bias
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("...LS,...SH->...LH", weights, v)


def causal_attention(
    q: Float[Array, "B N L H"],
    k: Float[Array, "B N L H"],
    v: Float[Array, "B N L H"],
    mask: Bool[Array, "B L"] | None = None,
) -> Float[Array, "B N L H"]:
    """Attention to real tokens at or before the query, as in CLIP's text tower.

    The future is minus infinity and padding the smallest finite number, as in the original: a query that sees padding
    only (before the first real token of a left-padded row) attends to it evenly instead of becoming NaN.

    Args:
      q: Queries.
      k: Keys.
      v: Values.
      mask: True for real tokens; None when all are.
    """
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    length = q.shape[-2]
    future = jnp.arange(length)[None, :] > jnp.arange(length)[:, None]
    bias = jnp.where(future, -jnp.inf, jnp.zeros((), dtype))
    if mask is not None:
        padding = jnp.where(mask, jnp.zeros((), dtype), jnp.finfo(dtype).min)
        bias = bias + padding[:, None, None, :]
    return attention(q, k, v, bias)


def proxy_attention(
    q: Float[Array, "B N S H"],
    k: Float[Array, "B N S H"],
    v: Float[Array, "B N S H"],
    *,
    num_proxy_tokens: int,
    num_frames: int,
) -> Float[Array, "B N S H"]:
    """CLIP-ViP's proxy-guided attention over ``S = M + F * P`` tokens, proxies first, patches frame by frame.

    A patch sees the M proxy tokens and the P patches of its own frame; a proxy token sees everything. After
    ``CLIPAttention.forward2`` of CLIP-ViP (arXiv 2209.06430).

    Args:
      q: Queries.
      k: Keys.
      v: Values.
      num_proxy_tokens: M, the cls token counted.
      num_frames: F.
    """
    proxies = slice(None, num_proxy_tokens)
    batch, heads, _, head_dim = q.shape

    def by_frame(x):
        return x[:, :, num_proxy_tokens:].reshape(batch, heads, num_frames, -1, head_dim)

    def with_proxies(x):
        shared = jnp.broadcast_to(x[:, :, None, proxies], (batch, heads, num_frames, num_proxy_tokens, head_dim))
        return jnp.concatenate([shared, by_frame(x)], axis=3)

    patches = attention(by_frame(q), with_proxies(k), with_proxies(v))
    return jnp.concatenate([attention(q[:, :, proxies], k, v), patches.reshape(batch, heads, -1, head_dim)], axis=2)
