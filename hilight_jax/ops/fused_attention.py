"""CLIP-ViP's proxy-guided attention as one TPU kernel, for the forward and for the backward pass.

Written with plain products, the scores of every head and frame go out to memory and back, in float32, several times a
layer, and heads of 64 are padded to the TPU's 128 lanes: that is what bounds a train step. Here one program holds a
whole clip for as many heads as fill 128 lanes, and nothing quadratic ever leaves the chip's fast memory. The backward
pass computes the scores again from queries and keys.

Heads stay side by side in the lanes, as the linear maps leave them. A product for one head masks the others' lanes with
zeros, which costs a systolic array nothing: it is 128 deep anyway. Letters: core/shapes.py.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from hilight_jax.core.ambient import ambient_mesh
from hilight_jax.core.mesh import BATCH_AXES

LANES = 128
# Rows times lanes are held several times over in the chip's fast memory; frames are written out one after the other.
MAX_TOKENS, MAX_FRAMES = 6144, 32


def suits(num_tokens: int, num_frames: int, width: int, head_dim: int) -> bool:
    """Whether the kernel takes clips of this shape; others are for ``attention.proxy_attention``."""
    whole = width % LANES == 0 and LANES % head_dim == 0
    return whole and num_tokens <= MAX_TOKENS and num_frames <= MAX_FRAMES


def fused_proxy_attention(
    q: Float[Array, "B S D"],
    k: Float[Array, "B S D"],
    v: Float[Array, "B S D"],
    *,
    num_heads: int,
    num_proxy_tokens: int,
    num_frames: int,
    interpret: bool = False,
) -> Float[Array, "B S D"]:
    """``attention.proxy_attention`` over tokens whose heads are not taken apart; ``suits`` says for which shapes.

    Args:
      q: Queries, ``S = M + F * P`` rows, scaled by ``H ** -0.5`` here.
      k: Keys.
      v: Values.
      num_heads: N.
      num_proxy_tokens: M, the cls token counted.
      num_frames: F.
      interpret: Run as plain operations, on any device.
    """
    run = functools.partial(_attend, num_heads, num_proxy_tokens, num_frames, interpret)
    mesh = ambient_mesh()
    if mesh is None:
        return run(q, k, v)
    # A kernel is opaque to the partitioner, which would gather the whole batch for it.
    split = PartitionSpec(BATCH_AXES)
    checked = not interpret  # Pallas' interpreter does not know which of its values differ between devices.
    return jax.shard_map(run, in_specs=(split, split, split), out_specs=split, check_vma=checked)(q, k, v)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _attend(num_heads: int, num_proxies: int, num_frames: int, interpret: bool, q: Array, k: Array, v: Array) -> Array:
    body = functools.partial(_forward_kernel, *_sizes(q, num_heads, num_proxies, num_frames))
    products = 2  # Scores, and values mixed.
    (out,) = _call(body, (q, k, v), 1, products, num_heads, num_proxies, num_frames, interpret)
    return out


def _attend_forward(
    num_heads: int, num_proxies: int, num_frames: int, interpret: bool, q: Array, k: Array, v: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    return _attend(num_heads, num_proxies, num_frames, interpret, q, k, v), (q, k, v)


def _attend_backward(
    num_heads: int, num_proxies: int, num_frames: int, interpret: bool, kept: tuple[Array, ...], gradient: Array
) -> tuple[Array, ...]:
    body = functools.partial(_backward_kernel, *_sizes(kept[0], num_heads, num_proxies, num_frames))
    products = 5  # Of the size of the scores: they are computed again, three gradients, and that of the weights.
    return _call(body, (*kept, gradient), 3, products, num_heads, num_proxies, num_frames, interpret)


_attend.defvjp(_attend_forward, _attend_backward)


def _sizes(q: Array, num_heads: int, num_proxies: int, num_frames: int) -> tuple[int, int, int, int]:
    """Head dim, M, F, P."""
    return q.shape[2] // num_heads, num_proxies, num_frames, (q.shape[1] - num_proxies) // num_frames


def _call(
    body: functools.partial,
    operands: tuple[Array, ...],
    num_results: int,
    products: int,
    num_heads: int,
    num_proxies: int,
    num_frames: int,
    interpret: bool,
) -> tuple[Array, ...]:
    """Runs a kernel on every clip and group of heads; operands and results are all [B, S, D]."""
    batch, tokens, width = operands[0].shape
    block = pl.BlockSpec((1, tokens, LANES), lambda b, group: (b, 0, group))
    kind = jax.typeof(operands[0])
    result = jax.ShapeDtypeStruct(kind.shape, kind.dtype, manual_axis_type=kind.manual_axis_type)
    patches = (tokens - num_proxies) // num_frames
    pairs = num_proxies * tokens + num_frames * patches * (num_proxies + patches)
    cost = pl.CostEstimate(  # Model FLOPs: a masked product counts the lanes of its head.
        flops=2 * products * batch * pairs * width,
        bytes_accessed=(len(operands) + num_results) * kind.size * kind.dtype.itemsize,
        transcendentals=batch * num_heads * pairs,
    )
    accumulators = [pltpu.VMEM((tokens, LANES), jnp.float32)] * (num_results - 1)
    return pl.pallas_call(
        body,
        grid=(batch, width // LANES),
        in_specs=[block] * len(operands),
        out_specs=[block] * num_results,
        out_shape=[result] * num_results,
        scratch_shapes=accumulators,
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        interpret=interpret,
    )(*operands)


def _forward_kernel(head_dim: int, num_proxies: int, num_frames: int, num_patches: int, q, k, v, out) -> None:
    """One clip, one group of heads; every argument is [1, S, 128]."""
    proxies, scale = slice(0, num_proxies), head_dim**-0.5
    kept = _heads(head_dim, out.dtype)

    def attend(rows: slice, keys: tuple[slice, ...]) -> None:
        queries = q[0, rows] * scale
        total = 0.0
        for mask in kept:
            weights = _softmax([_rows_by_rows(queries * mask, k[0, part]) for part in keys])
            mixed = sum(_mix(w.astype(v.dtype), v[0, part]) for w, part in zip(weights, keys, strict=True))
            total += mixed * mask
        out[0, rows] = total.astype(out.dtype)

    attend(proxies, (slice(None),))
    for rows in _frames(num_proxies, num_frames, num_patches):
        attend(rows, (proxies, rows))


def _backward_kernel(
    head_dim: int, num_proxies: int, num_frames: int, num_patches: int, q, k, v, gradient, dq, dk, dv, sum_k, sum_v
) -> None:
    """The gradients of one clip and group of heads; ``sum_k`` and ``sum_v`` are float32 [S, 128]."""
    proxies, scale = slice(0, num_proxies), head_dim**-0.5
    kept, dtype = _heads(head_dim, q.dtype), q.dtype
    sum_k[...] = jnp.zeros(sum_k.shape, sum_k.dtype)
    sum_v[...] = jnp.zeros(sum_v.shape, sum_v.dtype)

    def attend(rows: slice, keys: tuple[slice, ...]) -> None:
        queries, out = q[0, rows] * scale, gradient[0, rows]
        total = 0.0
        for mask in kept:
            own, out_own = queries * mask, out * mask
            weights = _softmax([_rows_by_rows(own, k[0, part]) for part in keys])
            to_weights = [_rows_by_rows(out_own, v[0, part]) for part in keys]
            mean = sum(jnp.sum(w * d, axis=1, keepdims=True) for w, d in zip(weights, to_weights, strict=True))
            for w, d, part in zip(weights, to_weights, keys, strict=True):
                scores = (w * (d - mean)).astype(dtype)
                total += _mix(scores, k[0, part]) * mask
                sum_k[part] += _columns_by_rows(scores, own)
                sum_v[part] += _columns_by_rows(w.astype(dtype), out_own)
        dq[0, rows] = (total * scale).astype(dtype)

    attend(proxies, (slice(None),))
    for rows in _frames(num_proxies, num_frames, num_patches):
        attend(rows, (proxies, rows))
    dk[0], dv[0] = sum_k[...].astype(dtype), sum_v[...].astype(dtype)


def _frames(num_proxies: int, num_frames: int, num_patches: int) -> list[slice]:
    """The rows of every frame's patches."""
    starts = range(num_proxies, num_proxies + num_frames * num_patches, num_patches)
    return [slice(start, start + num_patches) for start in starts]


def _heads(head_dim: int, dtype: jnp.dtype) -> list[Array]:
    """For every head of a group a row [1, 128], 1 where its lanes are."""
    lanes = jax.lax.broadcasted_iota(jnp.int32, (1, LANES), 1)
    starts = range(0, LANES, head_dim)
    return [((lanes >= start) & (lanes < start + head_dim)).astype(dtype) for start in starts]


def _softmax(parts: list[Array]) -> list[Array]:
    """Softmax over the columns of all parts together, float32."""
    largest = functools.reduce(jnp.maximum, [jnp.max(part, axis=1, keepdims=True) for part in parts])
    parts = [jnp.exp(part - largest) for part in parts]
    total = sum(jnp.sum(part, axis=1, keepdims=True) for part in parts)
    return [part / total for part in parts]


def _rows_by_rows(left: Array, right: Array) -> Array:
    """``left @ right.T``, float32."""
    return _product(left, right, 1, 1)


def _mix(weights: Array, rows: Array) -> Array:
    """``weights @ rows``, float32."""
    return _product(weights, rows, 1, 0)


def _columns_by_rows(left: Array, right: Array) -> Array:
    """``left.T @ right``, float32."""
    return _product(left, right, 0, 0)


def _product(left: Array, right: Array, axis_left: int, axis_right: int) -> Array:
    axes = (((axis_left,), (axis_right,)), ((), ()))
    return jax.lax.dot_general(left, right, axes, preferred_element_type=jnp.promote_types(left.dtype, jnp.float32))
