"""The rows that hosts hold: together all of a batch, each counted once, wherever the mesh puts the devices."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.host_rows import HostRows, on_mesh
from hilight_jax.core.mesh import AXES, MeshConfig, make_mesh
from tests.core.pretend_devices import pretend_devices


def hosts_of(mesh, batch_size, count):
    return [HostRows(mesh, batch_size, process) for process in range(count)]


@pytest.mark.parametrize("config", [MeshConfig(), MeshConfig(fsdp=-1), MeshConfig(fsdp=4), MeshConfig(tensor=2)])
def test_hosts_of_one_slice_hold_runs_of_rows_of_their_own(config):
    hosts = hosts_of(make_mesh(config, pretend_devices(slices=1, hosts=4, each=2)), 16, 4)
    assert [host.numbers.tolist() for host in hosts] == np.arange(16).reshape(4, 4).tolist()
    assert all(host.counted.all() for host in hosts)


def test_hosts_along_the_tensor_axis_hold_the_same_rows_and_the_first_counts_them():
    hosts = hosts_of(make_mesh(MeshConfig(tensor=4), pretend_devices(slices=1, hosts=4, each=2)), 16, 4)
    held = [host.numbers.tolist() for host in hosts]
    assert held == [list(range(8)), list(range(8)), list(range(8, 16)), list(range(8, 16))]
    assert [host.counted.all() for host in hosts] == [True, False, True, False]
    assert [host.counted.any() for host in hosts] == [True, False, True, False]


def test_a_host_may_hold_rows_far_apart():
    devices = np.array(pretend_devices(slices=1, hosts=2, each=2))[[0, 2, 1, 3]]
    hosts = hosts_of(Mesh(devices.reshape(4, 1, 1), AXES), 8, 2)
    assert [host.numbers.tolist() for host in hosts] == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_two_slices_share_all_rows():
    hosts = hosts_of(make_mesh(MeshConfig(fsdp=-1), pretend_devices(slices=2, hosts=2, each=4)), 32, 4)
    assert sorted(np.concatenate([host.numbers for host in hosts]).tolist()) == list(range(32))


def test_a_placed_batch_is_the_batch():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    batch = np.arange(24).reshape(8, 3)
    placed = HostRows(mesh, 8).place(batch)
    np.testing.assert_array_equal(placed, batch)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(2, 3)}


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match="batch of 12 does not divide over the 8 pieces"):
        HostRows(make_mesh(), 12)


def test_a_function_of_a_whole_batch_takes_any_number_of_rows():
    twice = on_mesh(make_mesh(), lambda params, batch: {"y": params * batch["x"]})
    for size in (1, 8, 13):
        batch = {"x": np.arange(size, dtype=np.float32)}
        np.testing.assert_array_equal(twice(jax.numpy.float32(2.0), batch)["y"], 2 * batch["x"])
