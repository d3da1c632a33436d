"""The analytic FLOPs: by hand for a tower that fits on a napkin, and against XLA's own count of the program."""

import jax
import jax.numpy as jnp
import pytest

from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from hilight_jax.stages import encoder_flops


def test_a_tiny_video_tower_by_hand():
    config = VisionConfig(image_size=4, patch_size=2, width=6, depth=1, num_heads=1, mlp_dim=10, num_proxy_tokens=1)
    # Two frames of 4 patches and one proxy: 9 tokens. The proxy sees 9 of them, each of 8 patches its 4 and the proxy.
    embedding = 8 * (3 * 2 * 2) * 6
    projections = 4 * 9 * 6 * 6
    attention = 2 * (9 + 8 * 5) * 6
    mlp = 2 * 9 * 6 * 10
    assert encoder_flops.video_flops(config, num_frames=2) == 2 * (embedding + projections + attention + mlp)


def test_a_tiny_text_tower_by_hand():
    config = TextConfig(width=6, depth=2, num_heads=1, mlp_dim=10)
    layer = 4 * 5 * 6 * 6 + 2 * 5 * 5 * 6 + 2 * 5 * 6 * 10
    assert encoder_flops.text_flops(config, length=5) == 2 * (2 * layer)


DEMO = DualEncoderConfig(
    vision=VisionConfig(image_size=64, patch_size=8, width=128, depth=4, num_heads=4, mlp_dim=512, num_frames=4),
    text=TextConfig(width=128, depth=4, num_heads=4, mlp_dim=512),
    embed_dim=128,
    local=LocalHeadsConfig(levels=("embedding", "last"), head="mlp", text_side="embedding"),
    compute=ComputeConfig(unroll=True),  # XLA counts a loop's body once.
)
B32 = DualEncoderConfig(vision=VisionConfig(patch_size=32), compute=ComputeConfig(unroll=True))


@pytest.mark.parametrize(
    ("config", "num_frames", "length", "share"), [(DEMO, 4, 48, 0.025), (B32, 12, 50, 0.005)], ids=["demo", "b32"]
)
def test_xla_counts_the_same_but_for_norms_and_softmaxes(config, num_frames, length, share):
    model, size = DualEncoder(config), config.vision.image_size
    video = jax.ShapeDtypeStruct((2, num_frames, size, size, 3), jnp.float32)
    ids, mask = jax.ShapeDtypeStruct((2, length), jnp.int32), jax.ShapeDtypeStruct((2, length), bool)
    params = jax.eval_shape(lambda v, t: model.init(jax.random.key(0), v, t), video, ids)
    counted = jax.jit(model.apply).lower(params, video, ids, mask).cost_analysis()["flops"]
    analytic = 2 * (
        encoder_flops.video_flops(config.vision, num_frames)
        + encoder_flops.text_flops(config.text, length)
        + encoder_flops.projection_flops(config)
        + encoder_flops.local_flops(config, num_frames, length)
    )
    assert analytic < counted < (1 + share) * analytic
