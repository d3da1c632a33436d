"""The names of transformers and PEFT, on the weights of golden cases."""

import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.gemma_names import (
    ADAPTER_TABLE,
    TABLE,
    adapter_from_official,
    adapter_to_official,
    from_official,
    to_official,
)
from hilight_jax.models import lora
from hilight_jax.models.gemma_config import gemma_config_from_json
from tests.models import tiny_gemma

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"


def read(name, prefix):
    tensors = load_file(GOLDENS / f"{name}.safetensors")
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def weights():
    return read("gemma_a_mqa_tanh", "weights/")


@pytest.fixture(scope="module")
def template():
    return tiny_gemma.shapes(
        gemma_config_from_json(json.loads((GOLDENS / "gemma_a_mqa_tanh.json").read_text())["config"])
    )


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (x.dtype, x.shape, x.tobytes()), name


def test_import_and_export_are_bitwise_inverse(weights, template):
    assert_same_bits(to_official(from_official(weights, template)), weights)


def test_every_parameter_has_exactly_one_official_name(template):
    assert sorted(entry.ours for entry in TABLE) == sorted(flatten(template))
    assert len({entry.theirs for entry in TABLE}) == len(TABLE)


def test_a_tied_head_and_stored_frequencies_are_skipped(weights, template):
    extra = {
        "lm_head.weight": weights["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32),
    }
    assert_same_bits(to_official(from_official(weights | extra, template)), weights)


def test_another_architecture_is_refused_by_name(weights, template):
    head = {"lm_head.weight": weights["model.embed_tokens.weight"] + 1}
    with pytest.raises(CheckpointError, match="'lm_head.weight' differs from 'model.embed_tokens.weight'"):
        from_official(weights | head, template)
    gemma_2 = {"model.layers.0.pre_feedforward_layernorm.weight": np.ones(20, np.float32)}
    with pytest.raises(CheckpointError, match="'model.layers.0.pre_feedforward_layernorm.weight' is not part"):
        from_official(weights | gemma_2, template)


def test_an_adapter_goes_both_ways_under_pefts_names():
    sidecar = json.loads((GOLDENS / "lora_a.json").read_text())
    adapter = read("lora_a", "weights/adapter/")
    shapes = tiny_gemma.shapes(gemma_config_from_json(sidecar["config"]["llm"]))
    template = jax.eval_shape(lambda: lora.init(jax.random.key(0), shapes, lora.LoraConfig()))
    assert sorted(entry.ours for entry in ADAPTER_TABLE) == sorted(flatten(template))
    assert_same_bits(adapter_to_official(adapter_from_official(adapter, template)), adapter)
    with pytest.raises(CheckpointError, match=r"q_proj.lora_A.weight' has shape \(64, 30\), expected \(8, 30\)"):
        small = jax.eval_shape(lambda: lora.init(jax.random.key(0), shapes, lora.LoraConfig(rank=8)))
        adapter_from_official(adapter, small)
