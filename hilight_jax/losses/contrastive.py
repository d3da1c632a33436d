"""CLIP-ViP's contrastive losses over the batch (XPretrain, CLIP-ViP/src/optimization/loss.py).

All vectors are unit vectors of width E. The directions of a loss are *summed*, as the originals do (``clip_loss`` of
CLIP averages them), and the scale is learned as its logarithm.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.means import Mean
from hilight_jax.losses.vectors import PRECISION, working

MAX_LOG_SCALE = math.log(200)


def nce(video_embeds: Float[Array, "B E"], text_embeds: Float[Array, "B E"], log_scale: Float[Array, ""]) -> Mean:
    """``NCELearnableTempLoss``, the fine-tuning loss: cross entropy video to text plus text to video.

    Returns:
      Sum over the batch of both directions, and the batch size.
    """
    logits = _logits(video_embeds, text_embeds, log_scale)
    return _mean(_cross_entropies(logits) + _cross_entropies(logits.T))


def nce_vsc_fc(
    video_embeds: Float[Array, "B E"],
    subtitle_embeds: Float[Array, "B E"],
    caption_embeds: Float[Array, "B E"],
    frame_embeds: Float[Array, "B E"],
    log_scale: Float[Array, ""],
) -> Mean:
    """``NCELearnableTempLoss_vsc_fc``, the pretraining loss: a video, its subtitle, one frame and that frame's caption.

    Six cross entropies: subtitle to video, caption to video, video to subtitle, video to caption, frame to caption,
    caption to frame. The two that start from the video share their negatives: each has its own positive against
    every other clip's subtitle *and* caption, 1 + 2 (B - 1) candidates.

    Returns:
      Sum over the batch of the six terms, and the batch size.
    """
    subtitles = _logits(video_embeds, subtitle_embeds, log_scale)
    captions = _logits(video_embeds, caption_embeds, log_scale)
    frames = _logits(frame_embeds, caption_embeds, log_scale)
    own = jnp.eye(len(subtitles), dtype=bool)
    from_video = _cross_entropies(subtitles, jnp.where(own, -jnp.inf, captions))
    from_video += _cross_entropies(captions, jnp.where(own, -jnp.inf, subtitles))
    to_video = _cross_entropies(subtitles.T) + _cross_entropies(captions.T)
    return _mean(to_video + from_video + _cross_entropies(frames) + _cross_entropies(frames.T))


def clamp_log_scale(log_scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Projects a log scale into [0, ln 200]; CLIP-ViP's loop does so to the parameter before every forward pass."""
    return jnp.clip(log_scale, 0, MAX_LOG_SCALE)


def _logits(queries: Array, keys: Array, log_scale: Array) -> Array:
    """Scaled dot products, [B, B]."""
    logits = jnp.matmul(working(queries), working(keys).T, precision=PRECISION)
    return logits * jnp.exp(working(log_scale))


def _cross_entropies(logits: Array, more_negatives: Array | None = None) -> Array:
    """Cross entropy of every row against its own column, [B]; ``more_negatives`` [B, B] join the candidates."""
    candidates = logits if more_negatives is None else jnp.concatenate([logits, more_negatives], axis=1)
    return jax.nn.logsumexp(candidates, axis=1) - jnp.diagonal(logits)


def _mean(per_clip: Array) -> Mean:
    return Mean(jnp.sum(per_clip), jnp.asarray(len(per_clip), per_clip.dtype))
