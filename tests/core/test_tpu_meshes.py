"""Meshes on the chips of real pods, whose hosts hold rows far apart and whose slices must not share an inner axis."""

import numpy as np
import pytest
from jax.experimental import topologies

from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.mesh import MeshConfig, make_mesh

pytestmark = pytest.mark.tpu_compiler


@pytest.fixture(autouse=True)
def without_a_tpu(monkeypatch):
    pytest.importorskip("libtpu", reason="needs libtpu, which knows how pods are wired")
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "slices", "mesh"),
    [
        ("v5e:16x16", 1, MeshConfig()),
        ("v5e:16x16", 2, MeshConfig(fsdp=-1)),
        ("v5e:16x16", 2, MeshConfig(fsdp=-1, tensor=8)),
        ("v5e:4x8", 1, MeshConfig(fsdp=-1)),
        ("v5p:4x4x4", 1, MeshConfig(fsdp=-1, tensor=2)),
    ],
)
def test_hosts_hold_all_rows_and_inner_axes_stay_in_their_slice(name, slices, mesh):
    chips = topologies.get_topology_desc(name, platform="tpu", **({"num_slices": slices} if slices > 1 else {})).devices
    mesh = make_mesh(mesh, list(chips))
    slice_of = np.vectorize(lambda chip: getattr(chip, "slice_index", 0))(mesh.devices)
    assert np.all(slice_of == slice_of[:, :1, :1])
    size = 2 * len(chips)
    hosts = [HostRows(mesh, size, process) for process in {chip.process_index for chip in chips}]
    counted = np.concatenate([host.numbers[host.counted] for host in hosts])
    assert sorted(counted.tolist()) == list(range(size))
    assert len({len(host.numbers) for host in hosts}) == 1
