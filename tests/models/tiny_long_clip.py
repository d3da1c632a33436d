"""A Long-CLIP small enough to compile in seconds."""

import jax
import jax.numpy as jnp

from hilight_jax.models.long_clip import FrameConfig, LongClip, LongClipConfig, LongTextConfig

FRAMES = FrameConfig(image_size=8, patch_size=4, width=16, depth=2, num_heads=2, mlp_dim=24, embed_dim=10)
TEXT = LongTextConfig(
    vocab_size=30, max_length=9, kept_positions=3, width=12, depth=1, num_heads=3, mlp_dim=20, embed_dim=10
)
CONFIG = LongClipConfig(FRAMES, TEXT)


def shapes(config: LongClipConfig) -> dict:
    """Shapes and dtypes of the parameters; nothing is computed."""
    size = config.frames.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(LongClip(config).init, jax.random.key(0), image, jnp.zeros((1, 1), jnp.int32))["params"]
