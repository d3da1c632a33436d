"""The local loss of a training step: SPARC, the contrast across clips or both, summed over the tapped levels.

The loss runs under ``jax.shard_map``: every device works on its own clips and only scalar sums are exchanged. Sums and
counts stay apart until the very end, because a mean of per-device means is wrong as soon as captions differ in length.

A query is a token, or the mean of the tokens that name one thing. "The red 3-ball ... the red ball" are eight tokens
about one thing; "ball" alone tells no clip from another, and every one of the eight costs as much as the thing itself.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import BATCH_AXES, batch_shards
from hilight_jax.losses.across_clips import across_clips_loss
from hilight_jax.losses.sparc import MinMaxOver, Reduction, Sparsity, sparc_loss


@dataclasses.dataclass(frozen=True)
class LocalLossConfig:
    """The contrasts of the local loss and their options.

    Attributes:
      contrast: ``within_clip`` is SPARC as published, ``across_clips`` compares a word's evidence in its own clip with
        that in the other clips of its group, ``both`` adds them up.
      reduction: Of ``within_clip``: a mean over all ``token``s of the batch, or per ``sample`` first.
      minmax_over: Of ``within_clip``: similarities are scaled over the whole ``clip`` or within each ``frame``.
      threshold: Of ``within_clip``: a token drops patches whose similarity, scaled to 0 to 1, is below so many times
        1 / (F * P), the paper's 1; 0 drops none.
      top_patches: Of ``within_clip``: a token keeps so many patches instead; 0 goes by the threshold.
      group_size: Of ``across_clips``: consecutive clips of the global batch that are contrasted with each other.
      sharpness: Of ``across_clips``: inverse temperature of the softmax over patches.
      queries: ``tokens``, or ``objects``: the tokens of a caption that name the same known thing become one query.
      within_weight: Weight of ``within_clip`` beside ``across_clips`` under ``both``.
      mask_false_negatives: Of ``across_clips``: a clip that shows the object that a token names is no negative of it.
      shard_patches: Split the frames of a clip over the mesh axis ``tensor``, for clips too long for one device; the
        loss is the same.
    """

    contrast: Literal["none", "within_clip", "across_clips", "both"] = "within_clip"
    reduction: Reduction = "token"
    minmax_over: MinMaxOver = "clip"
    threshold: float = 1.0
    top_patches: int = 0
    group_size: int = 32
    sharpness: float = 10.0
    queries: Literal["tokens", "objects"] = "tokens"
    within_weight: float = 1.0
    mask_false_negatives: bool = False
    shard_patches: bool = False

    def __post_init__(self):
        """Refuses values out of range and options that the chosen contrast would ignore."""
        if self.group_size < 2:
            raise ConfigError(
                f"loss.local.group_size is {self.group_size}, but a clip needs another to differ from: use 2 or more."
            )
        check(self, "loss.local.", lambda x: x >= 0, "at least 0", "within_weight", "threshold", "top_patches")
        check(self, "loss.local.", lambda x: x > 0, "greater than 0; 10 is usual", "sharpness")
        if self.within_weight != 1.0 and self.contrast != "both":
            raise ConfigError(
                f"loss.local.within_weight is {self.within_weight}, but contrast '{self.contrast}' does not read it; "
                f"use contrast 'both', or leave it at 1."
            )
        if self.mask_false_negatives and not self.across_clips:
            raise ConfigError(
                f"loss.local.mask_false_negatives is set, but contrast '{self.contrast}' has no negatives in other "
                f"clips; use contrast 'across_clips' or 'both', or unset it."
            )
        for name, default in (("reduction", "token"), ("minmax_over", "clip"), ("threshold", 1.0), ("top_patches", 0)):
            if getattr(self, name) != default and not self.within_clip:
                raise ConfigError(
                    f"loss.local.{name} is {getattr(self, name)!r}, but contrast '{self.contrast}' does not read it; "
                    f"use contrast 'within_clip' or 'both', or leave it at {default!r}."
                )
        if self.top_patches and (self.threshold != 1.0 or self.shard_patches):
            other = "loss.local.threshold" if self.threshold != 1.0 else "loss.local.shard_patches"
            raise ConfigError(
                f"loss.local.top_patches is {self.top_patches}, which cannot be used with {other}; set one of the two."
            )

    @property
    def within_clip(self) -> bool:
        """True when the words of a clip are contrasted with each other."""
        return self.contrast in ("within_clip", "both")

    @property
    def across_clips(self) -> bool:
        """True when the clips of a group are contrasted with each other."""
        return self.contrast in ("across_clips", "both")


def local_loss(
    config: LocalLossConfig,
    video_local: Sequence[Float[Array, "B F P E"]],
    text_local: Sequence[Float[Array, "B L E"]],
    level_weights: Sequence[float],
    batch: Mapping[str, Array],
    log_scale: Float[Array, ""],
    mesh: Mesh,
) -> dict[str, Mean]:
    """The named terms of the local loss, replicated scalars.

    The loss is the sum over terms of ``term_weights(config)[name] * sum / count``. A term's sum runs over the levels
    with their weights; its count is that of a single level, for all levels share the masks.

    Args:
      config: The contrasts.
      video_local: Patch vectors per tapped level, split over the mesh's batch axes.
      text_local: Token vectors per tapped level, likewise.
      level_weights: Weight of each level.
      batch: ``local_mask`` [B, L]; with ``queries='objects'`` also ``token_object`` [B, L]; with
        ``mask_false_negatives`` also ``clip_objects`` [B, O].
      log_scale: Logarithm of the inverse temperature, replicated.
      mesh: The mesh of ``core.mesh``.

    Raises:
      ConfigError: At trace time, when batch, groups and devices do not divide or levels do not pair up.
    """
    if config.contrast == "none":
        return {}
    masks = {"mask": _query_mask(config, batch)}
    if config.mask_false_negatives:
        masks |= {"token_object": batch["token_object"], "clip_objects": batch["clip_objects"]}
    if config.queries == "objects":
        text_local = [pool_objects(level, batch["local_mask"], batch["token_object"]) for level in text_local]
    frames_axis = "tensor" if config.shard_patches else None
    _check_sizes(config, video_local, len(text_local), len(level_weights), len(masks["mask"]), mesh)

    def sums(video_local, text_local, masks, log_scale):
        pairs = zip(video_local, text_local, strict=True)
        levels = [_level_terms(config, *pair, masks, log_scale, frames_axis) for pair in pairs]
        means = {}
        for name, last in levels[-1].items():
            weighted = sum(weight * level[name].sum for weight, level in zip(level_weights, levels, strict=True))
            means[name] = Mean(weighted, last.count)
        return jax.lax.psum(means, BATCH_AXES)

    split, whole = PartitionSpec(BATCH_AXES), PartitionSpec()
    frames = PartitionSpec(BATCH_AXES, frames_axis)
    run = jax.shard_map(sums, mesh=mesh, in_specs=(frames, split, split, whole), out_specs=whole)
    return run(tuple(video_local), tuple(text_local), masks, log_scale)


def local_counts(config: LocalLossConfig, batch: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
    """The counts of ``local_loss`` from the batch's masks alone.

    Micro-batches divide by these counts of the whole batch, so gradient accumulation is exact.
    """
    mask = _query_mask(config, batch)
    tokens = jnp.sum(mask, dtype=jnp.float32)
    captions = jnp.sum(jnp.any(mask, axis=1), dtype=jnp.float32)
    within_clip = tokens if config.reduction == "token" else captions
    counts = {"within_clip": within_clip, "across_tokens": tokens, "across_captions": captions}
    return {name: counts[name] for name in term_weights(config)}


def term_weights(config: LocalLossConfig) -> dict[str, float]:
    """Weight of every term in the local loss: ``within_weight`` for SPARC, one half for each direction across clips."""
    weights = {"within_clip": config.within_weight} if config.within_clip else {}
    return weights | ({"across_tokens": 0.5, "across_captions": 0.5} if config.across_clips else {})


def first_tokens(mask: Bool[Array, "B L"], token_object: Int[Array, "B L"]) -> Bool[Array, "B L"]:
    """The tokens that take part, except those that repeat a thing which an earlier one of their caption names."""
    same = _same(mask, token_object)
    return mask & (jnp.argmax(same, axis=2) == jnp.arange(mask.shape[1]))


def pool_objects(
    text_local: Float[Array, "B L E"], mask: Bool[Array, "B L"], token_object: Int[Array, "B L"]
) -> Float[Array, "B L E"]:
    """Replaces every token that takes part by the mean of all that name the same thing; the others stay."""
    same = _same(mask, token_object).astype(text_local.dtype)
    return jnp.einsum("BLS,BSE->BLE", same / jnp.sum(same, axis=2, keepdims=True), text_local)


def _same(mask: Array, token_object: Array) -> Array:
    """True where two tokens of a caption name the same known thing, [B, L, L]; every token is the same as itself."""
    known = mask & (token_object != 0)
    same = (token_object[:, :, None] == token_object[:, None, :]) & known[:, :, None] & known[:, None, :]
    return same | jnp.eye(mask.shape[1], dtype=bool)


def _query_mask(config: LocalLossConfig, batch: Mapping[str, Array]) -> Array:
    """The tokens that are queries."""
    if config.queries == "tokens":
        return batch["local_mask"]
    return first_tokens(batch["local_mask"], batch["token_object"])


def _level_terms(
    config: LocalLossConfig,
    video_local: Array,
    text_local: Array,
    masks: Mapping[str, Array],
    log_scale: Array,
    frames_axis: str | None,
) -> dict[str, Mean]:
    """All terms of one level over one device's clips."""
    terms = {}
    if config.within_clip:
        terms["within_clip"] = sparc_loss(
            video_local,
            text_local,
            masks["mask"],
            log_scale,
            config.reduction,
            config.minmax_over,
            frames_axis,
            Sparsity(config.threshold, config.top_patches),
        )
    if config.across_clips:
        sizes = {"group_size": config.group_size, "sharpness": config.sharpness, "frames_axis": frames_axis}
        found = across_clips_loss(video_local, text_local, log_scale=log_scale, **sizes, **masks)
        terms |= {f"across_{name}": mean for name, mean in found.items()}
    return terms


def _check_sizes(
    config: LocalLossConfig, video: Sequence[Array], num_text: int, num_weights: int, batch_size: int, mesh: Mesh
) -> None:
    if not len(video) == num_text == num_weights or num_text == 0:
        raise ConfigError(
            f"the local loss got {len(video)} video levels, {num_text} text levels and {num_weights} level weights, "
            f"but needs as many of each and at least one; name levels in model.local.levels or use contrast 'none'."
        )
    devices = mesh.shape["tensor"]
    if config.shard_patches and any(level.shape[1] % devices for level in video):
        raise ConfigError(
            f"loss.local.shard_patches is set, but clips of {video[0].shape[1]} frames do not divide over the "
            f"{devices} devices of mesh axis 'tensor'; use a multiple of {devices} frames, or another mesh.tensor."
        )
    shards = batch_shards(mesh)
    if batch_size % shards:
        raise ConfigError(
            f"a batch of {batch_size} clips does not divide over {shards} devices; use a multiple of {shards}."
        )
    if config.across_clips and batch_size // shards % config.group_size:
        raise ConfigError(
            f"loss.local.group_size is {config.group_size}, but each of the {shards} devices holds "
            f"{batch_size // shards} clips of the batch of {batch_size}; use a group_size that divides "
            f"{batch_size // shards}, or a larger batch."
        )
