"""CLIP-ViP's proxy-guided attention as one TPU kernel, for the forward and for the backward pass.

With plain products, the float32 scores of every head and frame are written to memory and read back several times a
layer, and heads of 64 are padded to the TPU's 128 lanes; both bound a train step. Here one program holds a whole clip
for as many heads as fill 128 lanes, and nothing quadratic leaves the chip's fast memory. The backward pass computes the
scores again from queries and keys.

Heads stay side by side in the lanes, as the linear maps leave them. A product for one head masks the others' lanes with
zeros, which costs a systolic array nothing: it is 128 deep anyway.

Letters: B batch, M proxy tokens, F frames, P patches of a frame, S = M + F * P tokens, D width, N heads, H width of one
head.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from hilight_jax.core.mesh import BATCH_AXES, current_mesh

KERNEL = "kernel"  # The name of the result, for policies of what a backward pass keeps.
LANES, TILE = 128, 16
# Rows times lanes are held several times over in the chip's fast memory, and so are a frame's scores: 12
# frames of 256 patches in bfloat16 compile for v5e and v4; 3924 rows do not for either, 2356 in float32 not for v4.
MAX_TOKENS, MAX_PATCHES, MAX_FRAMES = 3080, 256, 32


def suits(num_tokens: int, num_proxies: int, num_frames: int, width: int, head_dim: int, value_bytes: int = 2) -> bool:
    """True if the kernel takes clips of this shape; others are for ``attention.proxy_attention``.

    A single proxy is too few: the compiler (jax 0.10.2) refuses products with one row in bfloat16.
    """
    whole = width % LANES == 0 and LANES % head_dim == 0
    small = num_tokens * value_bytes <= 2 * MAX_TOKENS and num_tokens - num_proxies <= num_frames * MAX_PATCHES
    return whole and num_proxies > 1 and small and num_frames <= MAX_FRAMES


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
    """``attention.proxy_attention`` over tokens with their heads in a row, for shapes that ``suits`` accepts.

    Args:
      q: Queries, ``S = M + F * P`` rows, scaled by ``H ** -0.5`` here.
      k: Keys.
      v: Values.
      num_heads: N.
      num_proxy_tokens: M, the cls token counted.
      num_frames: F.
      interpret: Run as plain operations, on any device.
    """
    _, tokens, width = q.shape
    patches = (tokens - num_proxy_tokens) // num_frames
    run = functools.partial(_attend, _Sizes(width // num_heads, num_proxy_tokens, num_frames, patches), interpret)
    if current_mesh() is None:
        return checkpoint_name(run(q, k, v), KERNEL)
    # A kernel is opaque to the partitioner, which would gather the whole batch for it.
    split = PartitionSpec(BATCH_AXES)
    checked = not interpret  # Pallas' interpreter does not track which of its values differ between devices.
    mixed = jax.shard_map(run, in_specs=split, out_specs=split, check_vma=checked)(q, k, v)
    return checkpoint_name(mixed, KERNEL)


class _Sizes(NamedTuple):
    """The sizes of one clip: H, M, F and P."""

    head_dim: int
    num_proxies: int
    num_frames: int
    num_patches: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(sizes: _Sizes, interpret: bool, q: Array, k: Array, v: Array) -> Array:
    products = 2  # Scores, and values mixed.
    (out,) = _call(_forward_kernel, sizes, interpret, (q, k, v), 1, products)
    return out


def _attend_forward(sizes: _Sizes, interpret: bool, *qkv: Array) -> tuple[Array, tuple[Array, ...]]:
    return _attend(sizes, interpret, *qkv), qkv


def _attend_backward(sizes: _Sizes, interpret: bool, kept: tuple[Array, ...], gradient: Array) -> tuple[Array, ...]:
    products = 5  # Of the size of the scores: they are computed again, three gradients, and that of the weights.
    return _call(_backward_kernel, sizes, interpret, (*kept, gradient), 3, products)


_attend.defvjp(_attend_forward, _attend_backward)


def _call(
    kernel: Callable[..., None],
    sizes: _Sizes,
    interpret: bool,
    operands: tuple[Array, ...],
    num_results: int,
    products: int,
) -> tuple[Array, ...]:
    """Runs a kernel on every clip and group of heads; operands and results are all [B, S, D]."""
    batch, tokens, width = operands[0].shape
    rows = _round_up(tokens)
    block = pl.BlockSpec((1, rows, LANES), lambda b, group: (b, 0, group))
    kind = jax.typeof(operands[0])
    result = jax.ShapeDtypeStruct(kind.shape, kind.dtype, manual_axis_type=kind.manual_axis_type)
    head_dim, num_proxies, num_frames, num_patches = sizes
    pairs = num_proxies * tokens + num_frames * num_patches * (num_proxies + num_patches)
    cost = pl.CostEstimate(  # Model FLOPs: a masked product counts the lanes of its head.
        flops=2 * products * batch * pairs * width,
        bytes_accessed=(len(operands) + num_results) * kind.size * kind.dtype.itemsize,
        transcendentals=batch * (width // head_dim) * pairs,
    )
    accumulators = [pltpu.VMEM((rows, LANES), jnp.float32)] * (num_results - 1)
    return pl.pallas_call(
        functools.partial(kernel, sizes),
        grid=(batch, width // LANES),
        in_specs=[block] * len(operands),
        out_specs=[block] * num_results,
        out_shape=[result] * num_results,
        scratch_shapes=accumulators,
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        interpret=interpret,
    )(*operands)


def _forward_kernel(sizes: _Sizes, q, k, v, out) -> None:
    """One clip, one group of heads; every argument is [1, S, 128], rounded up to whole tiles of rows."""
    head_dim, num_proxies, num_frames, num_patches = sizes
    scale, num_tokens = head_dim**-0.5, num_proxies + num_frames * num_patches

    def attend(queries: Array, keys: list[Array], values: list[Array]) -> Array:
        queries = queries * scale

        def head(index, total):
            mask = _head(index, head_dim, out.dtype)
            weights = _softmax([_rows_by_rows(queries * mask, part) for part in keys])
            mixed = sum(_mix(w.astype(out.dtype), part) for w, part in zip(weights, values, strict=True))
            return total + mixed * mask

        return jax.lax.fori_loop(0, LANES // head_dim, head, jnp.zeros(queries.shape, _wide(out.dtype)))

    proxies, everything = slice(0, num_proxies), slice(0, num_tokens)
    first = attend(q[0, proxies], [k[0, everything]], [v[0, everything]])
    out[0, proxies] = first.astype(out.dtype)
    near_k, near_v = k[0, proxies], v[0, proxies]

    def window(index, carry):
        rows, frames, rest = _window(index, sizes)
        q_rows, k_rows, v_rows = q[0, rows], k[0, rows], v[0, rows]
        done = out[0, rows][:num_proxies].astype(_wide(out.dtype))
        results = [attend(q_rows[f], [near_k, k_rows[f]], [near_v, v_rows[f]]) for f in frames]
        out[0, rows] = _rows(done, results, rest).astype(out.dtype)
        return carry

    jax.lax.fori_loop(0, num_frames // _frames_at_once(num_frames, num_patches), window, 0)


def _backward_kernel(sizes: _Sizes, q, k, v, gradient, dq, dk, dv, sum_k, sum_v) -> None:
    """The gradients of one clip and group of heads; ``sum_k`` and ``sum_v`` are float32 [S, 128]."""
    head_dim, num_proxies, num_frames, num_patches = sizes
    scale, dtype, num_tokens = head_dim**-0.5, q.dtype, num_proxies + num_frames * num_patches

    def one_head(index, queries, out, keys, values):
        """One head's gradients of scaled queries, and of every part of keys and of values."""
        mask = _head(index, head_dim, dtype)
        own, out_own = queries * mask, out * mask
        weights = _softmax([_rows_by_rows(own, part) for part in keys])
        to_weights = [_rows_by_rows(out_own, part) for part in values]
        mean = sum(jnp.sum(w * d, axis=1, keepdims=True) for w, d in zip(weights, to_weights, strict=True))
        scores = [(w * (d - mean)).astype(dtype) for w, d in zip(weights, to_weights, strict=True)]
        to_q = sum(_mix(s, part) for s, part in zip(scores, keys, strict=True)) * mask
        to_k = [_columns_by_rows(s, own) for s in scores]
        return to_q, to_k, [_columns_by_rows(w.astype(dtype), out_own) for w in weights]

    def attend(queries, out, keys, values):
        def head(index, totals):
            return jax.tree.map(jnp.add, totals, one_head(index, queries * scale, out, keys, values))

        def zeros(parts):
            return [jnp.zeros(part.shape, _wide(dtype)) for part in parts]

        start = zeros([queries])[0], zeros(keys), zeros(values)
        to_q, to_k, to_v = jax.lax.fori_loop(0, LANES // head_dim, head, start)
        return to_q * scale, to_k, to_v

    proxies, everything = slice(0, num_proxies), slice(0, num_tokens)
    sum_k[...] = jnp.zeros(sum_k.shape, sum_k.dtype)
    sum_v[...] = jnp.zeros(sum_v.shape, sum_v.dtype)

    def proxy_head(index, total):
        queries, out = q[0, proxies] * scale, gradient[0, proxies]
        to_q, (to_k,), (to_v,) = one_head(index, queries, out, [k[0, everything]], [v[0, everything]])
        sum_k[everything] += to_k
        sum_v[everything] += to_v
        return total + to_q

    to_q = jax.lax.fori_loop(0, LANES // head_dim, proxy_head, jnp.zeros((num_proxies, LANES), _wide(dtype)))
    dq[0, proxies] = (to_q * scale).astype(dtype)
    near_k, near_v = k[0, proxies], v[0, proxies]

    def window(index, carry):
        rows, frames, rest = _window(index, sizes)
        q_rows, k_rows, v_rows, g_rows = q[0, rows], k[0, rows], v[0, rows], gradient[0, rows]
        done = dq[0, rows][:num_proxies].astype(_wide(dtype))
        results = [attend(q_rows[f], g_rows[f], [near_k, k_rows[f]], [near_v, v_rows[f]]) for f in frames]
        dq[0, rows] = _rows(done, [to_q for to_q, _, _ in results], rest).astype(dtype)
        none = jnp.zeros(done.shape, done.dtype)
        sum_k[rows] += _rows(none, [to_k[1] for _, to_k, _ in results], rest)
        sum_v[rows] += _rows(none, [to_v[1] for _, _, to_v in results], rest)
        near_k_sum, near_v_sum = carry
        return near_k_sum + sum(to_k[0] for _, to_k, _ in results), near_v_sum + sum(to_v[0] for _, _, to_v in results)

    start = jnp.zeros(near_k.shape, _wide(dtype))
    turns = num_frames // _frames_at_once(num_frames, num_patches)
    near_k_sum, near_v_sum = jax.lax.fori_loop(0, turns, window, (start, start))
    sum_k[proxies] += near_k_sum
    sum_v[proxies] += near_v_sum
    dk[0], dv[0] = sum_k[...].astype(dtype), sum_v[...].astype(dtype)


def _frames_at_once(num_frames: int, num_patches: int) -> int:
    """The fewest frames that fill whole tiles of rows; all frames if that number does not divide the clip."""
    count = TILE // math.gcd(TILE, num_patches)
    return count if num_frames % count == 0 else num_frames


def _window(index, sizes: _Sizes):
    """A window of whole tiles around some frames: its rows, the rows of each frame in it, the number of rows left."""
    _, num_proxies, num_frames, num_patches = sizes
    at_once = _frames_at_once(num_frames, num_patches)
    stride, size = at_once * num_patches, _round_up(num_proxies + at_once * num_patches)
    start = 0 if at_once == num_frames else pl.multiple_of(index * stride, TILE)
    frames = [slice(num_proxies + f * num_patches, num_proxies + (f + 1) * num_patches) for f in range(at_once)]
    return pl.ds(start, size), frames, size - num_proxies - stride


def _rows(first: Array, parts: list[Array], rest: int) -> Array:
    """Stacks rows, and ``rest`` of zeros behind them."""
    tail = [jnp.zeros((rest, LANES), first.dtype)] if rest else []
    return jnp.concatenate([first, *parts, *tail])


def _round_up(rows: int) -> int:
    return -(-rows // TILE) * TILE


def _wide(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def _head(index: Array, head_dim: int, dtype: jnp.dtype) -> Array:
    """A row [1, 128], 1 where a head's lanes are."""
    lanes = jax.lax.broadcasted_iota(jnp.int32, (1, LANES), 1)
    return ((lanes >= index * head_dim) & (lanes < (index + 1) * head_dim)).astype(jnp.float32).astype(dtype)


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
