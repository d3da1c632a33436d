import dataclasses

import jax
import pytest

from hilight_jax.benchmarks import chat_speed, machine
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.models.gemma_config import GEMMA_2B, GemmaConfig
from hilight_jax.models.hilight import param_shapes
from hilight_jax.stages.load_config import load_config
from tests.models import tiny_hilight

CONFIG = dataclasses.replace(
    load_config("configs/align.py:demo,frames=long_clip"),
    model=tiny_hilight.CONFIG,
    data=ConversationDataConfig(num_frames=3, image_size=8, key_frames=KeyFrameConfig(count=2), num_video_tokens=4),
)


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "SQUARE", {"cpu": 64})
        return chat_speed.measure(CONFIG, words=12, new_tokens=4, rounds=2)


def test_a_prompt_is_compared_with_a_plain_product(figures):
    assert (figures["prompt_tokens"], figures["video_tokens"]) == (16, 4)
    flops = chat_speed.prompt_flops(tiny_hilight.GEMMA, 16)
    assert figures["prompt_flops_per_second"] == pytest.approx(flops / figures["prompt_seconds"])
    assert figures["prompt_fraction_of_matmul"] == pytest.approx(
        figures["prompt_flops_per_second"] / figures["matmul_peak_flops_per_second"]
    )
    assert set(figures["matmul_flops_per_second"]) == {"64x64x64", "16x14x22", "16x22x14"}


def test_a_token_is_compared_with_a_plain_read_of_the_language_model(figures):
    gemma = param_shapes(tiny_hilight.CONFIG)["gemma"]
    assert figures["language_model_bytes"] == 4 * sum(x.size for x in jax.tree.leaves(gemma))
    assert figures["tokens_per_second"] == pytest.approx(1 / figures["token_seconds"])
    assert figures["token_fraction_of_read"] == pytest.approx(
        figures["language_model_bytes"] / figures["token_seconds"] / figures["read_peak_bytes_per_second"]
    )


def test_the_first_token_waits_for_the_clip_and_the_prompt(figures):
    assert figures["time_to_first_token_seconds"] == figures["clip_seconds"] + figures["prompt_seconds"]
    assert figures["peak_memory_bytes"] > figures["weights_bytes"] > figures["language_model_bytes"]


def test_flops_of_a_prompt_by_hand():
    config = GemmaConfig(vocab_size=7, width=4, depth=1, num_heads=2, num_kv_heads=1, head_dim=2, mlp_dim=3)
    # q and o 4 x 4, k and v 4 x 2, three of the MLP 4 x 3: 84 a token. Three tokens see 1, 2 and 3, scores and values
    # over 2 heads of 2: 48. One row of logits: 28.
    assert chat_speed.prompt_flops(config, 3) == 2 * (3 * 84 + 48 + 28)
    assert chat_speed.prompt_flops(GEMMA_2B, 424) == pytest.approx(1.70e12, rel=0.01)
