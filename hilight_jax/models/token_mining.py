"""Token mining, HiLight's connector: Long-CLIP's frame features query CLIP-ViP's tokens by one cross attention.

The three structures of the report's Figure 3 (arXiv 2407.07325), the last of them as released
(``UniLMProjectors``), and a fourth that differs from it in the layout of the expanded queries alone. Of the first two
only parameter counts are known. Options, all off as released, add what these lack: places of patches, several heads, a
residual, a norm at the end. A fifth structure asks nothing and pools patches on a grid (DeCo, arXiv 2405.20985).

Letters: B batch, F key frames, S tokens of a clip, V video tokens, D width of the video tower or the language model,
E width of the frame tower, N heads, H width of one head.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.models.clip_grid import PositionEmbeddings, pooling_weights
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.layers import LAYER_NORM_EPSILON, ComputeConfig, layer_norm
from hilight_jax.models.token_mining_config import TokenMiningConfig

# Paths below the connector.
TOKEN_MINING_PARTITION_RULES: tuple[Rule, ...] = (
    (r"(video_projector|(query|key|value)/linear|output/fc[12])/kernel", ("fsdp", None)),
    (r"(video_projector|(query|key|value)/linear|output/fc[12])/bias", ()),
    (r"(query|key|value|output)/(norm|final_norm)/(scale|bias)", ()),
    (r"(key|value)/positions/(frame|row|column)", ()),
    (r"frame_expansion/(kernel|bias)", ()),
)


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


def cross_attention(
    q: Float[Array, "B V E"], k: Float[Array, "B S E"], v: Float[Array, "B S E"], num_heads: int
) -> tuple[Float[Array, "B V E"], Float[Array, "B V S"]]:
    """Softmax attention of one or several heads: mixed values, and weights (float32 at least, the mean over heads)."""
    if num_heads > 1:
        heads = (x.reshape(*x.shape[:2], num_heads, -1) for x in (q, k, v))
        one_head = functools.partial(cross_attention, num_heads=1)
        mixed, weights = jax.vmap(one_head, in_axes=2, out_axes=2)(*heads)
        return mixed.reshape(q.shape), weights.mean(axis=2)
    precise = jnp.promote_types(q.dtype, jnp.float32)
    k = k * k.shape[-1] ** -0.5
    scores = jnp.einsum("BVE,BSE->BVS", q, k, preferred_element_type=precise)
    # As the original, which trains in float16, where a product may overflow: NaN to 0, infinity to the largest.
    weights = jax.nn.softmax(jnp.nan_to_num(scores), axis=-1)
    return jnp.einsum("BVS,BSE->BVE", weights.astype(v.dtype), v), weights


class TokenMining(nn.Module):
    """The connector; every key frame's tokens see all of the clip's tokens.

    Attributes:
      config: Structure and sizes.
      compute: How to compute it.
      vision: Sizes of the tower whose tokens it mines, which ``positions`` and ``grid_pooling`` need.
    """

    config: TokenMiningConfig
    compute: ComputeConfig
    vision: VisionConfig | None = None

    def setup(self):
        """Top names: query (not for grid pooling), key, value, output; released, video_projector, frame_expansion."""
        config, compute = self.config, self.compute
        if config.structure == "dual_projector":
            self.video_projector = _linear(config.width_video, compute)
            self.frame_expansion = _linear(config.tokens_per_frame, compute)
        vision = self.vision if config.positions else None
        if config.structure != "grid_pooling":
            self.query = NormLinear(config.width_frames, compute)
            self.key = NormLinear(config.width_frames, compute, vision)
        self.value = NormLinear(config.width_frames, compute, vision)
        depth = 1 if config.structure == "one_linear" else 2
        self.output = Output(config.width_out, depth, config.ends_in_relu, config.final_norm, compute)

    def __call__(
        self, clip_tokens: Float[Array, "B S D"], frame_features: Float[Array, "B F E"]
    ) -> dict[str, Float[Array, "..."]]:
        """Mines video tokens.

        Args:
          clip_tokens: All ``S = M + F * P`` tokens of the video tower, proxies first, without its post norm.
          frame_features: Projected, un-normalised features of the key frames.

        Returns:
          ``tokens`` [B, V, D] of the language model's width, frame by frame; ``attention`` [B, V, S], how much each
          drew on every token of the clip (rows sum to 1): the mean over heads, or the weights of the pooling.

        Raises:
          ConfigError: The features are of other widths than configured, or the tokens not those of the tower.
        """
        self._check(clip_tokens.shape, frame_features.shape)
        config, dtype = self.config, self.compute.dtypes["dtype"]
        clip_tokens, frames = clip_tokens.astype(dtype), frame_features.astype(dtype)
        queries = frames
        if config.structure == "dual_projector":
            clip_tokens = nn.relu(self.video_projector(clip_tokens))
            queries = expand_frames(nn.relu(self.frame_expansion(frames[..., None])), config.expansion)
        if config.structure == "grid_pooling":
            queries = jnp.repeat(frames, config.tokens_per_frame, axis=1)
            weights = pooling_weights(self.vision, clip_tokens.shape[1], frames.shape[1], config.pooled_side)
            mined = self.value(clip_tokens, weights.astype(dtype))
            attention = jnp.broadcast_to(weights, (mined.shape[0], *weights.shape))
        else:
            q, k, v = self.query(queries), self.key(clip_tokens), self.value(clip_tokens)
            mined, attention = cross_attention(q, k, v, config.num_heads)
        if config.residual:
            mined = mined + queries
        return {"tokens": self.output(mined), "attention": attention}

    def _check(self, clip: tuple[int, ...], frames: tuple[int, ...]) -> None:
        for name, shape, key in (("clip_tokens", clip, "width_video"), ("frame_features", frames, "width_frames")):
            if len(shape) != 3 or shape[-1] != getattr(self.config, key):
                raise ConfigError(
                    f"{name} have shape {shape}, but must be [clips, tokens, {getattr(self.config, key)}]; "
                    f"set token_mining.{key} to the width of the tower."
                )
        if self.vision is None and (self.config.positions or self.config.structure == "grid_pooling"):
            raise ConfigError(
                "token mining by position needs the sizes of the video tower; give TokenMining its vision config."
            )


class NormLinear(nn.Module):
    """LayerNorm and a linear map: queries, keys and values each through their own; given the tower, plus positions."""

    width: int
    compute: ComputeConfig
    vision: VisionConfig | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B S D"], weights: Float[Array, "V S"] | None = None
    ) -> Float[Array, "B rows E"]:
        """Maps every token by itself; with ``weights``, whose rows sum to 1, the means of what it maps them to."""
        count, x = x.shape[1], layer_norm(self.compute, "norm")(x)
        if weights is not None:
            x = jnp.einsum("VS,BSD->BVD", weights, x)  # The mean of a linear map is the linear map of the mean.
        x = _linear(self.width, self.compute, "linear")(x)
        if self.vision is not None:
            places = PositionEmbeddings(self.vision, self.width, self.compute, name="positions")(count)
            x = x + (places if weights is None else weights @ places)
        return x


class Output(nn.Module):
    """From mined tokens to the language model's width: LayerNorm, one or two linear maps, a last ReLU or LayerNorm."""

    width: int
    depth: int
    final_relu: bool
    final_norm: bool
    compute: ComputeConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B V E"]) -> Float[Array, "B V D"]:
        """Maps every token by itself; with the last ReLU, video tokens are never negative."""
        x = _linear(self.width, self.compute, "fc1")(layer_norm(self.compute, "norm")(x))
        if self.depth == 2:
            x = _linear(self.width, self.compute, "fc2")(nn.relu(x))
        if self.final_norm:
            # Gemma multiplies all embeddings by sqrt(D), so that those of a text have variance 1.
            scale = nn.initializers.constant(self.width**-0.5)
            norm = {"epsilon": LAYER_NORM_EPSILON, "use_fast_variance": False, **self.compute.dtypes}
            return nn.LayerNorm(scale_init=scale, name="final_norm", **norm)(x)
        return nn.relu(x) if self.final_relu else x


def _linear(width: int, compute: ComputeConfig, name: str | None = None) -> nn.Dense:
    """A biased linear map, initialised as the original does."""
    return nn.Dense(width, kernel_init=nn.initializers.xavier_uniform(), name=name, **compute.dtypes)
