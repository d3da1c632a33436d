"""SPARC's local loss (arXiv 2401.09865, Listing 1 and Eq. 1-7): the words of one caption, contrasted with each other.

Every token gathers the patches that resemble it into one grouped vector; grouped vectors and tokens of the same clip
are then contrasted in both directions. The F * P patches of all frames take part, the proxy tokens do not. The paper
leaves degenerate rows, empty masks and single tokens open; here they give finite losses and gradients.

The frames of a clip may be split over a mesh axis, ``frames_axis``, inside ``jax.shard_map``; None stands for frames
that lie on one device.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.means import Mean
from hilight_jax.ops.vectors import PRECISION, REMOVED, at_least_float32, unit

MinMaxOver = Literal["clip", "frame"]
Reduction = Literal["token", "sample"]


class Sparsity(NamedTuple):
    """The patches that a token drops.

    Attributes:
      threshold: Those whose scaled similarity is below so many times 1 / (F * P); 0 drops none.
      top: All but so many of the highest similarity, and those equal to the last of them; 0 goes by the threshold.
    """

    threshold: float = 1.0
    top: int = 0


PUBLISHED = Sparsity()


class Alignment(NamedTuple):
    """The patches that tokens gather; the first four fields are [B, L, F, P].

    Attributes:
      similarity: Raw dot products of tokens and patches.
      scaled: Similarity after min-max scaling, in [0, 1].
      kept: Scaled similarity where it reaches its threshold, 1 / (F * P) in the paper, else zero.
      weights: ``kept``, scaled to sum to one over the clip.
      grouped: [B, L, E], the patches in those proportions.
    """

    similarity: Float[Array, "B L F P"]
    scaled: Float[Array, "B L F P"]
    kept: Float[Array, "B L F P"]
    weights: Float[Array, "B L F P"]
    grouped: Float[Array, "B L E"]


def sparc_loss(
    video_local: Float[Array, "B F P E"],
    text_local: Float[Array, "B L E"],
    mask: Bool[Array, "B L"],
    log_scale: Float[Array, ""],
    reduction: Reduction = "token",
    minmax_over: MinMaxOver = "clip",
    frames_axis: str | None = None,
    sparsity: Sparsity = PUBLISHED,
) -> Mean:
    """The local loss: the mean of both directions of ``token_losses``.

    Args:
      video_local: Patch vectors, not normalised.
      text_local: Token vectors, not normalised.
      mask: Tokens that take part; a masked one is neither a candidate nor counted.
      log_scale: Logarithm of the inverse temperature.
      reduction: ``token``, a mean over all tokens of the batch (Listing 1), or ``sample``, a mean over each caption's
        tokens and then over the captions that have any (Eq. 6).
      minmax_over: Similarities are scaled over the whole ``clip`` or within each ``frame``.
      frames_axis: The mesh axis that the frames of a clip are split over.
      sparsity: The patches that tokens drop. The highest similarities are found on one device only.

    Returns:
      The sum over tokens or captions, and their number; an empty mask gives 0 and 0.
    """
    tokens = at_least_float32(text_local)
    alignment = align(video_local, tokens, minmax_over, frames_axis, sparsity)
    vision_to_language, language_to_vision = token_losses(alignment.grouped, tokens, mask, log_scale)
    losses = (vision_to_language + language_to_vision) / 2
    count = jnp.sum(mask, axis=1, dtype=losses.dtype)
    if reduction == "sample":
        losses = jnp.sum(losses, axis=1) / jnp.maximum(count, 1)
        count = jnp.minimum(count, 1)
    return Mean(jnp.sum(losses), jnp.sum(count))


def align(
    video_local: Float[Array, "B F P E"],
    text_local: Float[Array, "B L E"],
    minmax_over: MinMaxOver = "clip",
    frames_axis: str | None = None,
    sparsity: Sparsity = PUBLISHED,
) -> Alignment:
    """Gathers patches for every token, masked ones too. Gradients flow through weights, minimum and maximum.

    A row of equal similarities points nowhere: its weights and its grouped vector are zero and carry no gradient
    (Listing 1 would divide by zero). Equal means equal up to the rounding of the dot products.
    """
    patches, tokens = at_least_float32(video_local), at_least_float32(text_local)
    similarity = _product("BLE,BFPE->BLFP", tokens, video_local)
    axes = (2, 3) if minmax_over == "clip" else (3,)
    within = frames_axis if minmax_over == "clip" else None  # A frame is never split.
    low = lowest(similarity, axes, within)
    span = highest(similarity, axes, within) - low
    spread = span > _rounding(patches, tokens, frames_axis)
    scaled = jnp.where(spread, (similarity - low) / jnp.where(spread, span, 1), 0)
    devices = 1 if frames_axis is None else jax.lax.axis_size(frames_axis)
    num_patches = similarity.shape[2] * similarity.shape[3] * devices
    if sparsity.threshold > num_patches:
        raise ConfigError(
            f"loss.local.threshold is {sparsity.threshold:g}, more than the {num_patches} patches of a clip, so that a "
            f"token drops all of them; the paper's is 1."
        )
    if sparsity.top:
        assert frames_axis is None, "the highest similarities of a clip lie on several devices"
        least = jax.lax.top_k(scaled.reshape(*scaled.shape[:2], -1), min(sparsity.top, num_patches))[0][..., -1:, None]
    else:
        least = sparsity.threshold / num_patches
    kept = jnp.where(scaled < least, 0, scaled)
    total = _sum_over_devices(jnp.sum(kept, axis=(2, 3), keepdims=True), frames_axis)
    weights = kept / jnp.where(total > 0, total, 1)
    grouped = _sum_over_devices(_product("BLFP,BFPE->BLE", weights, video_local), frames_axis)
    return Alignment(similarity, scaled, kept, weights, grouped)


def _product(letters: str, x: Array, patches: Array) -> Array:
    """A product with all patches in float32 at least; the backward pass keeps patches in their own, narrower dtype."""

    def product(x: Array, patches: Array) -> Array:
        return jnp.einsum(letters, x, at_least_float32(patches), precision=PRECISION)

    narrow = at_least_float32(patches).dtype != patches.dtype
    return (jax.checkpoint(product) if narrow else product)(x, patches)


def token_losses(
    grouped: Float[Array, "B L E"],
    text_local: Float[Array, "B L E"],
    mask: Bool[Array, "B L"],
    log_scale: Float[Array, ""],
) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
    """Cross entropies within each clip: (grouped vector to tokens, token to grouped vectors), 0 where masked.

    A grouped vector of zero resembles every token alike, so its loss is the logarithm of the number of valid tokens.
    """
    grouped, tokens = unit(at_least_float32(grouped)), unit(at_least_float32(text_local))
    logits = jnp.matmul(grouped, jnp.swapaxes(tokens, 1, 2), precision=PRECISION) * jnp.exp(at_least_float32(log_scale))
    own = jnp.diagonal(logits, axis1=1, axis2=2)

    def cross_entropies(rows: Array) -> Array:
        rows = jnp.where(mask[:, None, :], rows, REMOVED)
        return jnp.where(mask, jax.nn.logsumexp(rows, axis=2) - own, 0)

    return cross_entropies(logits), cross_entropies(jnp.swapaxes(logits, 1, 2))


def _rounding(patches: Array, tokens: Array, frames_axis: str | None) -> Array:
    """The largest difference that rounding makes between two equal dot products, [B, L, 1, 1]."""
    patches, tokens = jax.lax.stop_gradient((patches, tokens))
    largest = _max_over_devices(jnp.max(jnp.linalg.norm(patches, axis=-1), axis=(1, 2)), frames_axis)
    lengths = jnp.linalg.norm(tokens, axis=-1) * largest[:, None]
    return (4 * jnp.finfo(lengths.dtype).eps * lengths)[:, :, None, None]


def _sum_over_devices(x: Float[Array, "..."], axis: str | None) -> Float[Array, "..."]:
    """Adds up the sums that devices made over their own frames."""
    return x if axis is None else jax.lax.psum(x, axis)


def _max_over_devices(x: Float[Array, "..."], axis: str | None) -> Float[Array, "..."]:
    """The largest of the values that devices found in their own frames; no gradient flows."""
    x = jax.lax.stop_gradient(x)
    return x if axis is None else jax.lax.pmax(x, axis)


def lowest(x: Float[Array, "..."], over: Sequence[int], axis: str | None) -> Float[Array, "..."]:
    """The minimum over the axes ``over``, which are kept, and over devices; the gradient is that of ``jnp.min``.

    Equal smallest numbers share the gradient evenly, on whichever devices they lie.
    """
    if axis is None:
        return jnp.min(x, axis=tuple(over), keepdims=True)
    value = -_max_over_devices(-jnp.min(jax.lax.stop_gradient(x), axis=tuple(over), keepdims=True), axis)
    return _value_with_shared_gradient(x, value, over, axis)


def highest(x: Float[Array, "..."], over: Sequence[int], axis: str | None) -> Float[Array, "..."]:
    """The maximum, like ``lowest``."""
    if axis is None:
        return jnp.max(x, axis=tuple(over), keepdims=True)
    value = _max_over_devices(jnp.max(jax.lax.stop_gradient(x), axis=tuple(over), keepdims=True), axis)
    return _value_with_shared_gradient(x, value, over, axis)


def _value_with_shared_gradient(x: Array, value: Array, over: Sequence[int], axis: str) -> Array:
    """``value``; its gradient goes in equal shares to all elements of ``x`` that equal it."""
    ties = x == value
    change = jnp.sum(jnp.where(ties, x - jax.lax.stop_gradient(x), 0), axis=tuple(over), keepdims=True)
    count = jnp.sum(ties, axis=tuple(over), keepdims=True, dtype=x.dtype)
    return value + jax.lax.psum(change, axis) / jax.lax.psum(count, axis)
