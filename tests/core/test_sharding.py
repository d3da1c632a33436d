"""Every parameter matches exactly one rule and divides evenly, or the error names it."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, batch_sharding, batch_shards, make_mesh
from hilight_jax.core.sharding import like, partition_spec, shardings

RULES = ((r".*/kernel", ("fsdp", "tensor")), (r".*/bias", ()))


def test_the_mesh_has_the_configured_shape_and_data_takes_the_rest():
    assert dict(make_mesh(MeshConfig(fsdp=2)).shape) == {"data": 4, "fsdp": 2, "tensor": 1}


def test_a_mesh_that_does_not_fit_is_one_sentence():
    with pytest.raises(ConfigError, match="mesh.fsdp=3.*8 devices present"):
        make_mesh(MeshConfig(fsdp=3))


def test_rules_name_the_last_axes():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    assert partition_spec("a/kernel", (3, 4, 6), RULES, mesh) == PartitionSpec(None, "fsdp", "tensor")
    assert partition_spec("a/bias", (6,), RULES, mesh) == PartitionSpec(None)


def test_a_parameter_without_a_rule_is_named():
    with pytest.raises(ConfigError, match=r"'a/scale' with shape \(4,\) matches 0 partition rules"):
        partition_spec("a/scale", (4,), RULES, make_mesh())


def test_a_parameter_with_two_rules_is_named():
    with pytest.raises(ConfigError, match="matches 2 partition rules"):
        partition_spec("a/bias", (4,), (*RULES, ("a/.*", ())), make_mesh())


def test_an_axis_that_does_not_divide_is_named():
    with pytest.raises(ConfigError, match="'a/kernel'.*mesh axis 'fsdp' of 2"):
        partition_spec("a/kernel", (3, 4), RULES, make_mesh(MeshConfig(fsdp=2)))


def test_optimiser_state_is_placed_as_its_parameter():
    mesh = make_mesh(MeshConfig(fsdp=2))
    params = {"a": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
    placed = shardings(params, RULES, mesh)
    state = jax.eval_shape(optax.adamw(1e-3).init, params)
    found = like(state, params, placed, mesh)
    assert found[0].mu["a"]["kernel"].spec == PartitionSpec("fsdp", "tensor")
    assert found[0].count.spec == PartitionSpec()


def test_a_batch_is_cut_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(fsdp=2))
    assert batch_shards(mesh) == 8
    x = jax.device_put(jnp.arange(16), batch_sharding(mesh))
    assert {shard.data.shape for shard in x.addressable_shards} == {(2,)}
