"""Our Long-CLIP under a golden's sizes and weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.formats.long_clip_names import from_official
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.long_clip import FrameConfig, LongClip, LongClipConfig, LongTextConfig
from tests.parity.case import Case

# The official builder gives a head 64 dimensions; a case that was built otherwise names its heads.
_HEAD_WIDTH = 64


def build(case: Case, fp16_rounded: bool = False) -> tuple[LongClip, dict[str, Any]]:
    """Returns the model of ``case.config`` and the case's weights in our tree; a file may lack the text tower."""
    weights = case.weights()
    has = {"frames": "visual.proj", "text": "text_projection", "logit_scale": "logit_scale"}
    parts = [part for part, name in has.items() if name in weights]
    model = LongClip(_config(case.config, case.dtype, weights))
    size = model.config.frames.image_size
    template = jax.eval_shape(
        model.init, jax.random.key(0), jnp.zeros((1, size, size, 3), case.dtype), jnp.zeros((1, 1), jnp.int32)
    )["params"]
    return model, from_official(weights, {part: template[part] for part in parts}, fp16_rounded)


def _config(sizes: dict[str, Any], dtype: str, weights: dict[str, np.ndarray]) -> LongClipConfig:
    frames = FrameConfig(
        image_size=sizes["image_size"],
        patch_size=sizes["patch_size"],
        width=sizes["v_width"],
        depth=sizes["v_layers"],
        num_heads=sizes.get("v_heads", sizes["v_width"] // _HEAD_WIDTH),
        mlp_dim=4 * sizes["v_width"],
        embed_dim=sizes["embed_dim"],
    )
    text = LongTextConfig(width=8, depth=1, num_heads=1, mlp_dim=8, embed_dim=sizes["embed_dim"])
    if "t_width" in sizes:
        text = LongTextConfig(
            vocab_size=sizes["vocab_size"],
            max_length=len(weights.get("positional_embedding", range(text.max_length))),
            width=sizes["t_width"],
            depth=sizes["t_layers"],
            num_heads=sizes.get("t_heads", sizes["t_width"] // _HEAD_WIDTH),
            mlp_dim=4 * sizes["t_width"],
            embed_dim=sizes["embed_dim"],
        )
    return LongClipConfig(frames, text, compute=ComputeConfig(dtype=dtype, param_dtype=dtype))
