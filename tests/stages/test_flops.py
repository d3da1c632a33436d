"""The analytic FLOPs: by hand for a tower that fits on a napkin, and against XLA's own count of the program."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hilight_jax.core.mesh import make_mesh
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from hilight_jax.stages import flops
from hilight_jax.stages.chat import ChatObjective
from hilight_jax.stages.load_config import load_config
from hilight_jax.stages.long_clip import LongClipObjective
from hilight_jax.training.trainer import Trainer


def test_a_tiny_video_tower_by_hand():
    config = VisionConfig(image_size=4, patch_size=2, width=6, depth=1, num_heads=1, mlp_dim=10, num_proxy_tokens=1)
    # Two frames of 4 patches and one proxy: 9 tokens. The proxy sees 9 of them, each of 8 patches its 4 and the proxy.
    embedding = 8 * (3 * 2 * 2) * 6
    projections = 4 * 9 * 6 * 6
    attention = 2 * (9 + 8 * 5) * 6
    mlp = 2 * 9 * 6 * 10
    assert flops.video_flops(config, num_frames=2) == 2 * (embedding + projections + attention + mlp)


def test_a_tiny_text_tower_by_hand():
    config = TextConfig(width=6, depth=2, num_heads=1, mlp_dim=10)
    layer = 4 * 5 * 6 * 6 + 2 * 5 * 5 * 6 + 2 * 5 * 6 * 10
    assert flops.text_flops(config, length=5) == 2 * (2 * layer)


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
        flops.video_flops(config.vision, num_frames)
        + flops.text_flops(config.text, length)
        + flops.projection_flops(config)
        + flops.local_flops(config, num_frames, length)
    )
    assert analytic < counted < (1 + share) * analytic


def test_each_swap_is_one_more_text_through_its_tower_and_projection():
    without, three = (load_config(f"configs/encoder.py:demo,swaps={n}") for n in (0, 3))
    text = without.model.text
    one = flops.text_flops(text, 48) + 2 * text.width * without.model.embed_dim
    assert flops.encoder_step_flops(three) - flops.encoder_step_flops(without) == 3 * 32 * 3 * one


GEMMA = GemmaConfig(vocab_size=11, width=6, depth=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=10)
WIDE = (
    "--config.model.gemma.width=128",
    "--config.model.gemma.depth=4",
    "--config.model.gemma.mlp_dim=512",
    "--config.model.compute.unroll=true",
    "--config.model.compute.dtype=float32",
    "--config.batch_size=2",
    "--config.optimizer.name=adamw",  # Muon has products of its own, which are not the model's.
)


def test_a_tiny_language_model_by_hand():
    maps = 6 * 8 + 2 * 6 * 4 + 8 * 6 + 3 * 6 * 10
    assert flops.gemma_linear_flops(GEMMA, rows=5) == 2 * 5 * (2 * maps + 6 * 11)
    assert flops.gemma_attention_flops(GEMMA, rows=5) == 2 * 2 * (2 * 5 * 5 * 2 * 4)


def test_deltas_of_chosen_maps_by_hand():
    lora = LoraConfig(rank=3, targets=(r"layers/attn/q_proj",))
    assert flops.lora_flops(GEMMA, lora, rows=5) == 2 * 5 * 2 * 3 * (6 + 8)


def test_frozen_weights_have_no_product_of_their_own():
    frozen = flops.chat_step_flops(load_config("configs/tune.py:demo", WIDE))
    whole = flops.chat_step_flops(load_config("configs/tune.py:demo,train=full", WIDE))
    model = load_config("configs/tune.py:demo", WIDE).model
    deltas = flops.lora_flops(model.gemma, model.lora, 320)
    assert frozen < whole + 2 * 3 * deltas


def test_token_mining_by_hand():
    """Three tokens of each of two key frames, of a clip of 7 tokens."""
    sizes = {"width_video": 6, "width_frames": 4, "width_out": 5}
    projectors, asked = 7 * 6 * 6 + 2 * 4 * 3, 2 * (7 * 6 * 4) + 6 * 4 * 4 + 2 * (6 * 7 * 4)
    output = 6 * 4 * 5 + 6 * 5 * 5
    config = TokenMiningConfig(tokens_per_frame=3, **sizes)
    assert flops.mining_flops(config, 7, 2) == 2 * (projectors + asked + output)
    options = {"positions": True, "num_heads": 2, "residual": True, "final_norm": True}
    assert flops.mining_flops(dataclasses.replace(config, **options), 7, 2) == flops.mining_flops(config, 7, 2)
    grid = TokenMiningConfig("grid_pooling", 4, **sizes)
    means, values, output = 8 * 7 * 6, 8 * 6 * 4, 8 * 4 * 5 + 8 * 5 * 5
    assert flops.mining_flops(grid, 7, 2) == 2 * (means + values + output)


@pytest.mark.parametrize("spec", ["align.py:demo", "tune.py:demo", "align.py:demo,connector=grid_pooling"])
def test_xla_counts_the_same_step_of_a_chat_stage(spec):
    config = load_config(f"configs/{spec}", WIDE)
    assert _counted(config, ChatObjective(config)) == pytest.approx(flops.chat_step_flops(config), rel=0.05)


def test_xla_counts_the_same_step_of_long_clip():
    shapes = ("--config.batch_size=32", "--config.model.compute.unroll=true", "--config.model.compute.dtype=float32")
    config = load_config("configs/long_clip.py:demo", shapes)
    mesh = make_mesh(devices=jax.devices()[:1])
    analytic = flops.long_clip_step_flops(config)
    assert _counted(config, LongClipObjective(config, mesh)) == pytest.approx(analytic, rel=0.05)


def _counted(config, objective):
    trainer = Trainer(config, objective, make_mesh(devices=jax.devices()[:1]))
    return trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes()).cost_analysis()["flops"]
