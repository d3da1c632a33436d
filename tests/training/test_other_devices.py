"""A state saved on eight devices is restored, value by value, on one, two and four."""

import jax
import numpy as np
import pytest

from hilight_jax.checkpoints.store import KeepConfig, Store
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.training.trainer import Trainer
from tests.stages.tiny import tiny_config


def trainer_on(devices, mesh_config):
    config = tiny_config()
    mesh = make_mesh(mesh_config, jax.devices()[:devices])
    return Trainer(config, EncoderObjective(config, mesh), mesh)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The directory of a checkpoint of eight devices, and the values in it."""
    trainer = trainer_on(8, MeshConfig(data=2, fsdp=-1))
    state = trainer.init_state()
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    store = Store(directory, KeepConfig(best_metric=""))
    trainer.save(store, state, {})
    store.close()
    return directory, jax.device_get(state)


@pytest.mark.parametrize(
    ("devices", "mesh"),
    [(1, MeshConfig()), (2, MeshConfig(fsdp=-1)), (4, MeshConfig(fsdp=2)), (4, MeshConfig(fsdp=-1))],
)
def test_a_state_of_eight_devices_goes_on_any_others(devices, mesh, saved):
    directory, values = saved
    trainer = trainer_on(devices, mesh)
    store = Store(directory, read_only=True)
    state = trainer.restore(store, 0)
    store.close()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), values)
    for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(trainer.state_shardings), strict=True):
        assert leaf.sharding == sharding and len(leaf.sharding.device_set) == devices
