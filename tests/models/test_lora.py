"""Deltas beside frozen kernels: what they add, where they go, how they are merged, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.sharding import shardings
from hilight_jax.core.trees import count, flatten, split
from hilight_jax.formats.exporting.lora import merge_lazily
from hilight_jax.models import lora
from hilight_jax.models.gemma_config import GEMMA_2B
from hilight_jax.models.gemma_decoding import unstack_layers
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.lora import Linear, LoraConfig
from tests.models import tiny_gemma


@pytest.fixture(scope="module")
def params():
    return tiny_gemma.params()


@pytest.fixture(scope="module")
def adapted(params):
    return tiny_gemma.run({"params": params, "lora": tiny_gemma.deltas()})["logits"]


def test_a_delta_by_hand():
    """x = (1, 2), a = (1, 1), b = 3, alpha / rank = 1/2: the delta adds 4.5 to the kernel's 2."""
    linear = Linear(1, 1.0, ComputeConfig(), LoraConfig(rank=2, alpha=1.0))
    deltas = {"a": jnp.array([[1.0, 0.0], [1.0, 0.0]]), "b": jnp.array([[3.0], [7.0]])}
    variables = {"params": {"kernel": jnp.array([[0.0], [1.0]])}, "lora": deltas}
    np.testing.assert_allclose(linear.apply(variables, jnp.array([1.0, 2.0])), [6.5])


def test_fresh_deltas_change_nothing_and_mirror_the_model(params):
    fresh = lora.init(jax.random.key(0), params, tiny_gemma.LORA)
    flat = {path: x.shape for path, x in flatten(fresh).items()}
    assert flat["layers/attn/q_proj/a"] == (2, 12, 3)
    assert flat["layers/attn/q_proj/b"] == (2, 3, 24)
    assert len(flat) == 14
    bound = np.abs(fresh["layers"]["mlp"]["down_proj"]["a"]).max()
    assert 0.9 * 20**-0.5 < bound <= 20**-0.5
    plain = tiny_gemma.run({"params": params})["logits"]
    np.testing.assert_array_equal(tiny_gemma.run({"params": params, "lora": fresh})["logits"], plain)


def test_the_defaults_are_the_originals_78_million():
    deltas = jax.eval_shape(lambda: lora.init(jax.random.key(0), tiny_gemma.shapes(GEMMA_2B), LoraConfig()))
    assert count(deltas) == 78_446_592
    placed = shardings(deltas, lora.LORA_PARTITION_RULES, make_mesh(MeshConfig(fsdp=4, tensor=2)))
    assert placed["layers"]["mlp"]["down_proj"]["a"].spec == PartitionSpec(None, "tensor", None)


def test_merged_kernels_give_what_kernel_and_delta_give(params, adapted):
    merged = jax.tree.map(np.asarray, merge_lazily(params, tiny_gemma.deltas(), tiny_gemma.LORA))
    np.testing.assert_allclose(tiny_gemma.run({"params": merged})["logits"], adapted, atol=1e-4)
    assert np.abs(tiny_gemma.run({"params": params})["logits"] - adapted).max() > 0.1


def test_deltas_of_unstacked_layers(params, adapted):
    variables = {"params": unstack_layers(params), "lora": unstack_layers(tiny_gemma.deltas())}
    np.testing.assert_allclose(tiny_gemma.run(variables, fields={"stacked": False})["logits"], adapted, atol=1e-5)


def test_targets_choose_the_maps_by_path(params):
    config = LoraConfig(rank=2, targets=(r"layers/attn/(q|v)_proj", "layers/mlp"))
    paths = {path.rpartition("/")[0] for path in flatten(lora.init(jax.random.key(0), params, config))}
    maps = ("attn/q_proj", "attn/v_proj", "mlp/down_proj", "mlp/gate_proj", "mlp/up_proj")
    assert paths == {f"layers/{name}" for name in maps}


def test_dropout_follows_its_key_and_leaves_the_frozen_path_alone(params, adapted):
    variables = {"params": params, "lora": tiny_gemma.deltas()}

    def train(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return tiny_gemma.run(variables, deterministic=False, rngs=rngs)["logits"]

    first = train(0)
    np.testing.assert_array_equal(first, train(0))
    assert np.abs(first - train(1)).max() > 0.01
    assert np.abs(first - adapted).max() > 0.01
    zero = jax.tree.map(jnp.zeros_like, variables["lora"])
    frozen = tiny_gemma.run({"params": params, "lora": zero}, deterministic=False, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(frozen["logits"], tiny_gemma.run({"params": params})["logits"], atol=1e-5)


def test_deltas_without_a_configuration_are_refused(params):
    with pytest.raises(ConfigError, match="layers/attn/q_proj' was given a LoRA delta"):
        tiny_gemma.run({"params": params, "lora": tiny_gemma.deltas()}, fields={"lora": None})


def test_a_pattern_that_matches_nothing_names_the_maps(params):
    with pytest.raises(ConfigError, match="'layers/attn/query', which matches no linear map; .*layers/attn/q_proj"):
        lora.init(jax.random.key(0), params, LoraConfig(targets=("layers/attn/query",)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rank": 0}, "lora.rank is 0"),
        ({"alpha": 0.0}, "lora.alpha is 0.0"),
        ({"dropout": 1.0}, "lora.dropout is 1.0"),
        ({"targets": ()}, "lora.targets is empty"),
    ],
)
def test_numbers_that_cannot_work_are_refused(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LoraConfig(**fields)


def test_an_adapter_for_other_shapes_is_named_whole(params):
    deltas = tiny_gemma.deltas()
    with pytest.raises(CheckpointError, match=r"q_proj/a' has shape \(2, 12, 3\), expected \(2, 12, 4\).*down_proj/b'"):
        lora.check_fits(params, deltas, LoraConfig(rank=4))
    smaller = tiny_gemma.shapes(tiny_gemma.with_config(mlp_dim=16))
    with pytest.raises(CheckpointError, match=r"mlp/down_proj/a' has shape \(2, 20, 3\), expected \(2, 16, 3\)"):
        lora.check_fits(smaller, deltas, tiny_gemma.LORA)
    half, _ = split(deltas, [r"layers/attn/q_proj/a"])
    with pytest.raises(CheckpointError, match="'layers/attn/q_proj/b' is missing"):
        lora.check_fits(params, half, tiny_gemma.LORA)
    with pytest.raises(CheckpointError, match="'layers/cross/a_proj' is no linear map"):
        lora.check_fits(params, {"layers": {"cross": {"a_proj": {"a": 0, "b": 0}}}}, tiny_gemma.LORA)
    with pytest.raises(CheckpointError, match="it is empty"):
        lora.check_fits(params, {}, tiny_gemma.LORA)
