"""Attention as pure functions of queries, keys and values.

Heads are the second last axis (``[..., S, N, H]``), as the projections leave them. Scores and softmax are float32 when
the operands are bfloat16, and keep the operands' precision otherwise.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attention(
    q: Float[Array, "*B L N H"],
    k: Float[Array, "*B S N H"],
    v: Float[Array, "*B S N H"],
    bias: Float[Array, "..."] | None = None,
) -> Float[Array, "*B L N H"]:
    """Softmax attention of L queries over S keys, for any leading axes.

    Args:
      q: Queries; scaled by ``H ** -0.5`` here, after their bias, as CLIP does.
      k: Keys.
      v: Values.
      bias: Added to the scores; broadcasts against ``[*B, N, L, S]``.
    """
    precise = jnp.promote_types(q.dtype, jnp.float32)
    q = q * q.shape[-1] ** -0.5
    scores = jnp.einsum("...LNH,...SNH->...NLS", q, k, preferred_element_type=precise)
    if bias is not None:
        scores = scores + bias
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("...NLS,...SNH->...LNH", weights, v)


def causal_attention(
    q: Float[Array, "B L N H"],
    k: Float[Array, "B L N H"],
    v: Float[Array, "B L N H"],
    mask: Bool[Array, "B L"] | None = None,
) -> Float[Array, "B L N H"]:
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
    length = q.shape[1]
    future = jnp.arange(length)[None, :] > jnp.arange(length)[:, None]
    bias = jnp.where(future, -jnp.inf, jnp.zeros((), dtype))
    if mask is not None:
        padding = jnp.where(mask, jnp.zeros((), dtype), jnp.finfo(dtype).min)
        bias = bias + padding[:, None, None, :]
    return attention(q, k, v, bias)


def proxy_attention(
    q: Float[Array, "B S N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    num_proxy_tokens: int,
    num_frames: int,
) -> Float[Array, "B S N H"]:
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
    heads = q.shape[-2:]

    def by_frame(x):
        return x[:, num_proxy_tokens:].reshape(x.shape[0], num_frames, -1, *heads)

    def with_proxies(x):
        shared = jnp.broadcast_to(x[:, None, proxies], (x.shape[0], num_frames, num_proxy_tokens, *heads))
        return jnp.concatenate([shared, by_frame(x)], axis=2)

    patches = attention(by_frame(q), with_proxies(k), with_proxies(v))
    return jnp.concatenate([attention(q[:, proxies], k, v), patches.reshape(q.shape[0], -1, *heads)], axis=1)
