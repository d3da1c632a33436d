"""The dual encoder: CLIP-ViP's two towers and projections, with the local heads that make it CLIP-ViP+.

Letters: B batch, F frames, P patches of a frame, M proxy tokens, L text length, D width of a tower, E shared embedding
width; Y rows, X columns and C colours of an image.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.models import local_heads
from hilight_jax.models.clip import TEXT_PARTITION_RULES, TextConfig, TextTower
from hilight_jax.models.clip_vip import VISION_PARTITION_RULES, VideoTower, VisionConfig
from hilight_jax.models.layers import ComputeConfig, projection
from hilight_jax.models.local_heads import (
    LOCAL_PARTITION_RULES,
    LocalHeads,
    LocalHeadsConfig,
    tapped_patches,
    tapped_tokens,
)
from hilight_jax.ops.vectors import at_least_float32, unit

PARTITION_RULES: tuple[Rule, ...] = (
    *((f"vision/{path}", axes) for path, axes in VISION_PARTITION_RULES),
    *((f"text/{path}", axes) for path, axes in TEXT_PARTITION_RULES),
    *((f"local/{path}", axes) for path, axes in LOCAL_PARTITION_RULES),
    (r"(visual|text|local)_projection/kernel", ("fsdp", None)),
    (r"logit_scale", ()),
)


@dataclasses.dataclass(frozen=True)
class DualEncoderConfig:
    """Sizes of a dual encoder; the defaults are CLIP-ViP+ B/16's, setting 2 of HiLight's report.

    Attributes:
      vision: The video tower.
      text: The text tower.
      embed_dim: E, width of the shared space.
      logit_scale_init: Initial log of both learnable scales, the global and the local one.
      local: The local heads.
      pool_local: Add to a clip's embedding a linear map of its local features, the largest value of each channel over
        all patches, of the first tapped level. The features of patches that show a thing are like its words, and so the
        embedding holds what is there from the first steps on, where a small tower from scratch must first learn to
        look for it.
      compute: How to compute it.
    """

    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    embed_dim: int = 512
    logit_scale_init: float = 4.60
    local: LocalHeadsConfig = LocalHeadsConfig()
    pool_local: bool = False
    compute: ComputeConfig = ComputeConfig()

    def __post_init__(self):
        """Checks the shared width."""
        check(self, "", lambda x: x >= 1, "at least 1", "embed_dim")
        if self.pool_local and not self.local.levels:
            raise ConfigError("model.pool_local is set, but model.local.levels is empty; tap a level, or unset it.")

    @property
    def level_pairs(self) -> tuple[tuple[int, int], ...]:
        """The tapped levels, see ``local_heads.level_pairs``."""
        return local_heads.level_pairs(self.local.levels, self.vision.depth, self.text.depth)

    @property
    def level_weights(self) -> tuple[float, ...]:
        """Weights of the tapped levels in the local loss, see ``local_heads.level_weights``."""
        return local_heads.level_weights(self.local, self.vision.depth, self.text.depth)

    @property
    def map_weights(self) -> tuple[float, ...]:
        """Weights of the tapped levels in a word's map over the patches, see ``local_heads.map_weights``."""
        return local_heads.map_weights(self.local, self.vision.depth, self.text.depth)


class DualEncoder(nn.Module):
    """Videos and captions to unit vectors of one space, and patches and tokens to the local loss's space."""

    config: DualEncoderConfig

    def setup(self):
        """Top names: vision, text, visual_projection, text_projection, logit_scale, local."""
        config, compute = self.config, self.config.compute
        self.vision = VideoTower(config.vision, compute)
        self.text = TextTower(config.text, compute)
        self.visual_projection = projection(config.embed_dim, config.vision.width, compute)
        self.text_projection = projection(config.embed_dim, config.text.width, compute)
        scale = nn.initializers.constant(config.logit_scale_init)
        self.logit_scale = self.param("logit_scale", scale, (), compute.dtypes["param_dtype"])
        if config.local.levels:
            self.local = LocalHeads(
                config.local,
                config.level_pairs,
                config.vision.width,
                config.text.width,
                config.embed_dim,
                config.logit_scale_init,
                compute,
            )
        if config.pool_local:
            self.local_projection = projection(config.embed_dim, config.embed_dim, compute)

    def __call__(
        self,
        video: Float[Array, "B F Y X C"],
        text_ids: Int[Array, "B L"],
        text_mask: Bool[Array, "B L"] | None = None,
        hidden_states: bool = False,
    ) -> dict[str, Array | tuple[Array, ...]]:
        """Encodes clips and captions; the numbers of clips and captions may differ.

        Args:
          video: Pixels normalised by ``clip.normalise``.
          text_ids: Token ids; the end of text is the largest.
          text_mask: True for real tokens; None when padding need not be hidden.
          hidden_states: Also return all hidden states of both towers.

        Returns:
          What ``encode_video`` and ``encode_text`` return, ``logit_scale`` and, with local heads, ``local_scale``
          (both logs of the scales, not clamped).
        """
        out = self.encode_video(video, hidden_states) | self.encode_text(text_ids, text_mask, hidden_states)
        out["logit_scale"] = self.logit_scale
        if self.config.local.levels:
            out["local_scale"] = self.local.scale
        return out

    def encode_video(
        self, video: Float[Array, "B F Y X C"], hidden_states: bool = False
    ) -> dict[str, Array | tuple[Array, ...]]:
        """Encodes clips.

        Returns:
          ``video_embeds`` [B, E], unit vectors; ``video_tokens`` [B, M+F*P, D], without post norm; ``video_pooled``
          [B, D]; ``video_local``, per tapped level [B, F, P, E], or, without local heads, the last patches through
          CLIP's projector; if asked, ``video_hidden_states``, the embeddings and each block's output.
        """
        config = self.config
        tower = self.vision(video, hidden_states or "all" in config.local.levels)

        out = {"video_tokens": tower["tokens"], "video_pooled": tower["pooled"]}
        embeds = self.visual_projection(tower["pooled"])
        if config.local.levels:
            levels = [level for level, _ in config.level_pairs]
            out["video_local"] = self.local.map_video(tapped_patches(self.vision, tower, levels, video.shape[1]))
        else:
            (last,) = tapped_patches(self.vision, tower, [config.vision.depth], video.shape[1])
            out["video_local"] = (at_least_float32(self.visual_projection(last)),)
        if config.pool_local:
            embeds += self.local_projection(jnp.max(unit(out["video_local"][0]), axis=(1, 2)).astype(embeds.dtype))
        out["video_embeds"] = _unit(embeds)
        if hidden_states:
            out["video_hidden_states"] = (tower["embeddings"], *tower["outputs"])
        return out

    def encode_text(
        self, text_ids: Int[Array, "B L"], text_mask: Bool[Array, "B L"] | None = None, hidden_states: bool = False
    ) -> dict[str, Array | tuple[Array, ...]]:
        """Encodes captions.

        Returns:
          ``text_embeds`` [B, E], unit vectors; ``text_tokens`` [B, L, D], after the final norm; ``text_pooled`` [B, D];
          ``text_local``, per tapped level [B, L, E], or, without local heads, the last tokens through CLIP's projector;
          if asked, ``text_hidden_states``, the embeddings and each block's output, all before the final norm.
        """
        config = self.config
        tower = self.text(text_ids, text_mask, hidden_states or "all" in config.local.levels)

        out = {
            "text_embeds": _unit(self.text_projection(tower["pooled"])),
            "text_tokens": tower["tokens"],
            "text_pooled": tower["pooled"],
        }
        if config.local.levels:
            levels = [level for _, level in config.level_pairs]
            tapped = tapped_tokens(tower, levels, config.text.depth, config.local.text_side)
            out["text_local"] = self.local.map_text(tapped)
        else:
            out["text_local"] = (at_least_float32(self.text_projection(tower["tokens"])),)
        if hidden_states:
            out["text_hidden_states"] = (tower["embeddings"], *tower["outputs"])
        return out


def _unit(x: Float[Array, "B E"]) -> Float[Array, "B E"]:
    """Divides by the Euclidean norm without an epsilon, as the original, in float32 at least."""
    x = at_least_float32(x)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def param_shapes(config: DualEncoderConfig) -> dict[str, Any]:
    """Names, shapes and dtypes of all parameters; nothing is computed."""
    side = config.vision.image_size
    video = jax.ShapeDtypeStruct((1, config.vision.num_frames, side, side, 3), jnp.float32)
    ids = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return jax.eval_shape(DualEncoder(config).init, jax.random.key(0), video, ids)["params"]
