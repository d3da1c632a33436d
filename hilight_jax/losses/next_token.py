"""Cross entropy of the next token, the language model's loss: of all logits at once, or in chunks of positions.

Gemma scores 256000 entries per token, so that the logits of a batch outweigh everything else in a step. In chunks, only
the logits of some positions of every sample exist at a time. The loss is a sum, so the gradient of a chunk is known as
soon as its logits are, up to one factor: the forward pass keeps the gradients of tokens and table, the backward pass
only scales them, and no product is made twice. A frozen table gets no gradient.

Under a mesh every device works on its own samples. The table's width is gathered once per pass, in the dtype of the
products; its vocabulary stays split over ``tensor``, where only sums and maxima per token are exchanged.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import BATCH_AXES, current_mesh
from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.ops.vectors import at_least_float32

# Split of the table over a mesh: the rule of an embedder in the language model's PARTITION_RULES.
TABLE = PartitionSpec("tensor", "fsdp")
BATCH, WHOLE = PartitionSpec(BATCH_AXES), PartitionSpec()


def next_token(tokens: Float[Array, "B L D"], to_logits: Callable[[Array], Array], labels: Int[Array, "B L"]) -> Mean:
    """Cross entropy of every label given the row before it, as transformers' causal models.

    Args:
      tokens: The language model's rows after the final norm.
      to_logits: From rows ``[B, R, D]`` to logits ``[B, R, vocabulary]``, such as ``Gemma.logits``. Every row but
        the last gets logits, the largest array of a step: B * L * vocabulary numbers.
      labels: The ids of the sequence itself, not shifted; ``IGNORE_ID`` is not learned.

    Returns:
      Sum over the labels that count, and their number; float32 at least.
    """
    targets = labels[:, 1:]
    logits = at_least_float32(to_logits(tokens[:, :-1]))
    counted = targets != IGNORE_ID
    wanted = jnp.take_along_axis(logits, jnp.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    losses = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - wanted, 0)
    return Mean(jnp.sum(losses), next_token_count(labels).astype(losses.dtype))


def next_token_count(labels: Int[Array, "B L"]) -> Float[Array, ""]:
    """The number of labels that ``next_token`` counts: the first of a sequence has no row before it."""
    return jnp.sum(labels[:, 1:] != IGNORE_ID, dtype=jnp.float32)


def learned_rows(
    tokens: Float[Array, "B L D"], labels: Int[Array, "B L"], rows: Int[Array, "B R"]
) -> tuple[Float[Array, "B _ D"], Int[Array, "B _"]]:
    """The rows whose next label is learned, as a sequence that has the same loss.

    Questions and clips are most of a conversation, and their rows need no logits.

    Args:
      tokens: The language model's rows after the final norm.
      labels: As ``next_token`` takes them.
      rows: Numbers of the rows that come before the learned labels, each once; L - 1, the last row, fills them up.

    Returns:
      The R rows and a row of zeros, and R + 1 labels, the first of them ``IGNORE_ID``.
    """
    picked = jnp.take_along_axis(tokens, rows[..., None], axis=1)
    targets = jnp.take_along_axis(_targets(labels), rows, axis=1)
    return (
        jnp.pad(picked, ((0, 0), (0, 1), (0, 0))),
        jnp.pad(targets, ((0, 0), (1, 0)), constant_values=IGNORE_ID),
    )


class Chunk(NamedTuple):
    """The logits of some positions, of all the vocabulary or of a device's share of it, and their targets.

    Attributes:
      logits: [B, chunk, vocabulary], float32 at least.
      targets: [B, chunk], an id, or ``IGNORE_ID``.
      peak: [B, chunk, 1], the largest logit of the whole vocabulary.
      ids: [v], the ids of the logits.
    """

    logits: Float[Array, "B chunk v"]
    targets: Int[Array, "B chunk"]
    peak: Float[Array, "B chunk 1"]
    ids: Array


def next_token_in_chunks(
    tokens: Float[Array, "B L D"],
    table: Float[Array, "v D"],
    labels: Int[Array, "B L"],
    chunk: int,
    dtype: Any,
    unroll: bool = False,
) -> Mean:
    """``next_token`` of the logits that are products of ``tokens`` with every row of ``table``.

    Args:
      tokens: The language model's rows after the final norm.
      table: The language model's embeddings.
      labels: The ids of the sequence itself, not shifted; ``IGNORE_ID`` is not learned.
      chunk: Positions of every sample whose logits exist at a time.
      dtype: Of the factors of all products; they are summed in float32 at least.
      unroll: Write the chunks out one after the other; of a loop, a compiler's cost analysis counts the body once.
    """
    total: Array = _summed(chunk, jnp.dtype(dtype), unroll, tokens, table, _targets(labels))
    return Mean(total, next_token_count(labels).astype(total.dtype))


def likeliest_in_chunks(
    tokens: Float[Array, "B L D"], table: Float[Array, "v D"], labels: Int[Array, "B L"], chunk: int, dtype: Any
) -> Bool[Array, "B next"]:
    """True for each label from the second on that is the likeliest one, or the first of several equally likely."""

    def run(tokens: Array, table: Array, targets: Array) -> Array:
        table = _gathered(table, dtype)

        def step(_: None, part: Chunk, rows: Array) -> tuple[None, Array]:
            del rows
            best = jnp.max(part.logits, axis=2, keepdims=True) == part.peak
            first = part.ids[jnp.argmax(part.logits, axis=2)]
            first = _over_vocabulary(jax.lax.pmin, jnp.where(best[..., 0], first, jnp.iinfo(jnp.int32).max))
            return None, first == part.targets

        return _over_chunks(step, None, tokens.astype(dtype), table, targets, chunk)[1]

    return _on_mesh(run, BATCH)(tokens, table, _targets(labels))[:, : labels.shape[1] - 1]


def _targets(labels: Array) -> Array:
    """The label that each row predicts, [B, L]; the last row predicts none."""
    return jnp.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORE_ID)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _summed(chunk: int, dtype: Any, unroll: bool, tokens: Array, table: Array, targets: Array) -> Array:
    return _run(chunk, dtype, unroll, (False, False), tokens, table, targets)[0]


def _summed_forward(chunk: int, dtype: Any, unroll: bool, tokens: Any, table: Any, targets: Any) -> tuple[Array, tuple]:
    wanted = (tokens.perturbed, table.perturbed)
    return _run(chunk, dtype, unroll, wanted, tokens.value, table.value, targets.value)


def _summed_backward(chunk: int, dtype: Any, unroll: bool, gradients: tuple, cotangent: Array) -> tuple:
    del chunk, dtype, unroll
    return (*(None if x is None else (cotangent * x).astype(x.dtype) for x in gradients), None)


_summed.defvjp(_summed_forward, _summed_backward, symbolic_zeros=True)


def _run(
    chunk: int, dtype: Any, unroll: bool, wanted: tuple[bool, bool], tokens: Array, table: Array, targets: Array
) -> tuple[Array, tuple[Array | None, Array | None]]:
    """The summed cross entropy, and its gradients for tokens and table where they are wanted."""
    wide = jnp.promote_types(dtype, jnp.float32)

    def run(tokens: Array, table: Array, targets: Array) -> tuple:
        rows, whole = tokens.astype(dtype), _gathered(table, dtype)

        def step(for_table: Array | None, part: Chunk, rows: Array) -> tuple:
            exponentials = jnp.exp(part.logits - part.peak)
            total = _over_vocabulary(jax.lax.psum, jnp.sum(exponentials, axis=2, keepdims=True))
            own, counted = part.ids == part.targets[..., None], part.targets[..., None] != IGNORE_ID
            score = _over_vocabulary(jax.lax.psum, jnp.sum(jnp.where(own, part.logits, 0), axis=2, keepdims=True))
            losses = jnp.where(counted, jnp.log(total) + part.peak - score, 0)[..., 0]
            errors = jnp.where(counted, exponentials / total - own, 0).astype(dtype)
            for_rows = None
            if wanted[0]:
                for_rows = jnp.einsum("BLv,vD->BLD", errors, whole, preferred_element_type=wide)
            if wanted[1]:
                for_table += jnp.einsum("BLv,BLD->vD", errors, rows, preferred_element_type=wide)
            return for_table, (losses, for_rows)

        start = _varying(jnp.zeros(whole.shape, wide)) if wanted[1] else None
        for_table, (losses, for_tokens) = _over_chunks(step, start, rows, whole, targets, chunk, unroll)
        total = jnp.sum(losses)
        if current_mesh() is not None:
            total = jax.lax.psum(total, BATCH_AXES)
        if wanted[0]:
            for_tokens = _over_vocabulary(jax.lax.psum, for_tokens).astype(tokens.dtype)
        if wanted[1]:
            for_table = _scattered(for_table).astype(table.dtype)
        return total, (for_tokens, for_table)

    specs = (BATCH if wanted[0] else None, TABLE if wanted[1] else None)
    return _on_mesh(run, (WHOLE, specs))(tokens, table, targets)


def _over_chunks(
    step: Callable, carry: Any, tokens: Array, table: Array, targets: Array, chunk: int, unroll: bool = False
) -> tuple:
    """Scans ``step`` over the chunks; its results per position are joined to [B, L, ...]."""
    length = tokens.shape[1]
    chunk = min(chunk, length)
    wide = jnp.promote_types(tokens.dtype, jnp.float32)
    first = jax.lax.axis_index("tensor") * len(table) if current_mesh() is not None else 0
    ids = first + jnp.arange(len(table), dtype=jnp.int32)

    def cut(x: Array, fill: int) -> Array:
        x = jnp.pad(x, ((0, 0), (0, -length % chunk), *((0, 0),) * (x.ndim - 2)), constant_values=fill)
        return jnp.moveaxis(x.reshape(len(x), -1, chunk, *x.shape[2:]), 1, 0)

    def joined(x: Array) -> Array:
        x = jnp.moveaxis(x, 0, 1)
        return x.reshape(len(x), -1, *x.shape[3:])[:, :length]

    def body(carry: Any, part: tuple[Array, Array]) -> tuple:
        rows, targets = part
        logits = jnp.einsum("BLD,vD->BLv", rows, table, preferred_element_type=wide)
        peak = _over_vocabulary(jax.lax.pmax, jnp.max(logits, axis=2, keepdims=True))
        return step(carry, Chunk(logits, targets, peak, ids), rows)

    carry, results = jax.lax.scan(body, carry, (cut(tokens, 0), cut(targets, IGNORE_ID)), unroll=unroll)
    return carry, jax.tree.map(joined, results)


def _on_mesh(run: Callable, out_specs: Any) -> Callable:
    """``run`` on every device's share of (tokens, table, targets); unchanged without a mesh."""
    if current_mesh() is None:
        return run
    return jax.shard_map(run, in_specs=(BATCH, TABLE, BATCH), out_specs=out_specs)


def _gathered(table: Array, dtype: Any) -> Array:
    """A device's rows of the table in their whole width, cast before they are gathered."""
    table = table.astype(dtype)
    if current_mesh() is None:
        return table
    return jax.lax.all_gather(table, "fsdp", axis=1, tiled=True)


def _scattered(gradient: Array) -> Array:
    """The sum of all devices' gradients of the table, each device keeping its own part of the width."""
    if current_mesh() is None:
        return gradient
    return jax.lax.psum_scatter(jax.lax.psum(gradient, "data"), "fsdp", scatter_dimension=1, tiled=True)


def _varying(x: Array) -> Array:
    """Marks a constant as varying between devices."""
    return x if current_mesh() is None else jax.lax.pcast(x, (*BATCH_AXES, "tensor"), to="varying")


def _over_vocabulary(reduce: Callable, x: Array) -> Array:
    """Reduces over the devices that share a vocabulary."""
    return x if current_mesh() is None else reduce(x, "tensor")
