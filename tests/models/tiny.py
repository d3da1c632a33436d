"""A dual encoder small enough to compile in seconds, with parameters drawn without compiling anything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig

VISION = VisionConfig(
    image_size=8, patch_size=4, width=16, depth=2, num_heads=2, mlp_dim=24, num_frames=3, num_proxy_tokens=2
)
TEXT = TextConfig(vocab_size=30, max_length=9, width=12, depth=2, num_heads=3, mlp_dim=20)
CONFIG = DualEncoderConfig(VISION, TEXT, embed_dim=10)
IDS = np.array([[28, 3, 4, 5, 29, 0, 0], [28, 7, 29, 0, 0, 0, 0]], np.int32)


def config(**changes) -> DualEncoderConfig:
    """The tiny sizes with these changes."""
    return dataclasses.replace(CONFIG, **changes)


def video(frames: int = 3, seed: int = 0) -> np.ndarray:
    """Two clips."""
    return np.random.default_rng(seed).normal(size=(2, frames, 8, 8, 3)).astype(np.float32)


def shapes(config: DualEncoderConfig) -> dict:
    """Shapes and dtypes of the parameters; nothing is computed."""
    size = config.vision.image_size
    clip = jax.ShapeDtypeStruct((1, config.vision.num_frames, size, size, 3), jnp.float32)
    return jax.eval_shape(DualEncoder(config).init, jax.random.key(0), clip, jnp.zeros((1, 1), jnp.int32))["params"]


def params(config: DualEncoderConfig, seed: int = 0) -> dict:
    """Normal parameters of standard deviation 0.3, scales of LayerNorm about 1."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        x = 0.3 * rng.standard_normal(leaf.shape) + ("scale" in jax.tree_util.keystr(path))
        return jnp.asarray(x, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes(config))
