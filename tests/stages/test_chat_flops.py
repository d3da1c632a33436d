"""The FLOPs of the other stages: by hand where that fits on a napkin, and against XLA's count of the train step."""

import jax
import pytest

from hilight_jax.core.mesh import make_mesh
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.stages import chat_flops
from hilight_jax.stages.chat_objective import ChatObjective
from hilight_jax.stages.load_config import load_config
from hilight_jax.stages.long_clip_objective import LongClipObjective
from hilight_jax.training.trainer import Trainer

GEMMA = GemmaConfig(vocab_size=11, width=6, depth=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=10)
WIDE = (
    "--config.model.gemma.width=128",
    "--config.model.gemma.depth=4",
    "--config.model.gemma.mlp_dim=512",
    "--config.model.compute.unroll=true",
    "--config.model.compute.dtype=float32",
    "--config.batch_size=2",
)


def test_a_tiny_language_model_by_hand():
    maps = 6 * 8 + 2 * 6 * 4 + 8 * 6 + 3 * 6 * 10
    assert chat_flops.gemma_linear_flops(GEMMA, rows=5) == 2 * 5 * (2 * maps + 6 * 11)
    assert chat_flops.gemma_attention_flops(GEMMA, rows=5) == 2 * 2 * (2 * 5 * 5 * 2 * 4)


def test_deltas_of_chosen_maps_by_hand():
    lora = LoraConfig(rank=3, targets=(r"layers/attn/q_proj",))
    assert chat_flops.lora_flops(GEMMA, lora, rows=5) == 2 * 5 * 2 * 3 * (6 + 8)


def test_frozen_weights_have_no_product_of_their_own():
    frozen = chat_flops.chat_step_flops(load_config("configs/tune.py:demo", WIDE))
    whole = chat_flops.chat_step_flops(load_config("configs/tune.py:demo,train=full", WIDE))
    model = load_config("configs/tune.py:demo", WIDE).model
    deltas = chat_flops.lora_flops(model.gemma, model.lora, 320)
    assert frozen < whole + 2 * 3 * deltas


@pytest.mark.parametrize("spec", ["align.py:demo", "tune.py:demo"])
def test_xla_counts_the_same_step_of_a_chat_stage(spec):
    config = load_config(f"configs/{spec}", WIDE)
    assert _counted(config, ChatObjective(config)) == pytest.approx(chat_flops.chat_step_flops(config), rel=0.05)


def test_xla_counts_the_same_step_of_long_clip():
    shapes = ("--config.batch_size=32", "--config.model.compute.unroll=true", "--config.model.compute.dtype=float32")
    config = load_config("configs/long_clip.py:demo", shapes)
    mesh = make_mesh(devices=jax.devices()[:1])
    analytic = chat_flops.long_clip_step_flops(config)
    assert _counted(config, LongClipObjective(config, mesh)) == pytest.approx(analytic, rel=0.05)


def _counted(config, objective):
    trainer = Trainer(config, objective, make_mesh(devices=jax.devices()[:1]))
    return trainer.train_step.lower(trainer.state_shapes, trainer.example_shapes()).cost_analysis()["flops"]
