"""One device and eight give the same loss, the same gradients and the same step, for every loss and contrast."""

import jax
import numpy as np
import pytest

from hilight_jax.core import trees
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.training.trainer import Trainer
from tests.stages.tiny import ragged_batch, tiny_config

CASES = {
    "setting0": ("demo,setting=0",),
    "setting1": ("demo,setting=1",),
    "setting2": ("demo,setting=2",),
    "setting3": ("demo,setting=3",),
    "setting4": ("demo,setting=4",),
    "sample_mean": ("demo,setting=2", "--config.loss.local.reduction=sample", "--config.loss.local.minmax_over=frame"),
    "both": ("demo,contrast=both",),
    "across_clips": ("demo",),
    "tokens": ("demo,queries=tokens,exclude=none",),
    "vsc_fc": ("demo,setting=2", "--config.loss.contrast=nce_vsc_fc", "--config.data.frame_captions=true"),
    "swaps": ("demo,swaps=2",),
    "accumulated": ("demo", "--config.accumulate=2", "--config.batch_size=32"),
}
FLOAT64 = ("--config.model.compute.dtype=float64", "--config.model.compute.param_dtype=float64")
MESHES = {"data": MeshConfig(), "fsdp": MeshConfig(fsdp=4)}


def sgd_step(config, mesh_config, devices, double):
    """Runs one plain SGD step of rate 1: the change of the parameters is minus the gradient."""
    mesh = make_mesh(mesh_config, devices)
    with jax.enable_x64(double):
        trainer = Trainer(config, EncoderObjective(config, mesh), mesh)
        state = trainer.init_state()
        before = jax.device_get(state.trained)
        new, metrics = trainer.train_step(state, trainer.put_batch(ragged_batch(config)))
        after = jax.device_get(new.trained)
    return float(metrics["loss"]), jax.tree.map(np.subtract, before, after)


# Each case compiles two or three programs; a few stand for all in the quick suite, and CI runs every one.
QUICK = {("setting4", True), ("both", True), ("setting2", False)}
ALL = [
    pytest.param(name, double, marks=() if (name, double) in QUICK else pytest.mark.slow, id=f"{name}-float{bits}")
    for name in CASES
    for double, bits in ((False, 32), (True, 64))
]


@pytest.mark.parametrize(("name", "double"), ALL)
def test_eight_devices_take_the_step_of_one(name, double):
    argument, *overrides = CASES[name]
    overrides += ["--config.optimizer.name=sgd", "--config.optimizer.learning_rate=1.0"]
    overrides += ["--config.optimizer.clip_norm=0.0", *(FLOAT64 if double else ())]
    config = tiny_config(argument, *overrides)
    loss, gradients = sgd_step(config, MeshConfig(), jax.devices()[:1], double)
    flat = trees.flatten(gradients)
    largest = max(np.abs(x).max() for x in flat.values())
    for mesh_name in ("fsdp",) if name in ("both", "setting4", "vsc_fc", "accumulated") else ("data",):
        other_loss, other = sgd_step(config, MESHES[mesh_name], jax.devices(), double)
        assert abs(other_loss - loss) <= (1e-9 if double else 1e-6) * abs(loss)
        for path, x in trees.flatten(other).items():
            bound = 1e-9 * np.abs(flat[path]).max() + 1e-15 * largest if double else 0.0
            bound = bound or 1e-5 * np.abs(flat[path]).max() + 1e-6 * largest
            np.testing.assert_allclose(x, flat[path], rtol=0, atol=bound, err_msg=f"{path} on {mesh_name}")
