"""Meshes of one slice and of several: ``data`` goes across slices, everything else stays inside."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import (
    MeshConfig,
    axis_sizes,
    batch_sharding,
    current_mesh,
    make_mesh,
    split_over_batch,
    under_mesh,
)
from tests.core.pretend_devices import pretend_devices


@pytest.mark.parametrize(
    ("config", "devices", "slices", "sizes"),
    [
        (MeshConfig(), 8, 1, (8, 1, 1)),
        (MeshConfig(fsdp=4), 8, 1, (2, 4, 1)),
        (MeshConfig(fsdp=-1), 8, 1, (1, 8, 1)),
        (MeshConfig(fsdp=-1, tensor=2), 8, 1, (1, 4, 2)),
        (MeshConfig(data=2, fsdp=-1), 8, 1, (2, 4, 1)),
        (MeshConfig(fsdp=-1), 8, 2, (2, 4, 1)),
        (MeshConfig(data=4, fsdp=-1), 8, 2, (4, 2, 1)),
        (MeshConfig(fsdp=2), 8, 2, (4, 2, 1)),
        (MeshConfig(fsdp=-1, tensor=4), 512, 2, (2, 64, 4)),
    ],
)
def test_minus_one_takes_what_the_others_leave(config, devices, slices, sizes):
    assert axis_sizes(config, devices, slices) == sizes


@pytest.mark.parametrize(
    ("config", "devices", "slices", "message"),
    [
        (MeshConfig(fsdp=3), 8, 1, "mesh.fsdp=3.*do not multiply to the 8 devices present"),
        (MeshConfig(data=3, fsdp=-1), 8, 1, "mesh.data=3, mesh.fsdp=-1.*8 devices"),
        (MeshConfig(fsdp=-1, tensor=16), 8, 1, "mesh.tensor=16.*8 devices"),
        (MeshConfig(fsdp=8), 8, 2, "2 slices of 4 devices each: mesh.data.* is 1 but must be a multiple of 2"),
        (MeshConfig(data=1, fsdp=-1), 8, 2, "mesh.data.* is 1 but must be a multiple of 2"),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(config, devices, slices, message):
    with pytest.raises(ConfigError, match=message):
        axis_sizes(config, devices, slices)


@pytest.mark.parametrize("key", ["data", "fsdp", "tensor"])
def test_an_axis_has_at_least_one_device(key):
    with pytest.raises(ConfigError, match=f"mesh.{key} is 0, but must be at least 1"):
        MeshConfig(**{key: 0})


@pytest.mark.parametrize("config", [MeshConfig(), MeshConfig(fsdp=-1), MeshConfig(fsdp=2, tensor=2)])
def test_only_data_goes_across_slices(config):
    mesh = make_mesh(config, pretend_devices(slices=2, hosts=2, each=4))
    slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
    assert np.all(slices == slices[:, :1, :1]) and sorted(set(slices.ravel().tolist())) == [0, 1]


TABLE, IDS = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((16, 24), jnp.int32)


def tokens(table, ids):
    return split_over_batch(table[ids]) @ table.T


def test_without_a_mesh_nothing_happens():
    x = jnp.ones((3, 2))
    assert current_mesh() is None and split_over_batch(x) is x


def test_another_programs_mesh_is_none_of_ours():
    mesh = jax.make_mesh((8,), ("clips",), axis_types=(jax.sharding.AxisType.Auto,))
    assert under_mesh(mesh, current_mesh)() is None


def test_the_mesh_is_seen_inside_and_gone_afterwards():
    mesh = make_mesh(MeshConfig(fsdp=2))
    seen = under_mesh(mesh, lambda: current_mesh().shape)()
    assert dict(seen) == {"data": 4, "fsdp": 2, "tensor": 1} and current_mesh() is None


def test_tokens_of_a_table_split_by_width_are_split_by_batch():
    mesh = make_mesh(MeshConfig(fsdp=8))
    table = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    step = jax.jit(under_mesh(mesh, tokens), in_shardings=(table, batch_sharding(mesh)))
    compiled = step.lower(TABLE, IDS).compile()
    logits = {int(rows) for rows in re.findall(r"f32\[(\d+),24,64\]", compiled.as_text())}
    assert logits == {2}
