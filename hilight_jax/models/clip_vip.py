"""CLIP-ViP's video tower (Xue et al., arXiv 2209.06430): a CLIP ViT with proxy tokens and proxy-guided attention.

Tokens are ``[cls, added_cls..., patches]``, patches frame by frame and row-major in a frame. cls and added_cls are the
M proxy tokens: all of them take position 0, none takes a temporal embedding.

Letters: B batch, F frames, P patches of a frame, M proxy tokens, S = M + F * P tokens, D width of the tower, N heads,
H width of one head; Y rows, X columns and C colours of an image.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import platform
from hilight_jax.core.sharding import Rule
from hilight_jax.models.layers import (
    ENCODER_PARTITION_RULES,
    ComputeConfig,
    Encoder,
    check_multiples,
    check_sizes,
    layer_norm,
)
from hilight_jax.ops.attention import over_heads, proxy_attention
from hilight_jax.ops.fused_attention import fused_proxy_attention, suits

# Paths below the tower.
VISION_PARTITION_RULES: tuple[Rule, ...] = (
    (r"embeddings/patch_embedding/kernel", (None, "fsdp")),
    (r"embeddings/(class|position|temporal)_embedding", ()),
    (r"embeddings/added_cls", ()),
    (r"(pre|post)_layernorm/(scale|bias)", ()),
    *ENCODER_PARTITION_RULES,
)


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """Sizes of a tower that takes images as patches; the defaults are CLIP B/16's.

    Attributes:
      image_size: Pixels of a square frame's side; other frames may be given if they have as many patches.
      patch_size: Pixels of a patch's side.
      width: D.
      depth: Number of layers.
      num_heads: N; the official builder of Long-CLIP takes ``width // 64``.
      mlp_dim: Hidden width of the MLPs.
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int = 3072

    def check(self, tower: str, *more: str) -> None:
        """Raises a ConfigError unless all sizes are positive, patches tile the frame and heads the width."""
        check_sizes(tower, self, ("image_size", "patch_size", "width", "depth", "num_heads", "mlp_dim", *more))
        check_multiples(tower, self, {"image_size": "patch_size", "width": "num_heads"})

    @property
    def num_patches(self) -> int:
        """P, patches of a frame."""
        return (self.image_size // self.patch_size) ** 2

    def check_frame(self, rows: int, columns: int, advice: str) -> None:
        """Raises a ConfigError unless a frame of so many pixels has as many patches as the position table."""
        size = self.patch_size
        if rows % size or columns % size or (rows // size) * (columns // size) != self.num_patches:
            raise ConfigError(
                f"frames are {rows}x{columns} pixels, but this tower takes frames of whole {size}x{size} patches, "
                f"{self.num_patches} of them ({self.image_size}x{self.image_size}); {advice}."
            )


@dataclasses.dataclass(frozen=True)
class VisionConfig(ImageConfig):
    """Sizes of the video tower; the defaults are CLIP-ViP B/16's.

    Attributes beside those of ``ImageConfig``:
      num_frames: Rows of the temporal embedding; clips of another length get it interpolated.
      num_proxy_tokens: M, the cls token counted.
      temporal_embedding: Add an embedding of the frame to its patches.
    """

    num_frames: int = 12
    num_proxy_tokens: int = 4
    temporal_embedding: bool = True

    def __post_init__(self):
        """Checks the sizes."""
        self.check("vision", "num_frames")
        check(self, "vision.", lambda x: x >= 1, "at least 1: the cls token counts", "num_proxy_tokens")


def patchify(video: Float[Array, "B F Y X C"], patch_size: int) -> Float[Array, "B F P pixels"]:
    """Cuts frames into flattened patches: row-major in the frame, and so are a patch's pixels, colour last."""
    batch, frames, height, width, colours = video.shape
    rows, columns = height // patch_size, width // patch_size
    x = video.reshape(batch, frames, rows, patch_size, columns, patch_size, colours)
    return x.swapaxes(3, 4).reshape(batch, frames, rows * columns, patch_size * patch_size * colours)


def interpolate_frames(table: Float[Array, "frames D"], num_frames: int) -> Float[Array, "F D"]:
    """Stretches the temporal embedding to ``num_frames`` rows: linear, half-pixel centres, *not* antialiased.

    As torch's ``F.interpolate(mode='linear', align_corners=False)``: one frame takes the middle of the table.
    """
    if table.shape[0] == num_frames:
        return table
    return jax.image.resize(table, (num_frames, table.shape[1]), "linear", antialias=False)


class VideoEmbeddings(nn.Module):
    """Pixels to tokens: patch, position and temporal embeddings, and the proxy tokens in front."""

    config: VisionConfig
    compute: ComputeConfig

    @nn.compact
    def __call__(self, video: Float[Array, "B F Y X C"]) -> Float[Array, "B S D"]:
        """Returns ``S = M + F * P`` tokens, before any norm.

        added_cls starts as small as the cls token here. The original draws it with standard deviation 1, which a
        pretrained tower absorbs but training from scratch does not.
        """
        config, width = self.config, self.config.width
        dtype, param_dtype = self.compute.dtypes.values()
        small = nn.initializers.normal(width**-0.5)
        normal = nn.initializers.normal(0.02)

        def table(name, init, *shape):
            return self.param(name, init, (*shape, width), param_dtype).astype(dtype)

        patch = nn.Dense(width, use_bias=False, kernel_init=normal, name="patch_embedding", **self.compute.dtypes)
        position = table("position_embedding", normal, 1 + config.num_patches)
        patches = patch(patchify(video, config.patch_size)) + position[1:]
        if config.temporal_embedding:
            time = self.param("temporal_embedding", nn.initializers.zeros, (config.num_frames, width), param_dtype)
            patches = patches + interpolate_frames(time, video.shape[1]).astype(dtype)[:, None]
        proxies = table("class_embedding", small)[None]
        if config.num_proxy_tokens > 1:
            proxies = jnp.concatenate([proxies, table("added_cls", small, config.num_proxy_tokens - 1)])
        batch = video.shape[0]
        proxies = jnp.broadcast_to(proxies + position[0], (batch, *proxies.shape))
        return jnp.concatenate([proxies, patches.reshape(batch, -1, width)], axis=1)


def choose_attention(
    shape: tuple[int, ...], num_heads: int, num_proxy_tokens: int, num_frames: int, compute: ComputeConfig
) -> Callable[..., Array]:
    """Returns proxy-guided attention, a function of queries, keys and values [B, S, D].

    Args:
      shape: B, S = M + F * P and D.
      num_heads: N.
      num_proxy_tokens: M.
      num_frames: F.
      compute: Its ``attention`` chooses between the plain products and the kernel.

    Raises:
      ConfigError: The fused kernel is asked for where it cannot run, or for a shape that it does not take.
    """
    device, value_bytes = platform(), compute.dtypes["dtype"].itemsize
    fits = suits(shape[1], num_proxy_tokens, num_frames, shape[2], shape[2] // num_heads, value_bytes)
    if compute.attention == "fused" and not (fits and device in ("cpu", "tpu")):
        raise ConfigError(
            f"compute.attention is 'fused', but {num_frames} frames, {num_proxy_tokens} proxies, {shape[1]} tokens "
            f"of width {shape[2]} and {num_heads} heads on a {device} are not for the kernel; use 'plain' or 'auto'."
        )
    if compute.attention == "fused" or (compute.attention == "auto" and fits and device == "tpu"):
        return functools.partial(
            fused_proxy_attention,
            num_heads=num_heads,
            num_proxy_tokens=num_proxy_tokens,
            num_frames=num_frames,
            interpret=device == "cpu",
        )
    sizes = {"num_proxy_tokens": num_proxy_tokens, "num_frames": num_frames}
    return over_heads(functools.partial(proxy_attention, **sizes), num_heads)


class VideoTower(nn.Module):
    """The video encoder. HiLight's CLIP-ViP tower is its ``tokens``: all ``M + F * P``, without the post norm."""

    config: VisionConfig
    compute: ComputeConfig

    def setup(self):
        """Names the parameters after the official ones (whose ``pre_layrnorm`` is misspelt)."""
        config = self.config
        self.embeddings = VideoEmbeddings(config, self.compute)
        self.pre_layernorm = layer_norm(self.compute)
        self.encoder = Encoder(config.depth, config.num_heads, config.mlp_dim, self.compute)
        self.post_layernorm = layer_norm(self.compute)

    def __call__(
        self, video: Float[Array, "B F Y X C"], keep_outputs: bool = False
    ) -> dict[str, Array | tuple[Array, ...] | None]:
        """Encodes clips.

        Args:
          video: Normalised pixels; any number of frames, any frame with as many patches as the position table.
          keep_outputs: Also return every block's output.

        Returns:
          ``embeddings`` [B, M+F*P, D], after the pre norm; ``tokens`` [B, M+F*P, D], the last block's output without
          the post norm; ``pooled`` [B, D], the cls token after the post norm; ``outputs``, each block's output, or
          None.

        Raises:
          ConfigError: The frames do not divide into as many patches as the position table has.
        """
        if video.ndim != 5:
            raise ConfigError(
                f"video has shape {video.shape}, but must be [B, F, Y, X, C]: clips, frames, rows, columns, 3."
            )
        self.config.check_frame(video.shape[2], video.shape[3], "resize the video or set vision.image_size")
        embeddings = self.pre_layernorm(self.embeddings(video))
        attend = choose_attention(
            embeddings.shape, self.config.num_heads, self.config.num_proxy_tokens, video.shape[1], self.compute
        )
        tokens, outputs = self.encoder(embeddings, attend, keep_outputs=keep_outputs)
        return {"embeddings": embeddings, "tokens": tokens, "pooled": self.norm(tokens[:, 0]), "outputs": outputs}

    def norm(self, tokens: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """The post norm, which the original applies to the cls token only and the local heads to patches too."""
        return self.post_layernorm(tokens)
