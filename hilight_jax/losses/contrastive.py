"""Contrastive losses over the global batch: every device compares its own rows with the rows of all devices.

``nce`` and ``nce_vsc_fc`` are those of CLIP-ViP (XPretrain, CLIP-ViP/src/optimization/loss.py), ``smoothed`` is that of
Long-CLIP. CLIP-ViP sums the directions of a loss, where ``clip_loss`` of CLIP averages them. All learn the scale as its
logarithm. One device is a mesh of one.

Swaps, false captions of a clip that tell the same of other balls, join the candidates of that clip's video in ``nce``.
Other clips do not meet them, so they stay on their device. They have no weight of their own: a softmax bounds the pull
of each by the probability that it takes, and their number sets their share. One that cannot be told from the caption
takes at most half of it.

Each kind of embeddings is gathered once, and both directions of a loss read the gathered arrays: a device compares its
texts with all videos and its videos with all texts, so that no logits are communicated. In the backward pass the gather
becomes one sum that leaves every device the gradients of its own rows.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import BATCH_AXES, batch_shards
from hilight_jax.ops.vectors import PRECISION, at_least_float32

Embeds = Mapping[str, Array]
# (rows of this device, gathered rows, mask of each row's own pair [rows, B], scale) -> the loss of each row.
PerRow = Callable[[Embeds, Embeds, Array, Array], Array]


def contrastive_loss(
    per_row: PerRow,
    embeds: Mapping[str, Float[Array, "B E"]],
    log_scale: Float[Array, ""],
    mesh: Mesh,
    chunk: int = 0,
    swaps: tuple[Float[Array, "B swaps E"], Bool[Array, "B swaps"]] | None = None,
) -> Mean:
    """The sum of a loss over the global batch, and the batch size; replicated.

    Args:
      per_row: The loss: ``nce``, ``nce_vsc_fc``, ``smoothed`` or another function of the same arguments.
      embeds: Its embeddings by name, unit vectors, each split over the mesh's batch axes.
      log_scale: Logarithm of the inverse temperature, replicated.
      mesh: The mesh of ``core.mesh``.
      chunk: Rows of a device whose logits exist at a time; they are computed again for the gradient. 0 keeps all.
      swaps: Embeddings of each clip's own false captions, unit vectors, and True for those that there are; ``per_row``
        finds them as ``swaps`` and ``swap_mask`` among its rows. They are not gathered.

    Raises:
      ConfigError: At trace time, when the devices do not divide the batch.
    """
    size = len(next(iter(embeds.values())))
    if size % batch_shards(mesh):
        raise ConfigError(
            f"a batch of {size} clips does not divide over {batch_shards(mesh)} devices; use a multiple of "
            f"{batch_shards(mesh)}."
        )

    def summed(rows: Embeds, log_scale: Array) -> Array:
        gathered = {name: jax.lax.all_gather(rows[name], BATCH_AXES, tiled=True) for name in embeds}
        local = size // batch_shards(mesh)
        number = jax.lax.axis_index(BATCH_AXES) * local + jnp.arange(local)
        scale = jnp.exp(log_scale)

        def losses(rows: Embeds, number: Array) -> Array:
            own = number[:, None] == jnp.arange(size)
            return jnp.where(number < 0, 0, per_row(rows, gathered, own, scale))

        if 0 < chunk < local:
            chunks = (jax.tree.map(lambda x: _cut(x, chunk, 0), dict(rows)), _cut(number, chunk, -1))
            again = jax.checkpoint(losses, prevent_cse=False)  # The loop already keeps the two passes apart.
            found = jax.lax.map(lambda part: again(*part), chunks)
        else:
            found = losses(rows, number)
        return jax.lax.psum(jnp.sum(found), BATCH_AXES)

    split, whole = PartitionSpec(BATCH_AXES), PartitionSpec()
    run = jax.shard_map(summed, mesh=mesh, in_specs=(split, whole), out_specs=whole)
    rows = {name: at_least_float32(x) for name, x in embeds.items()}
    if swaps is not None:
        rows |= {"swaps": at_least_float32(swaps[0]), "swap_mask": swaps[1]}
    total = run(rows, at_least_float32(log_scale))
    return Mean(total, jnp.asarray(size, total.dtype))


def nce(rows: Embeds, gathered: Embeds, own: Bool[Array, "rows B"], scale: Float[Array, ""]) -> Array:
    """``NCELearnableTempLoss``, the fine-tuning loss: cross entropy ``video`` to ``text`` and back, summed.

    With ``swaps`` a video has its own false captions among its candidates.
    """
    to_text = _logits(rows["video"], gathered["text"], scale)
    to_video = _logits(rows["text"], gathered["video"], scale)
    false = None
    if "swaps" in rows:
        logits = jnp.sum(rows["video"][:, None] * rows["swaps"], axis=-1) * scale
        false = jnp.where(rows["swap_mask"], logits, -jnp.inf)
    return _cross_entropies(to_text, own, false) + _cross_entropies(to_video, own)


def nce_vsc_fc(rows: Embeds, gathered: Embeds, own: Bool[Array, "rows B"], scale: Float[Array, ""]) -> Array:
    """``NCELearnableTempLoss_vsc_fc``, the pretraining loss: a video, its subtitle, one frame and that frame's caption.

    Six cross entropies: ``subtitle`` to ``video``, ``caption`` to video, video to subtitle, video to caption, ``frame``
    to caption, caption to frame. The two that start from the video share their negatives: each has its own positive
    against every other clip's subtitle *and* caption, 1 + 2 (B - 1) candidates.
    """

    def between(query: str, key: str) -> Array:
        return _logits(rows[query], gathered[key], scale)

    subtitles, captions = between("video", "subtitle"), between("video", "caption")
    other_subtitles, other_captions = (jnp.where(own, -jnp.inf, x) for x in (subtitles, captions))
    from_video = _cross_entropies(subtitles, own, other_captions) + _cross_entropies(captions, own, other_subtitles)
    pairs = (("subtitle", "video"), ("caption", "video"), ("frame", "caption"), ("caption", "frame"))
    return from_video + sum(_cross_entropies(between(*pair), own) for pair in pairs)


def smoothed(
    rows: Embeds, gathered: Embeds, own: Bool[Array, "rows B"], scale: Float[Array, ""], *, smoothing: float
) -> Array:
    """Long-CLIP's: the mean of both directions' cross entropies of ``image`` and ``text``, with smoothed labels."""

    def cross_entropies(logits: Array) -> Array:
        target = (1 - smoothing) * _positive(logits, own) + smoothing * jnp.mean(logits, axis=1)
        return jax.nn.logsumexp(logits, axis=1) - target

    to_text = _logits(rows["image"], gathered["text"], scale)
    to_image = _logits(rows["text"], gathered["image"], scale)
    return (cross_entropies(to_text) + cross_entropies(to_image)) / 2


LOSSES: dict[str, PerRow] = {"nce": nce, "nce_vsc_fc": nce_vsc_fc}


def clamp_log_scale(log_scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Projects a log scale into [0, ln 200]; CLIP-ViP's loop does so to the parameter before every forward pass."""
    return jnp.clip(log_scale, 0, math.log(200))


def _logits(queries: Float[Array, "rows E"], keys: Float[Array, "B E"], scale: Float[Array, ""]) -> Array:
    """Scaled dot products."""
    return jnp.matmul(queries, keys.T, precision=PRECISION) * scale


def _cross_entropies(logits: Array, own: Array, more_negatives: Array | None = None) -> Array:
    """Cross entropy of every row against its own column; finite logits of ``more_negatives`` join the candidates."""
    candidates = logits if more_negatives is None else jnp.concatenate([logits, more_negatives], axis=1)
    return jax.nn.logsumexp(candidates, axis=1) - _positive(logits, own)


def _positive(logits: Array, own: Array) -> Array:
    return jnp.sum(jnp.where(own, logits, 0), axis=1)


def _cut(x: Array, size: int, fill: int) -> Array:
    """Cuts the leading axis into runs of ``size``, the last one filled up."""
    x = jnp.pad(x, ((0, -len(x) % size), *((0, 0),) * (x.ndim - 1)), constant_values=fill)
    return x.reshape(-1, size, *x.shape[1:])
