"""CLIP's text tower and pixel normalisation (Radford et al., arXiv 2103.00020), which CLIP-ViP uses unchanged.

Letters: B batch, L text length, D width of the tower, C colour channels.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import CLIP_MEAN, CLIP_STD
from hilight_jax.core.sharding import Rule
from hilight_jax.models.layers import (
    ENCODER_PARTITION_RULES,
    ComputeConfig,
    Encoder,
    check_multiples,
    check_sizes,
    layer_norm,
)
from hilight_jax.ops.attention import causal_attention, over_heads

# Paths below the tower.
TEXT_PARTITION_RULES: tuple[Rule, ...] = (
    (r"token_embedding", (None, "fsdp")),
    (r"position_embedding", ()),
    (r"final_layer_norm/(scale|bias)", ()),
    *ENCODER_PARTITION_RULES,
)


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Sizes of the text tower; the defaults are CLIP B/16's and B/32's."""

    vocab_size: int = 49408
    max_length: int = 77
    width: int = 512
    depth: int = 12
    num_heads: int = 8
    mlp_dim: int = 2048

    def __post_init__(self):
        """Checks the sizes, and that the heads share the width evenly."""
        check_sizes("text", self, ("vocab_size", "max_length", "width", "depth", "num_heads", "mlp_dim"))
        check_multiples("text", self, {"width": "num_heads"})


class TextTower(nn.Module):
    """Causal transformer over BPE ids, pooled at the end-of-text token."""

    config: TextConfig
    compute: ComputeConfig

    def setup(self):
        """Names the parameters after the official ones."""
        config, dtype = self.config, self.compute.dtypes["param_dtype"]
        normal = nn.initializers.normal
        self.token_embedding = self.param("token_embedding", normal(0.02), (config.vocab_size, config.width), dtype)
        self.position_embedding = self.param(
            "position_embedding", normal(0.01), (config.max_length, config.width), dtype
        )
        self.encoder = Encoder(config.depth, config.num_heads, config.mlp_dim, self.compute)
        self.final_layer_norm = layer_norm(self.compute)

    def __call__(
        self, text_ids: Int[Array, "B L"], text_mask: Bool[Array, "B L"] | None = None, keep_outputs: bool = False
    ) -> dict[str, Array | tuple[Array, ...] | None]:
        """Encodes captions.

        The pooled token is the *first* largest id: the end of text has the largest id of the vocabulary, and some
        tokenizers pad with it.

        Args:
          text_ids: Begin-of-text ... end-of-text, padded on the right.
          text_mask: True for real tokens. None attends to padding too, which changes nothing up to the end of text.
          keep_outputs: Also return every block's output.

        Returns:
          ``embeddings`` [B, L, D], token + position; ``tokens`` [B, L, D], after the final LayerNorm; ``pooled``
          [B, D]; ``outputs``, each block's output [B, L, D] before any final norm, or None.

        Raises:
          DataError: The ids are longer than the position table.
        """
        length = text_ids.shape[-1]
        if length > self.config.max_length:
            raise DataError(
                f"text_ids are {length} tokens long, but the text tower has {self.config.max_length} positions; "
                f"truncate the captions or set text.max_length."
            )
        embeddings = self.token_embedding[text_ids] + self.positions(length)
        embeddings = embeddings.astype(self.compute.dtypes["dtype"])
        attend = over_heads(causal_attention, self.config.num_heads)
        operands = () if text_mask is None else (jnp.asarray(text_mask, bool),)
        last, outputs = self.encoder(embeddings, attend, *operands, keep_outputs=keep_outputs)
        tokens = self.final_layer_norm(last)
        end = jnp.argmax(text_ids, axis=-1)
        pooled = jnp.take_along_axis(tokens, end[:, None, None], axis=1)[:, 0]
        return {"embeddings": embeddings, "tokens": tokens, "pooled": pooled, "outputs": outputs}

    def positions(self, length: int) -> Float[Array, "L D"]:
        """The position embeddings of the first ``length`` tokens."""
        return self.position_embedding[:length]


def normalise(pixels: Num[Array, "... C"], dtype: jnp.dtype = jnp.float32) -> Float[Array, "... C"]:
    """Maps colours of 0..255 to CLIP's zero mean and unit spread.

    Args:
      pixels: Colour last, red first; uint8, or the floats that resizing makes, which are not clamped.
      dtype: Of the result.
    """
    mean, std = jnp.asarray(CLIP_MEAN, dtype), jnp.asarray(CLIP_STD, dtype)
    return (pixels.astype(dtype) / 255 - mean) / std
