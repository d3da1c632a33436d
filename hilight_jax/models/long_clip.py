"""Long-CLIP (Zhang et al., arXiv 2403.15378): CLIP for texts of up to 248 tokens.

The image tower is CLIP's own; HiLight looks at key frames through it. Of the text tower only the positions are new: the
first 20 stay CLIP's and the others are stretched to four times their number, in a table of their own, which is the one
that training changes.

Letters: B batch, L text length, P patches of a frame, D width of a tower, E shared embedding width; Y rows, X columns
and C colours of an image.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hilight_jax.core.config import check_same
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.models.clip import TEXT_PARTITION_RULES, TextConfig, TextTower
from hilight_jax.models.clip_vip import ImageConfig, VideoEmbeddings, VisionConfig
from hilight_jax.models.layers import (
    ENCODER_PARTITION_RULES,
    ComputeConfig,
    Encoder,
    check_sizes,
    layer_norm,
    projection,
)
from hilight_jax.ops.attention import attention, over_heads
from hilight_jax.ops.vectors import at_least_float32

# Paths below the image tower.
FRAME_PARTITION_RULES: tuple[Rule, ...] = (
    (r"embeddings/patch_embedding/kernel", (None, "fsdp")),
    (r"embeddings/(class|position)_embedding", ()),
    (r"(pre|post)_layernorm/(scale|bias)", ()),
    (r"projection/kernel", ("fsdp", None)),
    *ENCODER_PARTITION_RULES,
)
PARTITION_RULES: tuple[Rule, ...] = (
    *((f"frames/{pattern}", axes) for pattern, axes in FRAME_PARTITION_RULES),
    *((f"text/{pattern}", axes) for pattern, axes in TEXT_PARTITION_RULES),
    (r"text/position_embedding_res", ()),
    (r"text/projection/kernel", ("fsdp", None)),
    (r"logit_scale", ()),
)


@dataclasses.dataclass(frozen=True)
class FrameConfig(ImageConfig):
    """Sizes of the image tower; the defaults are those of CLIP B/16.

    Attributes beside those of ``ImageConfig``:
      embed_dim: E, width of a frame's embedding.
    """

    embed_dim: int = 512

    def __post_init__(self):
        """Checks the sizes."""
        self.check("frames", "embed_dim")


@dataclasses.dataclass(frozen=True)
class LongTextConfig(TextConfig):
    """Sizes of the text tower; the defaults are those of Long-CLIP B.

    Attributes:
      max_length: Positions.
      kept_positions: Positions that are CLIP's own; the others come from the table that is trained.
      embed_dim: E, width of a text's embedding.
    """

    max_length: int = 248
    kept_positions: int = 20
    embed_dim: int = 512

    def __post_init__(self):
        """Checks the sizes."""
        super().__post_init__()
        check_sizes("text", self, ("embed_dim",))
        if not 0 <= self.kept_positions <= self.max_length:
            raise ConfigError(
                f"text.kept_positions is {self.kept_positions}, but must lie between 0 and "
                f"text.max_length={self.max_length}."
            )


@dataclasses.dataclass(frozen=True)
class LongClipConfig:
    """Both towers, and the logarithm of the scale that training starts from."""

    frames: FrameConfig = FrameConfig()
    text: LongTextConfig = LongTextConfig()
    logit_scale_init: float = 4.6052
    compute: ComputeConfig = ComputeConfig()

    def __post_init__(self):
        """Checks that images and texts share a space."""
        check_same(self, "model.", "frames.embed_dim", "text.embed_dim")


class FrameTower(nn.Module):
    """CLIP's image tower over single frames, its projection included.

    HiLight's Long-CLIP tower is its ``embeds``, not normalised.
    """

    config: FrameConfig
    compute: ComputeConfig

    def setup(self):
        """Names the parameters as the video tower does: a frame is a clip of one, with the cls token alone."""
        config = self.config
        single = VisionConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.width,
            num_heads=config.num_heads,
            num_frames=1,
            num_proxy_tokens=1,
            temporal_embedding=False,
        )
        self.embeddings = VideoEmbeddings(single, self.compute)
        self.pre_layernorm = layer_norm(self.compute)
        self.encoder = Encoder(config.depth, config.num_heads, config.mlp_dim, self.compute)
        self.post_layernorm = layer_norm(self.compute)
        self.projection = projection(config.embed_dim, config.width, self.compute)

    def __call__(
        self, frames: Float[Array, "B Y X C"], keep_outputs: bool = False
    ) -> dict[str, Array | tuple[Array, ...] | None]:
        """Encodes frames.

        Args:
          frames: Normalised pixels; any frame with as many patches as the position table.
          keep_outputs: Also return every block's output.

        Returns:
          ``embeddings`` [B, 1+P, D], after the pre norm; ``tokens`` [B, 1+P, D], the last block's output; ``pooled``
          [B, D], the cls token after the post norm; ``embeds`` [B, E], projected, *not* normalised; ``outputs``, each
          block's output, or None.

        Raises:
          ConfigError: The frames do not divide into as many patches as the position table has.
        """
        if frames.ndim != 4:
            raise ConfigError(f"frames have shape {frames.shape}, but must be [B, Y, X, C]: frames, rows, columns, 3.")
        self.config.check_frame(frames.shape[1], frames.shape[2], "resize the frames or set frames.image_size")
        embeddings = self.pre_layernorm(self.embeddings(frames[:, None]))
        attend = over_heads(attention, self.config.num_heads)
        tokens, outputs = self.encoder(embeddings, attend, keep_outputs=keep_outputs)
        pooled = self.post_layernorm(tokens[:, 0])
        embeds = at_least_float32(self.projection(pooled))
        return {"embeddings": embeddings, "tokens": tokens, "pooled": pooled, "embeds": embeds, "outputs": outputs}


class LongTextTower(TextTower):
    """CLIP's text tower with two position tables, and its projection."""

    config: LongTextConfig

    def setup(self):
        """Adds the second table and the projection to CLIP's parameters."""
        super().setup()
        shape, dtype = (self.config.max_length, self.config.width), self.compute.dtypes["param_dtype"]
        self.position_embedding_res = self.param("position_embedding_res", nn.initializers.normal(0.01), shape, dtype)
        self.projection = projection(self.config.embed_dim, self.config.width, self.compute)

    def __call__(
        self, text_ids: Int[Array, "B L"], keep_outputs: bool = False
    ) -> dict[str, Array | tuple[Array, ...] | None]:
        """Encodes texts; padding is not masked, because no token up to the end of text attends to it.

        Returns:
          What ``TextTower`` returns, and ``embeds`` [B, E], projected, *not* normalised.
        """
        out = super().__call__(text_ids, None, keep_outputs)
        return out | {"embeds": at_least_float32(self.projection(out["pooled"]))}

    def positions(self, length: int) -> Float[Array, "L D"]:
        """CLIP's own positions first, then those of the second table; the other rows of both tables are unused."""
        kept = self.config.kept_positions
        return jnp.concatenate([self.position_embedding[:kept], self.position_embedding_res[kept:]])[:length]


class LongClip(nn.Module):
    """Both towers; embeddings are not normalised."""

    config: LongClipConfig

    def setup(self):
        """Top names: frames, text, logit_scale."""
        config, compute = self.config, self.config.compute
        self.frames = FrameTower(config.frames, compute)
        self.text = LongTextTower(config.text, compute)
        scale = nn.initializers.constant(config.logit_scale_init)
        self.logit_scale = self.param("logit_scale", scale, (), compute.dtypes["param_dtype"])

    def __call__(self, image: Float[Array, "B Y X C"], text_ids: Int[Array, "texts L"]) -> dict[str, Array]:
        """Encodes images and texts, however many there are of each.

        Returns:
          ``image_embeds`` [B, E], ``text_embeds`` [texts, E] and ``logit_scale``, the logarithm of the scale.
        """
        image_embeds, text_embeds = self.encode_image(image), self.encode_text(text_ids)
        return {"image_embeds": image_embeds, "text_embeds": text_embeds, "logit_scale": self.logit_scale}

    def encode_image(self, image: Float[Array, "B Y X C"]) -> Float[Array, "B E"]:
        """Embeds normalised images."""
        return self.frames(image)["embeds"]

    def encode_text(self, text_ids: Int[Array, "B L"]) -> Float[Array, "B E"]:
        """Embeds texts."""
        return self.text(text_ids)["embeds"]


def param_shapes(config: LongClipConfig) -> dict[str, Any]:
    """Names, shapes and dtypes of all parameters; nothing is computed."""
    side = config.frames.image_size
    image, ids = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32), jax.ShapeDtypeStruct((1, 2), jnp.int32)
    return jax.eval_shape(LongClip(config).init, jax.random.key(0), image, ids)["params"]
