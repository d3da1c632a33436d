"""The local loss across clips: a word's evidence in its own clip against its evidence in the other clips of its group.

SPARC contrasts the words of one caption with each other, which can be solved without knowing what a word means: token k
takes patches of its own, whatever they show. Here a token must resemble its best patches in its own clip more than its
best patches in other clips. For token k of caption i, clip j, patches p of all frames, all vectors of unit length:

    s[i,k,j,p] = t[i,k] . v[j,p]                                       similarity
    w[i,k,j,p] = softmax over p of sharpness * s[i,k,j,p]              place of the word in clip j
    c[i,k,j]   = t[i,k] . unit(sum over p of w[i,k,j,p] v[j,p])        evidence
    loss       = 1/2 mean over tokens (i,k) of CE over clips j of scale * c[i,k,j], positive j = i
               + 1/2 mean over clips j of CE over captions i of mean over k of scale * c[i,k,j], positive i = j

A group is a fixed run of J consecutive clips of the global batch and lies on one device: nothing is communicated, and
the loss does not depend on the number of devices.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.means import Mean
from hilight_jax.ops.vectors import PRECISION, REMOVED, at_least_float32, unit

# Tokens that are compared with all clips of their group at once. The similarities of a chunk, [J, TOKENS_PER_CHUNK,
# F * P], are the largest array of this file; 128 rows keep matrix units busy and waste little on the last chunk.
TOKENS_PER_CHUNK = 128


def across_clips_loss(
    video_local: Float[Array, "B F P E"],
    text_local: Float[Array, "B L E"],
    mask: Bool[Array, "B L"],
    log_scale: Float[Array, ""],
    group_size: int,
    sharpness: float = 10.0,
    token_object: Int[Array, "B L"] | None = None,
    clip_objects: Int[Array, "B O"] | None = None,
    frames_axis: str | None = None,
) -> dict[str, Mean]:
    """Both terms of the loss, without their factors 1/2.

    Captions without any token that takes part are no candidates of the caption term and are not counted; their clips
    still serve the tokens of other captions as negatives.

    Args:
      video_local: Patch vectors; normalised here.
      text_local: Token vectors; normalised here.
      mask: Tokens that take part.
      log_scale: Logarithm of the inverse temperature.
      group_size: Clips of a group, J; divides B.
      sharpness: Inverse temperature of the softmax over patches.
      token_object: Id of the object that a token names, 0 for none. Given together with ``clip_objects``, another
        clip that shows the same object is no negative of that token: it is taken out of the denominator.
      clip_objects: Ids of the objects that a clip shows, padded with 0.
      frames_axis: Inside ``jax.shard_map``, the mesh axis that the frames of a clip are split over.

    Returns:
      ``tokens``: summed cross entropies over clips, and the number of tokens; ``captions``: summed cross entropies
      over captions, and the number of captions that have tokens.
    """
    groups = len(mask) // group_size

    def grouped(x: Array) -> Array:
        return x.reshape(groups, group_size, *x.shape[1:])

    tokens, patches, mask = (
        grouped(unit(at_least_float32(text_local))),
        grouped(unit(at_least_float32(video_local))),
        grouped(mask),
    )
    cosines = jax.lax.map(
        lambda group: evidence(*group, sharpness=sharpness, frames_axis=frames_axis), (tokens, mask, patches)
    )
    logits = cosines * jnp.exp(at_least_float32(log_scale))
    false_negatives = None
    if token_object is not None:
        false_negatives = _shows(grouped(token_object), grouped(clip_objects))
    return {"tokens": _over_clips(logits, mask, false_negatives), "captions": _over_captions(logits, mask)}


def evidence(
    tokens: Float[Array, "J L E"],
    mask: Bool[Array, "J L"],
    patches: Float[Array, "J F P E"],
    sharpness: float,
    frames_axis: str | None = None,
) -> Float[Array, "J L J"]:
    """Cosine of every token with the vector it gathers from every clip of one group, c[i,k,j]; undefined where masked.

    Tokens that take part are moved to the front and processed in chunks. Chunks without any are skipped, which saves
    half to two thirds of the work on content words. The backward pass computes a chunk's similarities again.
    """
    num_clips, length, width = tokens.shape
    patches = patches.reshape(num_clips, -1, width)
    order = jnp.argsort(~mask.reshape(-1), stable=True)
    size = min(TOKENS_PER_CHUNK, num_clips * length)

    def chunks(x: Array) -> Array:
        x = x.reshape(num_clips * length, *x.shape[2:])[order]
        x = jnp.pad(x, ((0, -len(x) % size), *((0, 0),) * (x.ndim - 1)))
        return x.reshape(-1, size, *x.shape[1:])

    def gather(chunk: Array) -> tuple[Array, Array]:
        rows = jnp.broadcast_to(chunk, (num_clips, *chunk.shape))  # One product per clip: faster than one for all.
        similarity = sharpness * jnp.einsum("JLE,JVE->JLV", rows, patches, precision=PRECISION)
        peak = jax.lax.stop_gradient(jnp.max(similarity, axis=2, keepdims=True))
        # The softmax's denominator is left out: the gathered vector is normalised anyway.
        return jnp.einsum("JLV,JVE->JLE", jnp.exp(similarity - peak), patches, precision=PRECISION), peak

    def skip(chunk: Array) -> tuple[Array, Array]:
        nothing = 0 * chunk + 0 * patches[:, :1]
        return nothing, nothing[:, :, :1]

    @functools.partial(jax.checkpoint, prevent_cse=False)  # The loop below already keeps the two passes apart.
    def chunk_evidence(chunk: Array, chunk_mask: Array) -> Array:
        gathered, peak = jax.lax.cond(jnp.any(chunk_mask), gather, skip, chunk)
        if frames_axis is not None:  # Outside of the cond: a device that skips must take part in the reduction.
            largest = jax.lax.pmax(jax.lax.stop_gradient(peak), frames_axis)
            gathered = jax.lax.psum(jnp.exp(peak - largest) * gathered, frames_axis)
        return jnp.einsum("LE,JLE->LJ", chunk, unit(gathered), precision=PRECISION)

    cosines = jax.lax.map(lambda x: chunk_evidence(*x), (chunks(tokens), chunks(mask)))
    cosines = cosines.reshape(-1, num_clips)[jnp.argsort(order)]
    return cosines.reshape(num_clips, length, num_clips)


def _over_clips(logits: Array, mask: Array, false_negatives: Array | None) -> Mean:
    """Cross entropy of each token over the clips j of its group; logits are [groups, i, k, j]."""
    own = jnp.eye(logits.shape[1], dtype=bool)[:, None, :]
    positive = jnp.sum(jnp.where(own, logits, 0), axis=3)
    if false_negatives is not None:
        logits = jnp.where(false_negatives & ~own, REMOVED, logits)
    losses = jnp.where(mask, jax.nn.logsumexp(logits, axis=3) - positive, 0)
    return Mean(jnp.sum(losses), jnp.sum(mask, dtype=losses.dtype))


def _over_captions(logits: Array, mask: Array) -> Mean:
    """Cross entropy of each clip over the captions i, each the mean of its tokens; logits are [groups, i, k, j]."""
    count = jnp.sum(mask, axis=2, dtype=logits.dtype)
    captions = jnp.sum(jnp.where(mask[..., None], logits, 0), axis=2) / jnp.maximum(count, 1)[..., None]
    has_tokens = count > 0
    positive = jnp.diagonal(captions, axis1=1, axis2=2)
    candidates = jnp.where(has_tokens[..., None], captions, REMOVED)
    losses = jnp.where(has_tokens, jax.nn.logsumexp(candidates, axis=1) - positive, 0)
    return Mean(jnp.sum(losses), jnp.sum(has_tokens, dtype=losses.dtype))


def _shows(token_object: Array, clip_objects: Array) -> Array:
    """True where clip j shows the object that token k of caption i names, [groups, i, k, j]."""
    same = token_object[:, :, :, None, None] == clip_objects[:, None, None, :, :]
    return jnp.any(same, axis=4) & (token_object != 0)[..., None]
