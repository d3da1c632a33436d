"""Attention and rotary positions as pure functions of queries, keys and values.

Heads of the CLIP towers come before tokens (``[B, N, S, H]``): their products are then plain batched matrix products,
which a CPU runs without copying. Scores and softmax are float32 at least.

Letters: B batch, L queries, S keys or tokens, N heads, K key and value heads, G query heads per key head, H width of
one head, D width of all heads; M proxy tokens, F frames, P patches of a frame.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def over_heads(attend: Callable[..., Array], num_heads: int) -> Callable[..., Array]:
    """Wraps ``attend``, a function of [B, N, S, H], to take and return tokens [B, S, D] with their heads in a row."""

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


def grouped_attention(
    q: Float[Array, "B L N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    visible: Bool[Array, "B L S"],
) -> tuple[Float[Array, "B L N H"], Float[Array, "B N L S"]]:
    """Softmax attention of L queries over S keys; query head n reads key head ``n // (N / K)`` (arXiv 2305.13245).

    A key that is not visible gets the smallest finite score, as in the original: its weight is exactly 0 wherever the
    query sees any key, and a query that sees none (a padding row) attends evenly instead of becoming NaN.

    Args:
      q: Queries; scaled by ``H ** -0.5`` here.
      k: Keys.
      v: Values.
      visible: True for the keys that a query may see.

    Returns:
      The mixed values, and the weights (float32 at least).
    """
    batch, length, heads, head_dim = q.shape
    kv_heads = k.shape[2]
    precise = jnp.promote_types(q.dtype, jnp.float32)
    q = (q * head_dim**-0.5).reshape(batch, length, kv_heads, -1, head_dim).transpose(0, 2, 3, 1, 4)
    k, v = k.swapaxes(1, 2), v.swapaxes(1, 2)
    queries = q.reshape(batch, kv_heads, -1, head_dim)  # G * L of a key head: one product, not copied on a CPU.
    scores = jnp.einsum("BKLH,BKSH->BKLS", queries, k, preferred_element_type=precise).reshape(*q.shape[:4], -1)
    scores = jnp.where(visible[:, None, None], scores, jnp.finfo(precise).min)
    shares = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    total = jnp.sum(shares, axis=-1, keepdims=True)  # Divides the H values of a query and not its S weights.
    rows = shares.astype(v.dtype).reshape(*queries.shape[:3], -1)
    out = jnp.einsum("BKLS,BKSH->BKLH", rows, v, preferred_element_type=precise).reshape(q.shape) / total
    out = out.astype(v.dtype).transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, head_dim)
    return out, (shares / total).reshape(batch, heads, length, -1)


def causal_visibility(key_mask: Bool[Array, "B S"], first_slot: Array | int, length: int) -> Bool[Array, "B L S"]:
    """True where a query sees a key slot: a real one at or before its own.

    Args:
      key_mask: True for slots that hold a real token.
      first_slot: Slot of the first query, an integer scalar; the others follow it.
      length: L, number of queries.
    """
    slots = jnp.arange(key_mask.shape[-1])
    queries = first_slot + jnp.arange(length)
    return key_mask[:, None, :] & (slots[None, None, :] <= queries[None, :, None])


def rotary(x: Float[Array, "B L N H"], positions: Int[Array, "B L"], base: float) -> Float[Array, "B L N H"]:
    """Turns channel pairs ``(i, i + H/2)`` of every head by ``position * base ** (-2i / H)`` (arXiv 2104.09864).

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
