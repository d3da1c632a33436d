"""Reading of a Gemma checkpoint's ``config.json``: values by version, and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.gemma_config import ACTIVATIONS, GEMMA_2B, GEMMA_7B, GemmaConfig, gemma_config_from_json

JSON_2B = {
    "model_type": "gemma",
    "vocab_size": 256000,
    "hidden_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 16384,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
}


@pytest.mark.parametrize(
    ("given", "rule", "hidden_act", "rounded"),
    [
        ({}, "4.38.0", "gelu", False),
        ({"hidden_act": "gelu_pytorch_tanh"}, "4.38.2", "gelu_pytorch_tanh", False),
        ({"hidden_act": "gelu"}, "4.39.0", "gelu_pytorch_tanh", True),
        ({"hidden_act": "gelu", "hidden_activation": "relu"}, "4.40.0", "relu", True),
        ({"hidden_act": "gelu", "hidden_activation": None}, "4.57.6", "gelu", True),
        ({}, "5.1.0", "gelu_pytorch_tanh", True),
    ],
)
def test_versions_of_transformers_disagree_about_the_same_file(given, rule, hidden_act, rounded):
    config = gemma_config_from_json(JSON_2B | given, rule)
    assert (config.hidden_act, config.round_embed_scale) == (hidden_act, rounded)


def test_the_2b_file_gives_the_2b_sizes():
    assert gemma_config_from_json(JSON_2B) == GEMMA_2B
    assert gemma_config_from_json(JSON_2B | {"model_type": "hilight_gemma", "torch_dtype": "float32"}) == GEMMA_2B
    assert (GEMMA_7B.num_heads * GEMMA_7B.head_dim, GEMMA_7B.width) == (4096, 3072)


def test_transformers_5_keeps_the_base_elsewhere():
    values = {k: x for k, x in JSON_2B.items() if k != "rope_theta"}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    assert gemma_config_from_json(values | rope).rope_base == 500


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "gemma2"}, "model_type 'gemma2', but only gemma and hilight_gemma can be read"),
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"attention_bias": True}, "attention_bias=True, but Gemma-1 has attention_bias=False"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling="),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        (
            {"hidden_act": "gelu_tanh"},
            "gemma.hidden_act is 'gelu_tanh', but must be one of .*quick_gelu.*Did you mean '",
        ),
    ],
)
def test_other_architectures_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        gemma_config_from_json(JSON_2B | changes)


@pytest.mark.parametrize(
    ("rule", "sentence"), [("new", "no version"), ("4.37.2", "has no Gemma; the first version that has it is 4.38.0")]
)
def test_a_rule_is_a_version_that_knows_gemma(rule, sentence):
    with pytest.raises(ConfigError, match=sentence):
        gemma_config_from_json(JSON_2B, rule)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"depth": 0}, "gemma.depth is 0"),
        ({"num_heads": 8, "num_kv_heads": 3}, "multiple of gemma.num_kv_heads=3"),
        ({"head_dim": 7}, "gemma.head_dim is 7, but must be even"),
        ({"norm_eps": 0.0}, "gemma.norm_eps is 0.0"),
        ({"rope_base": float("nan")}, "gemma.rope_base is nan"),
    ],
)
def test_sizes_that_cannot_work_are_refused(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        GemmaConfig(**fields)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", [-0.158655, 0.0, 1.954500]),
        ("gelu_pytorch_tanh", [-0.158808, 0.0, 1.954598]),
        ("gelu_python", [-0.158655, 0.0, 1.954500]),
        ("quick_gelu", [-0.154204, 0.0, 1.935659]),
        ("silu", [-0.268941, 0.0, 1.761594]),
        ("relu", [0.0, 0.0, 2.0]),
    ],
)
def test_activations_at_minus_one_zero_and_two(name, expected):
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.array([-1.0, 0.0, 2.0])), expected, atol=2e-6)
