"""Token mining, HiLight's connector: Long-CLIP's frame features query CLIP-ViP's tokens by one cross attention.

The three structures of the report's Figure 3 (arXiv 2407.07325), the last of them as released
(``UniLMProjectors``), and a fourth that differs from it in the layout of the expanded queries alone. Of the first two
only parameter counts are known.

Letters: B batch, F key frames, S tokens of a clip, V video tokens, D width of the video tower or the language model,
E width of the frame tower.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.models.layers import ComputeConfig, check_sizes, layer_norm

# Paths below the connector.
TOKEN_MINING_PARTITION_RULES: tuple[Rule, ...] = (
    (r"(video_projector|(query|key|value)/linear|output/fc[12])/kernel", ("fsdp", None)),
    (r"(video_projector|(query|key|value)/linear|output/fc[12])/bias", ()),
    (r"(query|key|value|output)/norm/(scale|bias)", ()),
    (r"frame_expansion/(kernel|bias)", ()),
)


@dataclasses.dataclass(frozen=True)
class TokenMiningConfig:
    """Structure and sizes of the connector; the defaults are the released HiLight-2B's.

    Attributes:
      structure: ``one_linear``: the cross attention, LayerNorm and one linear map. ``two_linear``: LayerNorm and two
        linear maps with a ReLU between. ``dual_projector``, the released one: ``two_linear``, a linear map with ReLU in
        front of each tower, and several tokens a frame.
      tokens_per_frame: Video tokens of a key frame; the other two structures make one only.
      expansion: How ``dual_projector`` lays out a frame's expanded features, see ``expand_frames``.
      final_relu: End video tokens in a ReLU. None takes the structure's own: ``dual_projector`` yes, as released;
        ``two_linear`` yes and ``one_linear`` no, both assumed.
      width_video: D of the video tower.
      width_frames: E of the frame tower, and of the cross attention.
      width_out: D of the language model.
    """

    structure: Literal["dual_projector", "one_linear", "two_linear"] = "dual_projector"
    tokens_per_frame: int = 32
    expansion: Literal["reinterpret", "transpose"] = "reinterpret"
    final_relu: bool | None = None
    width_video: int = 768
    width_frames: int = 512
    width_out: int = 2048

    def __post_init__(self):
        """Checks the sizes, and that only the released structure expands frames."""
        check_sizes("token_mining", self, ("tokens_per_frame", "width_video", "width_frames", "width_out"))
        if self.structure == "dual_projector":
            return
        if self.tokens_per_frame != 1:
            raise ConfigError(
                f"token_mining.tokens_per_frame is {self.tokens_per_frame}, but structure '{self.structure}' makes one "
                f"token of a frame; set it to 1 or token_mining.structure to 'dual_projector'."
            )
        if self.expansion != "reinterpret":
            raise ConfigError(
                f"token_mining.expansion is '{self.expansion}', but structure '{self.structure}' expands nothing; "
                f"leave it out or set token_mining.structure to 'dual_projector'."
            )

    @property
    def ends_in_relu(self) -> bool:
        """``final_relu``, or the structure's own."""
        return self.structure != "one_linear" if self.final_relu is None else self.final_relu


def expand_frames(features: Float[Array, "B F E count"], expansion: str) -> Float[Array, "B V E"]:
    """Lays out the ``count`` values of each of a frame's E channels as ``count`` tokens of E channels, frame by frame.

    ``transpose`` is the natural layout: token j holds the j-th value of every channel. ``reinterpret`` is the released
    one, a ``view`` of the same memory: of a frame's ``E * count`` values in the order (channel, value), token j
    holds the j-th run of E. It draws on channels ``j * E / count`` to ``(j + 1) * E / count`` alone (16 of 512), all
    values of each. The released weights were trained with it.

    Returns:
      ``V = F * count`` tokens.
    """
    batch, frames, width, count = features.shape
    if expansion == "transpose":
        features = features.swapaxes(2, 3)
    return features.reshape(batch, frames * count, width)


class TokenMining(nn.Module):
    """The connector. One head, no residual; every key frame's tokens see all of the clip's tokens."""

    config: TokenMiningConfig
    compute: ComputeConfig

    def setup(self):
        """Top names: query, key, value, output; and, released, video_projector, frame_expansion."""
        config, compute = self.config, self.compute
        if config.structure == "dual_projector":
            self.video_projector = _linear(config.width_video, compute)
            self.frame_expansion = _linear(config.tokens_per_frame, compute)
        self.query, self.key, self.value = (NormLinear(config.width_frames, compute) for _ in range(3))
        depth = 1 if config.structure == "one_linear" else 2
        self.output = Output(config.width_out, depth, config.ends_in_relu, compute)

    def __call__(
        self, clip_tokens: Float[Array, "B S D"], frame_features: Float[Array, "B F E"]
    ) -> dict[str, Float[Array, "..."]]:
        """Mines video tokens.

        Args:
          clip_tokens: All ``S = M + F * P`` tokens of the video tower, proxies first, without its post norm.
          frame_features: Projected, un-normalised features of the key frames.

        Returns:
          ``tokens`` [B, V, D] of the language model's width, frame by frame; ``attention`` [B, V, S], how much each
          drew on every token of the clip (rows sum to 1).

        Raises:
          ConfigError: The features are of other widths than configured.
        """
        self._check(clip_tokens.shape, frame_features.shape)
        dtype = self.compute.dtypes["dtype"]
        clip_tokens, frames = clip_tokens.astype(dtype), frame_features.astype(dtype)
        if self.config.structure == "dual_projector":
            clip_tokens = nn.relu(self.video_projector(clip_tokens))
            frames = expand_frames(nn.relu(self.frame_expansion(frames[..., None])), self.config.expansion)
        q, k, v = self.query(frames), self.key(clip_tokens), self.value(clip_tokens)
        precise = jnp.promote_types(dtype, jnp.float32)
        k = k * k.shape[-1] ** -0.5
        scores = jnp.einsum("BVE,BSE->BVS", q, k, preferred_element_type=precise)
        # As the original, which trains in float16, where a product may overflow: NaN to 0, infinity to the largest.
        attention = jax.nn.softmax(jnp.nan_to_num(scores), axis=-1)
        mined = jnp.einsum("BVS,BSE->BVE", attention.astype(v.dtype), v)
        return {"tokens": self.output(mined), "attention": attention}

    def _check(self, clip: tuple[int, ...], frames: tuple[int, ...]) -> None:
        for name, shape, key in (("clip_tokens", clip, "width_video"), ("frame_features", frames, "width_frames")):
            if len(shape) != 3 or shape[-1] != getattr(self.config, key):
                raise ConfigError(
                    f"{name} have shape {shape}, but must be [clips, tokens, {getattr(self.config, key)}]; "
                    f"set token_mining.{key} to the width of the tower."
                )


class NormLinear(nn.Module):
    """LayerNorm and a linear map: queries, keys and values each through their own."""

    width: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S E"]:
        """Maps every token by itself."""
        return _linear(self.width, self.compute, "linear")(layer_norm(self.compute, "norm")(x))


class Output(nn.Module):
    """From mined tokens to the language model's width: LayerNorm, one or two linear maps, perhaps a last ReLU."""

    width: int
    depth: int
    final_relu: bool
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B V E"]) -> Float[Array, "B V D"]:
        """Maps every token by itself; with the last ReLU, video tokens are never negative."""
        x = _linear(self.width, self.compute, "fc1")(layer_norm(self.compute, "norm")(x))
        if self.depth == 2:
            x = _linear(self.width, self.compute, "fc2")(nn.relu(x))
        return nn.relu(x) if self.final_relu else x


def _linear(width: int, compute: ComputeConfig, name: str | None = None) -> nn.Dense:
    """A biased linear map, initialised as the original does."""
    return nn.Dense(width, kernel_init=nn.initializers.xavier_uniform(), name=name, **compute.dtypes)
