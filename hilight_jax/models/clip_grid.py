"""The grid of a clip's patches: embeddings of frame, row and column, and average pooling on a coarser grid.

Tokens are the video tower's: M proxies, which have no place, then patches frame by frame, row-major in a frame.

Letters: F frames, P patches of a frame, M proxy tokens, S = M + F * P tokens of a clip, V pooled tokens, E width.
"""

from functools import reduce

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.clip_vip import VisionConfig, interpolate_frames
from hilight_jax.models.layers import ComputeConfig


def count_frames(num_tokens: int, vision: VisionConfig) -> int:
    """Returns F, the frames behind ``num_tokens`` tokens of this tower.

    Raises:
      ConfigError: They are not the proxies and the patches of one or more whole frames.
    """
    frames, left = divmod(num_tokens - vision.num_proxy_tokens, vision.num_patches)
    if left or frames < 1:
        raise ConfigError(
            f"a clip has {num_tokens} tokens, but a tower of {vision.num_proxy_tokens} proxies and frames of "
            f"{vision.num_patches} patches makes {vision.num_proxy_tokens} + F * {vision.num_patches}; set "
            f"vision.num_proxy_tokens, vision.image_size and vision.patch_size to those of the tower."
        )
    return frames


class PositionEmbeddings(nn.Module):
    """One learned row for each frame, one for each row and one for each column of patches; a patch takes their sum.

    Tables start at zero, where they change nothing. Clips of another length get the frames' table interpolated, as in
    the tower.
    """

    vision: VisionConfig
    width: int
    compute: ComputeConfig

    @nn.compact
    def __call__(self, num_tokens: int) -> Float[Array, "S E"]:
        """Returns what to add to each of S = ``num_tokens`` tokens: zeros for the proxies."""
        vision, side = self.vision, grid_side(self.vision)
        dtype, param_dtype = self.compute.dtypes.values()

        def table(name, rows):
            return self.param(name, nn.initializers.zeros, (rows, self.width), param_dtype)

        frame = interpolate_frames(table("frame", vision.num_frames), count_frames(num_tokens, vision))
        row, column = table("row", side), table("column", side)
        patches = frame[:, None, None] + row[:, None] + column
        return jnp.pad(patches.reshape(-1, self.width), ((vision.num_proxy_tokens, 0), (0, 0))).astype(dtype)


def grid_side(vision: VisionConfig) -> int:
    """The patches in a row, and in a column, of a frame."""
    return vision.image_size // vision.patch_size


def pooling_weights(vision: VisionConfig, num_tokens: int, num_frames: int, side: int) -> Float[np.ndarray, "V S"]:
    """The weights of adaptive average pooling of F frames to ``num_frames``, and of each to ``side`` rows and columns.

    Along each axis, pooled place i of m is the mean of places ``floor(i n / m)`` to ``ceil((i + 1) n / m)`` of n, the
    last not counted, as torch's ``adaptive_avg_pool3d``. Proxies are left out.

    Returns:
      float32 rows that sum to 1, frame by frame, row-major in a frame.

    Raises:
      ConfigError: The grid is finer than the patches, or the tokens are not those of the tower.
    """
    patches = grid_side(vision)
    if side > patches:
        raise ConfigError(
            f"token_mining.tokens_per_frame is {side**2}, but a frame has {patches} by {patches} patches; set it to "
            f"{patches**2} or a smaller square."
        )
    axes = ((count_frames(num_tokens, vision), num_frames), (patches, side), (patches, side))
    weights = reduce(np.kron, (_average(*sizes) for sizes in axes))
    return np.pad(weights, ((0, 0), (vision.num_proxy_tokens, 0))).astype(np.float32)


def _average(size: int, pooled: int) -> Float[np.ndarray, "pooled size"]:
    """The weights along one axis."""
    weights = np.zeros((pooled, size))
    for i in range(pooled):
        first, end = i * size // pooled, -(-(i + 1) * size // pooled)
        weights[i, first:end] = 1 / (end - first)
    return weights
